defmodule Bench.Lifecycle.Memory do
  @moduledoc false
  # What an idle agent costs, beside what plain processes cost.

  alias Bench.{Machine, Measurement, Options, Ours}
  alias Bench.Lifecycle.{Fleet, Plain, Worker}

  @look 500
  @least_looks 6
  @most_looks 60

  @spec items(Options.t()) :: [Measurement.t(), ...]
  def items(options) do
    count = Options.size(options, 100_000, 10_000)

    [
      %Measurement{
        name: "memory.idle_agent",
        unit: "bytes each",
        rounds: 1,
        does:
          "#{count} of each, started, called once and then left alone until memory is at rest: what :erlang.memory(:total) " <>
            "grew by, the instance or supervisor included, for each; `kantoku` is a data agent that is remembered, with the core's own " <>
            "bytes added, which are given as `kantoku.native` too; `kantoku.rss` is what the system counts, with what " <>
            "allocators keep in reserve",
        run: fn _ -> measure(count, options) end
      }
    ]
  end

  defp measure(count, options) do
    kantoku(count, options) ++
      [
        {"bare_genserver", grow(count, fn -> nil end, fn _, _ -> bare() end, fn _ -> :ok end)},
        {"hibernated_genserver", grow(count, fn -> nil end, fn _, _ -> hibernated() end, fn _ -> :ok end)},
        {"supervised_genserver", grow(count, &Plain.open/0, &supervised/2, &Plain.close/1)}
      ]
  end

  defp kantoku(count, options) do
    parent = self()
    resident = Machine.resident_bytes() || 0

    close = fn fleet ->
      send(parent, {:idle, Ours.native_bytes(fleet.instance) / count, (Machine.resident_bytes() || 0) - resident})
      Fleet.close(fleet)
    end

    total = grow(count, fn -> Fleet.open(options) end, &data_agent/2, close)

    receive do
      {:idle, native, resident} ->
        [{"kantoku", total + native}, {"kantoku.native", native}, {"kantoku.rss", resident / count}]
    end
  end

  # The one that starts them keeps no list of them; those that are not supervised are linked to it, and end with it.
  defp grow(count, open, start, close) do
    processes = :erlang.system_info(:process_count)
    base = rest(total(), 0)
    state = open.()
    starter = start_all(count, &start.(state, &1))
    if is_map_key(state || %{}, :instance), do: await_health(state, count)
    grown = (rest(total(), 0) - base) / count
    close.(state)
    Process.unlink(starter)
    Process.exit(starter, :shutdown)
    await_processes(processes)
    grown
  end

  # Who is looked after is so within a period, and then says once how it is.
  defp await_health(%{instance: instance} = fleet, count) do
    {:ok, %{domains: domains}} = Kantoku.status(instance)
    looked_after = for domain <- Map.keys(domains), do: healthy(Kantoku.Health.status(instance, {:domain, domain}))
    if Enum.sum(looked_after) < count, do: Process.sleep(@look) && await_health(fleet, count)
  end

  defp healthy({:ok, %{members: %{healthy: count}}}), do: count
  defp healthy({:error, _nobody}), do: 0

  # At rest: from one look to the next nothing has changed by a thousandth. Idle agents are packed after a second.
  defp rest(before, looks) do
    Process.sleep(@look)
    now = total()

    if looks >= @most_looks or (looks >= @least_looks and abs(now - before) < now / 1_000),
      do: now,
      else: rest(now, looks + 1)
  end

  defp start_all(count, start) do
    parent = self()

    starter =
      spawn_link(fn ->
        Enum.each(1..count, start)
        :erlang.garbage_collect()
        send(parent, {:started, self()})
        Process.sleep(:infinity)
      end)

    receive do
      {:started, ^starter} -> starter
    end
  end

  defp await_processes(most) do
    if :erlang.system_info(:process_count) > most do
      Process.sleep(10)
      await_processes(most)
    end
  end

  defp data_agent(fleet, id) do
    _ = Fleet.start_data(fleet, id)
    {:ok, 1} = Fleet.add(fleet, id)
  end

  defp supervised(plain, id), do: 1 = plain |> Plain.start(id) |> GenServer.call(:add)

  defp bare do
    {:ok, pid} = Worker.start_link([])
    1 = GenServer.call(pid, :add)
    pid
  end

  defp hibernated, do: :ok = GenServer.call(bare(), :hibernate)

  defp total do
    :erlang.garbage_collect()
    :erlang.memory(:total)
  end
end

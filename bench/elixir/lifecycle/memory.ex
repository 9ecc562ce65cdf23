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
          "#{count} of each, started, called once and then left alone until memory is at rest: what :erlang.memory(:total) grew by, for " <>
            "each; `kantoku` has the core's own bytes added, which are given as `kantoku_native` too; `rss` is what " <>
            "the system counts for all, taken in the order of the lines, where memory freed before is used again",
        run: fn _ -> measure(count, options) end
      }
    ]
  end

  defp measure(count, options) do
    kantoku(count, options) ++
      each("bare_genserver", count, &bare/1) ++
      each("hibernated_genserver", count, &hibernated/1) ++
      supervised(count)
  end

  defp kantoku(count, options) do
    base = total()
    fleet = Fleet.open(options)
    native = Ours.native_bytes(fleet.instance)
    idle = fn -> (Ours.native_bytes(fleet.instance) - native) / count end
    [total, resident, grown] = grow(count, base, &data_agent(fleet, &1), idle)
    Fleet.close(fleet)
    [{"kantoku", total + grown}, {"kantoku_native", grown}, {"kantoku.rss", resident}]
  end

  defp supervised(count) do
    base = total()
    plain = Plain.open()
    [total, resident, _] = grow(count, base, &(1 = plain |> Plain.start(&1) |> GenServer.call(:add)), fn -> 0 end)
    Plain.close(plain)
    [{"dynamic_supervisor_and_registry", total}, {"dynamic_supervisor_and_registry.rss", resident}]
  end

  defp each(label, count, start) do
    [total, resident, _] = grow(count, total(), start, fn -> 0 end)
    [{label, total}, {"#{label}.rss", resident}]
  end

  # The one that starts them keeps no list of them, and they are linked to it, so that they end with it.
  defp grow(count, base, start, idle) do
    resident = Machine.resident_bytes() || 0
    processes = :erlang.system_info(:process_count)
    starter = start_all(count, start)
    rest(total(), 0)
    grown = [(total() - base) / count, ((Machine.resident_bytes() || 0) - resident) / count, idle.()]
    Process.unlink(starter)
    Process.exit(starter, :shutdown)
    await_processes(processes + count)
    grown
  end

  # At rest: from one look to the next nothing has changed by a thousandth. Idle agents are packed after a second.
  defp rest(before, looks) do
    Process.sleep(@look)
    now = total()

    unless looks >= @most_looks or (looks >= @least_looks and abs(now - before) < now / 1_000) do
      rest(now, looks + 1)
    end
  end

  defp start_all(count, start) do
    parent = self()

    starter =
      spawn_link(fn ->
        Enum.each(1..count, start)
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

  defp bare(_id) do
    {:ok, pid} = Worker.start_link([])
    1 = GenServer.call(pid, :add)
    pid
  end

  defp hibernated(id), do: :ok = id |> bare() |> GenServer.call(:hibernate)

  defp total do
    :erlang.garbage_collect()
    :erlang.memory(:total)
  end
end

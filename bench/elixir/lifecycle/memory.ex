defmodule Bench.Lifecycle.Memory do
  @moduledoc false
  # What an idle agent costs, beside what plain processes cost.

  alias Bench.{Machine, Measurement, Options}
  alias Bench.Lifecycle.{Fleet, Plain, Worker}

  @settle 2_000

  @spec items(Options.t()) :: [Measurement.t(), ...]
  def items(options) do
    count = Options.size(options, 100_000, 10_000)

    [
      %Measurement{
        name: "memory.idle_agent",
        unit: "bytes each",
        rounds: 1,
        does:
          "#{count} of each, started, called once and then left alone for #{@settle} ms: what :erlang.memory(:total) grew by, for " <>
            "each; `kantoku` has the core's own bytes added, which are given as `kantoku_native` too; `rss` is what " <>
            "the system counts for all, in the order of the lines, where memory freed before is used again",
        run: fn _ -> measure(count, options) end
      }
    ]
  end

  defp measure(count, options) do
    kantoku(count, options) ++
      each("bare_genserver", count, &bare/1, &stop/1) ++
      each("hibernated_genserver", count, &hibernated/1, &stop/1) ++
      supervised(count)
  end

  defp kantoku(count, options) do
    fleet = Fleet.open(options)
    native = Bench.Ours.native_bytes(fleet.instance)
    start = fn id -> Fleet.start_data(fleet, id) && ({:ok, 1} = Fleet.add(fleet, id)) end
    [{label, total} | rest] = each("kantoku", count, start, fn _ -> :ok end)
    grown = (Bench.Ours.native_bytes(fleet.instance) - native) / count
    Fleet.close(fleet)
    [{label, total + grown}, {"kantoku_native", grown} | rest]
  end

  defp supervised(count) do
    plain = Plain.open()
    start = fn id -> plain |> Plain.start(id) |> GenServer.call(:add) end
    figures = each("dynamic_supervisor_and_registry", count, start, fn _ -> :ok end)
    Plain.close(plain)
    figures
  end

  defp each(label, count, start, stop) do
    {total, resident} = {total(), Machine.resident_bytes() || 0}
    started = Enum.map(1..count, start)
    Process.sleep(@settle)
    grown = (total() - total - :erts_debug.flat_size(started) * 8) / count
    grown_resident = ((Machine.resident_bytes() || 0) - resident) / count
    Enum.each(started, stop)
    [{label, grown}, {"#{label}.rss", grown_resident}]
  end

  defp bare(_id) do
    {:ok, pid} = Worker.start_link([])
    1 = GenServer.call(pid, :add)
    pid
  end

  defp hibernated(id) do
    pid = bare(id)
    :ok = GenServer.call(pid, :hibernate)
    pid
  end

  defp stop(pid), do: GenServer.stop(pid)

  defp total do
    :erlang.garbage_collect()
    :erlang.memory(:total)
  end
end

defmodule Bench.Pool.Single do
  @moduledoc false
  # One caller and a pool at rest: what a check-out costs by itself, and to a process that does it once in its life.

  alias Bench.{Callers, Comparison, Measurement, Options, Side}
  alias Bench.Pool.Rig

  @spec items([Rig.peer()], Options.t()) :: [Comparison.t() | Measurement.t()]
  def items(peers, options) do
    idle = Options.size(options, 100_000, 20_000)
    cold = Options.size(options, 20_000, 4_000)
    memory = memory(Options.size(options, 1_000_000, 50_000))
    Enum.flat_map(peers, &[idle(&1, idle), cold(&1, cold)]) ++ [memory]
  end

  defp idle(peer, count) do
    comparison("idle", peer, "one caller, #{count} times", fn rig, side ->
      rate(count, fn -> Rig.checkouts(rig, side, count) end)
    end)
  end

  defp cold(peer, count) do
    comparison("cold", peer, "#{count} processes one after another, each once", fn rig, side ->
      rate(count, fn -> Enum.each(1..count, fn _ -> once(fn -> Rig.work(rig, side, :none) end) end) end)
    end)
  end

  defp comparison(name, peer, does, run) do
    %Comparison{
      name: "checkout.#{peer}.#{name}",
      unit: "1/s",
      better: :higher,
      doubted: true,
      ours: %Side{does: "#{Rig.does(:ours, :none)}: #{does}", round: &run.(&1, :ours)},
      theirs: %Side{does: "#{Rig.does(peer, :none)}: #{does}", round: &run.(&1, peer)}
    }
  end

  defp rate(count, work), do: count * 1.0e9 / Callers.elapsed(1, fn _ -> work.() end)

  defp once(work) do
    {_pid, monitor} = spawn_monitor(work)

    receive do
      {:DOWN, ^monitor, :process, _pid, :normal} -> :ok
    end
  end

  defp memory(count) do
    %Measurement{
      name: "cold.memory",
      unit: "bytes",
      does:
        "what the core and the VM hold before #{count} processes each check out and in once, and after; as many did before",
      rounds: 1,
      run: fn rig ->
        crowd(rig, count)
        {native, all} = bytes()
        crowd(rig, count)
        {native_then, all_then} = bytes()

        [
          {"native.before", native},
          {"native.after", native_then},
          {"vm.before", all},
          {"vm.after", all_then},
          {"grown", native_then + all_then - native - all}
        ]
      end
    }
  end

  defp crowd(rig, count), do: Enum.each(1..count, fn _ -> once(fn -> Rig.work(rig, :ours, :none) end) end)

  defp bytes do
    Process.sleep(200)
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    {Bench.Ours.native_bytes(), :erlang.memory(:total)}
  end
end

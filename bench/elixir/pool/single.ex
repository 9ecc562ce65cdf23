defmodule Bench.Pool.Single do
  @moduledoc false
  # One caller and a pool at rest: what a check-out costs by itself, and to a process that does it once in its life.

  alias Bench.{Callers, Comparison, Measurement, Options, Side}
  alias Bench.Pool.Rig

  @spec items(Options.t()) :: [Comparison.t() | Measurement.t()]
  def items(options) do
    idle = Options.size(options, 100_000, 20_000)
    cold = Options.size(options, 20_000, 4_000)
    [idle(idle), cold(cold), memory(Options.size(options, 1_000_000, 50_000))]
  end

  defp idle(count) do
    comparison("checkout.poolboy.idle", "one caller, #{count} check-outs and check-ins", fn rig, side ->
      rate(count, fn -> Enum.each(1..count, fn _ -> Rig.work(rig, side, :none) end) end)
    end)
  end

  defp cold(count) do
    comparison("checkout.poolboy.cold", "#{count} processes one after another, each checks out and in once", fn rig,
                                                                                                                side ->
      rate(count, fn -> Enum.each(1..count, fn _ -> once(fn -> Rig.work(rig, side, :none) end) end) end)
    end)
  end

  defp comparison(name, does, run) do
    %Comparison{
      name: name,
      unit: "1/s",
      better: :higher,
      ours: %Side{does: "Kantoku.Pool.checkout and checkin: " <> does, round: &run.(&1, :ours)},
      theirs: %Side{does: ":poolboy.checkout and checkin: " <> does, round: &run.(&1, :poolboy)}
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
        "what the core's bytes and the VM's grew by while #{count} processes each checked out and in once, after as many before",
      rounds: 1,
      run: fn rig ->
        crowd(rig, count)
        {native, all} = bytes()
        crowd(rig, count)
        {native_then, all_then} = bytes()
        [{"native", native_then - native}, {"vm", all_then - all}]
      end
    }
  end

  defp crowd(rig, count), do: Enum.each(1..count, fn _ -> once(fn -> Rig.work(rig, :ours, :none) end) end)

  defp bytes do
    Process.sleep(200)
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    native = with %{bytes: bytes} <- Kantoku.Native.stats(), do: bytes
    {if(is_integer(native), do: native, else: 0), :erlang.memory(:total)}
  end
end

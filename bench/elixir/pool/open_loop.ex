defmodule Bench.Pool.OpenLoop do
  @moduledoc false
  # Requests that come when they come, each by a process of its own: at a share of what the slower of two sides is able to do,
  # the same for both, timed from when each was meant to begin. The work sleeps 1 ms, so that what is able to do is the workers and not
  # the machine, which has the requests to make, too.

  alias Bench.{Arrivals, Callers, Comparison, Latencies, Options, Side}
  alias Bench.Pool.Rig

  @works [:rest, :slow_call]
  @shares [70, 90]
  @loops 64

  @typedoc "Pools, and what each side can do, in 1/s."
  @type stage :: %{rig: Rig.t(), able: %{{Rig.side(), Rig.work()} => float}}

  @spec open(pos_integer, Options.t(), [Rig.peer()]) :: stage
  def open(size, options, peers) do
    rig = Rig.open(size, options, peers)
    millis = Options.size(options, 3_000, 1_000)
    able = for side <- [:ours | peers], work <- @works, into: %{}, do: {{side, work}, capacity(rig, side, work, millis)}
    %{rig: rig, able: able}
  end

  @spec close(stage) :: :ok
  def close(%{rig: rig}), do: Rig.close(rig)

  # In a closed loop of as fresh processes.
  defp capacity(rig, side, work, millis) do
    Callers.rate(@loops, millis, & &1, fn index ->
      {_pid, monitor} = spawn_monitor(fn -> Rig.work(rig, side, work) end)

      receive do
        {:DOWN, ^monitor, :process, _pid, :normal} -> {1, index}
      end
    end)
  end

  @spec items([Rig.peer()], Options.t()) :: [Comparison.t()]
  def items(peers, options) do
    for peer <- peers, work <- @works, share <- @shares, do: comparison(peer, work, share, options)
  end

  defp comparison(peer, work, share, options) do
    millis = Options.size(options, 3_000, 1_000)

    %Comparison{
      name: "open",
      variant: "#{share}",
      unit: "µs",
      better: :lower,
      metrics:
        for(metric <- ~w(p50 p99 p999), into: %{}, do: {metric, {"open.#{metric}.#{peer}.#{work}", "µs", :lower}}),
      doubted: true,
      ours: side(:ours, peer, work, share, millis),
      theirs: side(peer, peer, work, share, millis)
    }
  end

  defp side(side, peer, work, share, millis) do
    %Side{
      does: "#{Rig.does(side, work)}, asked for #{share} % of what the slower side can do, for #{millis} ms",
      round: fn %{rig: rig, able: able} ->
        latencies(rig, side, work, min(able[{:ours, work}], able[{peer, work}]) * share / 100, millis)
      end
    }
  end

  defp latencies(rig, side, work, rate, millis) do
    latencies = Latencies.new()

    Arrivals.run(rate, millis, fn meant ->
      Rig.work(rig, side, work)
      Latencies.record(latencies, Callers.now() - meant)
    end)

    [{"p50", p50}, {"p99", p99}, {"p99.9", p999}] = Latencies.summary(latencies)
    [{"p50", p50}, {"p99", p99}, {"p999", p999}]
  end
end

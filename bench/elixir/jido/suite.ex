defmodule Bench.JidoAgents do
  @moduledoc false
  # The benchmarks of Jido's agents in Kantoku's care, against the same agents under Jido alone.
  @behaviour Bench.Suite

  alias Bench.{Callers, Comparison, Options, Side, Stage, Statistics}
  alias Bench.Jido.Rig
  alias Bench.Pool.ClosedLoop

  @size 16
  @callers 256

  @impl true
  def name, do: "jido"

  @impl true
  def stages(options) do
    items = [
      idle(options),
      pool(:ours, "workerpool", options),
      pool(:door, "door", options),
      recover(options),
      lookup(options)
    ]

    [%Stage{build: fn -> Rig.open(@size, options) end, clear: &Rig.close/1, items: items}]
  end

  # Idle -----------------------------------------------------------------------------------------------------------------

  defp idle(options) do
    count = Options.size(options, 1_000, 200)
    does = fn who -> "#{count} #{who}, each called once, then left alone for 2 s; memory of its process" end

    %Comparison{
      name: "memory.idle",
      unit: "bytes each",
      better: :lower,
      ours: %Side{does: does.("agents of Jido's started by Kantoku"), round: &memory(&1, :ours, count)},
      theirs: %Side{does: does.("agents started by Jido"), round: &memory(&1, :plain, count)}
    }
  end

  defp memory(rig, side, count) do
    ids = ids(count)
    pids = Enum.map(ids, &Rig.start(rig, side, &1))
    Enum.each(pids, &Rig.add/1)
    Process.sleep(2_000)
    bytes = pids |> Enum.map(&elem(Process.info(&1, :memory), 1)) |> Enum.sum()
    Enum.each(ids, &Rig.stop(rig, side, &1))
    bytes / count
  end

  # Pools ----------------------------------------------------------------------------------------------------------------

  defp pool(side, name, options) do
    millis = Options.size(options, 2_000, 500)

    %Comparison{
      name: name,
      unit: "",
      better: :higher,
      metrics: %{"throughput" => {"throughput.#{name}", "1/s", :higher}, "p99" => {"p99.#{name}", "µs", :lower}},
      ours: %Side{does: "#{does(side)} on a pool of Kantoku's, state kept", round: &calls(&1, side, millis)},
      theirs: %Side{
        does: "Jido.Agent.WorkerPool.call/4, #{@callers} callers, #{@size} workers",
        round: &calls(&1, :plain, millis)
      }
    }
  end

  defp does(:ours), do: "Kantoku.Jido.WorkerPool.call/4"
  defp does(:door), do: "Jido.Agent.WorkerPool.call/4, through a door,"

  defp calls(rig, side, millis) do
    signal = Rig.signal()
    figures = ClosedLoop.run(@callers, millis, fn -> Rig.pooled(rig, side, signal) end)
    for {metric, _} = figure <- figures, metric in ["throughput", "p99"], do: figure
  end

  # Killed ---------------------------------------------------------------------------------------------------------------

  defp recover(options) do
    # All rounds together are fewer than the 1,000 in 5 s after which Jido's supervisor gives up, and with it every agent.
    count = Options.size(options, 100, 50)

    %Comparison{
      name: "recover.agent_server",
      unit: "µs",
      better: :lower,
      ours: %Side{
        does: "#{count} agents killed once each; until it answers from its state",
        round: &recovered(&1, :ours, count)
      },
      theirs: %Side{does: "the same under Jido; until it answers, its state lost", round: &recovered(&1, :plain, count)}
    }
  end

  defp recovered(rig, side, count) do
    ids = ids(count)
    Enum.each(ids, &Rig.start(rig, side, &1))
    times = Enum.map(ids, &killed(rig, side, &1))
    Enum.each(ids, &Rig.stop(rig, side, &1))
    [{"p50", Statistics.quantile(times, 0.5)}, {"p99", Statistics.quantile(times, 0.99)}]
  end

  defp killed(rig, side, id) do
    pid = Rig.whereis(rig, side, id)
    1 = Rig.add(pid)
    started = Callers.now()
    Process.exit(pid, :kill)
    total = again(rig, side, id, started)
    elapsed = (Callers.now() - started) / 1000
    if total != expected(side), do: raise("came back with #{total}, expected #{expected(side)}")
    elapsed
  end

  defp expected(:ours), do: 2
  defp expected(:plain), do: 1

  @patience 30_000_000_000

  defp again(rig, side, id, started) do
    if Callers.now() - started > @patience, do: raise("#{id} did not come back")

    try do
      Rig.add(Rig.whereis(rig, side, id))
    catch
      _kind, _not_back_yet -> again(rig, side, id, started)
    end
  end

  # Looked up ------------------------------------------------------------------------------------------------------------

  defp lookup(options) do
    count = Options.size(options, 200_000, 50_000)

    %Comparison{
      name: "lookup.jido",
      unit: "ns",
      better: :lower,
      ours: %Side{
        does: "Kantoku.whereis/2",
        start: &one(&1, :ours),
        round: &found(&1, :ours, count),
        stop: &none(&1, :ours)
      },
      theirs: %Side{
        does: "Jido.whereis/2",
        start: &one(&1, :plain),
        round: &found(&1, :plain, count),
        stop: &none(&1, :plain)
      }
    }
  end

  defp one(rig, side), do: Rig.start(rig, side, "looked-up-#{side}") && rig
  defp none(rig, side), do: Rig.stop(rig, side, "looked-up-#{side}")

  defp found(rig, side, count) do
    id = "looked-up-#{side}"
    Callers.elapsed(1, fn _ -> Enum.each(1..count, fn _ -> Rig.whereis(rig, side, id) end) end) / count
  end

  defp ids(count), do: for(n <- 1..count, do: "#{n}-#{System.unique_integer([:positive])}")
end

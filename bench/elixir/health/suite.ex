defmodule Bench.Healths do
  @moduledoc false
  # What it costs to know how many agents fare: all the time, a call, and a pool's callers.
  @behaviour Bench.Suite

  alias Bench.{Callers, Comparison, Latencies, Measurement, Options, Schedulers, Side, Stage, Unchanged}
  alias Bench.Lifecycle.Counter
  alias Bench.Pool.Echo

  # Kubernetes' period, and ours.
  @period 10_000
  @never 24 * 3_600_000

  @impl true
  def name, do: "health"

  @impl true
  def stages(options) do
    items = [core(options), unchanged(options), call(options)]
    [%Stage{build: fn -> build(options) end, clear: &clear/1, items: items}]
  end

  defp build(options) do
    pools = [[name: :workers, worker: Echo, target: 16]]
    looked_after = start(options, pools: pools, health: [period: @period])
    ignored = start(options, health: false)
    :ok = fill(looked_after, Options.size(options, 100_000, 5_000))
    {:ok, _pid} = Kantoku.start_agent(ignored.instance, Counter, id: 1)
    settle(looked_after)
    %{looked_after: looked_after, ignored: ignored}
  end

  defp start(%Options{engine: engine}, opts) do
    instance = :"bench_health_#{System.unique_integer([:positive])}"
    {:ok, supervisor} = Kantoku.start_link([name: instance, engine: engine, store: :none] ++ opts)
    %{instance: instance, supervisor: supervisor}
  end

  defp fill(%{instance: instance}, count) do
    for id <- 1..count, do: {:ok, _pid} = Kantoku.start_agent(instance, Counter, id: id)
    :ok
  end

  # Two rounds: in the first all are new, after the second all have said how they are.
  defp settle(%{instance: instance}) do
    :ok = Kantoku.Health.configure(instance, period: 2_000)
    {:ok, events} = Kantoku.Telemetry.subscribe(instance, events: [[:health, :round]])
    for _ <- 1..2, do: receive(do: ({:kantoku_event, ^events, _name, _measurements, _metadata} -> :ok))
    Kantoku.Telemetry.unsubscribe(events)
  end

  defp clear(%{looked_after: one, ignored: other}),
    do: for(%{supervisor: supervisor} <- [one, other], do: Supervisor.stop(supervisor))

  defp core(options) do
    millis = Options.size(options, @period, 2_000)

    %Measurement{
      name: "core",
      unit: "% of one core",
      does:
        "schedulers' busy time while nobody calls any of #{Options.size(options, 100_000, 5_000)} agents, period #{@period} ms, " <>
          "and how much of it is not there when none is looked at",
      rounds: Options.size(options, 5, 1),
      run: fn %{looked_after: %{instance: instance}} ->
        [ignored, looked_at] = for period <- [@never, @period], do: busy(instance, period, millis)
        [{"not looked at", ignored}, {"looked at", looked_at}, {"difference", looked_at - ignored}]
      end
    }
  end

  defp busy(instance, period, millis) do
    :ok = Kantoku.Health.configure(instance, period: period)
    {_slept, share} = Schedulers.busy(fn -> Process.sleep(millis) end)
    share * System.schedulers_online() * 100
  end

  defp unchanged(options) do
    side = fn does, period ->
      %Side{
        does: "p99 of Kantoku.Pool.call/3, #{does}",
        round: fn %{looked_after: %{instance: instance}} ->
          :ok = Kantoku.Health.configure(instance, period: period)
          p99({instance, :workers}, Options.size(options, 500, 100))
        end
      }
    end

    %Unchanged{
      comparison: %Comparison{
        name: "pool.p99",
        unit: "us",
        better: :lower,
        ours: side.("all agents of its instance looked at each #{@period} ms", @period),
        theirs: side.("none looked at", @never)
      }
    }
  end

  defp p99(pool, millis) do
    latencies = Latencies.new()
    record = fn _caller, nanoseconds -> Latencies.record(latencies, nanoseconds) end
    call = fn -> {:ok, :hello} = Kantoku.Pool.call(pool, :hello) end
    Callers.rate_timed(2 * System.schedulers_online(), millis, record, call)
    [{"p99", p99}] = Latencies.summary(latencies, [{"p99", 0.99}])
    p99
  end

  defp call(options) do
    count = Options.size(options, 100_000, 10_000)

    side = fn does, whose ->
      %Side{does: does, round: fn stage -> calls(Map.fetch!(stage, whose).instance, count) end}
    end

    %Comparison{
      name: "call",
      variant: "pulse",
      unit: "ops/s",
      better: :higher,
      ours: side.("Kantoku.call/3 of an agent that says when a message begins and ends", :looked_after),
      theirs: side.("the same in an instance without health", :ignored)
    }
  end

  defp calls(instance, count) do
    ns = Callers.elapsed(1, fn _ -> Enum.each(1..count, fn _ -> {:ok, _} = Kantoku.call(instance, 1, :add) end) end)
    count * 1.0e9 / ns
  end
end

defmodule Bench.Telemetry.Trace do
  @moduledoc false
  # What tracing costs: a span by itself, and calls with it off, on and not sampled, and on at 1 %.

  alias Bench.{Callers, Latencies, Measurement, Options, Stage}
  alias Bench.Lifecycle.Counter
  alias Bench.Pool.Echo
  alias Kantoku.{Pool, Trace}

  @ways [
    {"off", false},
    {"unsampled", [sampler: :parentbased_always_off]},
    {"1pct", [sampler: :parentbased_traceidratio, ratio: 0.01]},
    {"all", [sampler: :parentbased_always_on]}
  ]

  @spec stages(Options.t()) :: [Stage.t()]
  def stages(options) do
    items = [span(options), pool(options), agent(options)]
    [%Stage{build: fn -> Map.new(@ways, &start(&1, options)) end, clear: &clear/1, items: items}]
  end

  defp start({way, trace}, %Options{engine: engine}) do
    name = :"bench_trace_#{System.unique_integer([:positive])}"
    size = [target: 4, min: 4, max: 4]
    pools = [[name: :plain, worker: Echo] ++ size, [name: :agents, worker: {Counter, []}] ++ size]
    {:ok, supervisor} = Kantoku.start_link(name: name, engine: engine, store: :none, trace: trace, pools: pools)
    {:ok, _pid} = Kantoku.start_agent(name, Counter, id: 1)
    {way, %{name: name, supervisor: supervisor}}
  end

  defp clear(ways), do: Enum.each(ways, fn {_way, %{supervisor: supervisor}} -> Supervisor.stop(supervisor) end)

  defp span(options) do
    count = Options.size(options, 200_000, 50_000)

    %Measurement{
      name: "trace.span",
      unit: "ns",
      does: "Kantoku.Trace.span/4 around a function that does nothing, one process; beside it the function alone",
      run: fn ways ->
        alone = {"nothing", each(count, fn -> loop(count, fn -> :ok end) end)}
        [alone | for({way, %{name: name}} <- ordered(ways), do: {way, drained(name, fn -> spans(name, count) end)})]
      end
    }
  end

  defp spans(name, count),
    do: each(count, fn -> loop(count, fn -> Trace.span(name, "span", [], fn -> :ok end) end) end)

  defp each(count, work), do: Callers.elapsed(1, fn _ -> work.() end) / count

  defp loop(0, _work), do: :ok

  defp loop(count, work) do
    :ok = work.()
    loop(count - 1, work)
  end

  defp pool(options) do
    measured("trace.pool.call", "Kantoku.Pool.call/3 of plain workers, one caller", options, fn name ->
      {:ok, :hello} = Pool.call({name, :plain}, :hello)
    end)
  end

  defp agent(options) do
    measured("trace.agent.call", "Kantoku.call/4, the agent's own span with it, one caller", options, fn name ->
      {:ok, _count} = Kantoku.call(name, 1, :add)
    end)
  end

  defp measured(name, does, options, work) do
    millis = Options.size(options, 1_000, 250)

    %Measurement{
      name: name,
      unit: "µs",
      does: does,
      run: fn ways ->
        for {way, %{name: name}} <- ordered(ways), do: {way, drained(name, fn -> p50(millis, name, work) end)}
      end
    }
  end

  defp p50(millis, name, work) do
    latencies = Latencies.new()
    Callers.rate_timed(1, millis, fn _index, ns -> Latencies.record(latencies, ns) end, fn -> work.(name) end)
    [{"p50", p50} | _] = Latencies.summary(latencies)
    p50
  end

  # What one round left must not be dropped in the next: then less would be done.
  defp drained(name, work) do
    figure = work.()
    _spans = Trace.take(name)
    figure
  end

  defp ordered(ways), do: for({way, _trace} <- @ways, do: {way, Map.fetch!(ways, way)})
end

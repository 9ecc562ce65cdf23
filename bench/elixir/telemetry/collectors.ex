defmodule Bench.Telemetry.Collectors do
  @moduledoc false
  # Whether calls feel a collector that fails: all of them traced, with nobody sending their spans, and with an exporter whose collector is gone, says
  # nothing, or hangs up now and then.

  alias Bench.{Callers, Comparison, Latencies, Options, Side, Stage}
  alias Bench.Lifecycle.Counter
  alias Bench.Telemetry.Collector

  @ways [:none, :dead, :silent, :flapping]

  @spec stages(Options.t()) :: [Stage.t()]
  def stages(%Options{engine: :native} = options),
    do: [%Stage{build: fn -> build(options) end, clear: &clear/1, items: items(options)}]

  # Only what the native engine keeps is sent.
  def stages(_options), do: []

  defp build(options) do
    dead = Collector.closed_port()
    {silent, held} = Collector.start(fn _number -> :hold end)
    {flapping, listening} = Collector.start(fn number -> if rem(number, 5) < 2, do: :hang_up, else: :answer end)
    ports = %{none: nil, dead: dead, silent: silent, flapping: flapping}
    instances = Map.new(@ways, fn way -> {way, start(way, ports[way], options)} end)
    %{instances: instances, listeners: [held, listening]}
  end

  defp start(way, port, options) do
    name = :"bench_collector_#{way}_#{System.unique_integer([:positive])}"
    otlp = [endpoint: "http://127.0.0.1:#{port}", signals: [:traces], traces_interval: 100, timeout: 500]
    exporters = if port, do: [otlp: otlp], else: []
    trace = [sampler: :parentbased_always_on]

    {:ok, supervisor} =
      Kantoku.start_link(name: name, engine: options.engine, store: :none, trace: trace, exporters: exporters)

    {:ok, _pid} = Kantoku.start_agent(name, Counter, id: 1)
    {name, supervisor}
  end

  defp clear(%{instances: instances, listeners: listeners}) do
    for {_way, {_name, supervisor}} <- instances, do: Supervisor.stop(supervisor)
    for pid <- listeners, do: Process.exit(pid, :kill)
  end

  defp items(options), do: for(way <- @ways -- [:none], do: compare(way, options))

  defp compare(way, options) do
    %Comparison{
      name: "trace.collector",
      variant: "#{way}",
      unit: "µs p99",
      better: :lower,
      ours: side(way, "its collector is #{way}", options),
      theirs: side(:none, "nobody sends them", options)
    }
  end

  defp side(way, does, options) do
    millis = Options.size(options, 2_000, 500)

    %Side{
      does: "p99 of Kantoku.call/4, all traced, two callers; #{does}",
      round: fn %{instances: instances} -> p99(millis, elem(instances[way], 0)) end
    }
  end

  defp p99(millis, name) do
    latencies = Latencies.new()
    record = fn _index, ns -> Latencies.record(latencies, ns) end
    Callers.rate_timed(2, millis, record, fn _caller -> {:ok, _count} = Kantoku.call(name, 1, :add) end)
    latencies |> Latencies.summary([{"p99", 0.99}]) |> List.first() |> elem(1)
  end
end

defmodule Bench.Telemetry.Whole do
  @moduledoc false
  # What all of it together adds to a pooled call: everything that can be turned on, against everything off, in turn. Each side is an instance of its
  # own, which is there only while it is measured, with all that sends, serves and listens for it.

  alias Bench.{Callers, Latencies, Measurement, Options, Stage}
  alias Bench.Pool.Echo
  alias Bench.Telemetry.{Collector, Scraper}
  alias Kantoku.{Exporters, Pool, Telemetry}

  @pool [name: :plain, worker: Echo, target: 4, min: 4, max: 4]
  @sampled [
    {"unsampled", [sampler: :parentbased_always_off]},
    {"1pct", [sampler: :parentbased_traceidratio, ratio: 0.01]}
  ]

  @spec stages(Options.t()) :: [Stage.t()]
  def stages(%Options{engine: :native} = options), do: [%Stage{items: [added(options)]}]
  # Only what the native engine keeps is sent.
  def stages(_options), do: []

  defp added(options) do
    %Measurement{
      name: "whole.pool.call",
      unit: "µs",
      rounds: Options.size(options, 20, 3),
      does:
        "Kantoku.Pool.call/3 of plain workers, one caller. Off: no traces, no resources, nothing sent or served. On: traces, resources, a handler " <>
          "of all events, OTLP with both signals, StatsD and DogStatsD each second, and a page that is scraped each second. Added: within a round",
      run: fn _stage -> turn(options) end
    }
  end

  # What comes first is at an advantage or not; it is another one each time.
  defp turn(options) do
    off = fn -> off(options) end
    ways = [{"off", off} | for({way, trace} <- @sampled, do: {way, fn -> on(trace, options) end})]
    times = Map.new(Enum.shuffle(ways), fn {way, measure} -> {way, measure.()} end)
    plain = for {way, _measure} <- ways, {quantile, us} <- times[way], do: {"#{way}.#{quantile}", us}

    added =
      for {way, _trace} <- @sampled, {{quantile, us}, {quantile, without}} <- Enum.zip(times[way], times["off"]) do
        {"added.#{way}.#{quantile}", us - without}
      end

    plain ++ added
  end

  defp off(options), do: within([trace: false, resources: false], options, &times(&1, options))

  defp on(trace, options) do
    {collector, answering} = Collector.start(fn _number -> :answer end)
    {:ok, statsd} = :gen_udp.open(0, [:binary, active: false, ip: {127, 0, 0, 1}])
    {:ok, port} = :inet.port(statsd)
    otlp = [endpoint: "http://127.0.0.1:#{collector}", interval: 1_000]
    sent = [otlp: otlp, statsd: [port: port, interval: 1_000], dogstatsd: [port: port, interval: 1_000]]
    http = [port: 0, token: Scraper.token()]

    try do
      within([trace: trace, http: http, exporters: sent], options, &seen(&1, options))
    after
      Process.exit(answering, :kill)
      :gen_udp.close(statsd)
    end
  end

  defp seen(instance, options) do
    :ok = Telemetry.attach(__MODULE__, [[]], fn _event, _measurements, _metadata, _config -> :ok end)
    %{http: %{port: port}} = Exporters.status()
    figures = Callers.beside(fn -> Scraper.loop(port) end, fn -> times(instance, options) end)
    :ok = Telemetry.detach(__MODULE__)
    figures
  end

  defp within(opts, options, measure) do
    name = :"bench_whole_#{System.unique_integer([:positive])}"
    {:ok, pid} = Kantoku.start_link([name: name, engine: options.engine, store: :none, pools: [@pool]] ++ opts)

    try do
      measure.(name)
    after
      Supervisor.stop(pid)
    end
  end

  # A round before it warms up.
  defp times(instance, options) do
    [_warm, times] = for ms <- [200, Options.size(options, 1_500, 250)], do: quantiles(instance, ms)
    times
  end

  defp quantiles(instance, ms) do
    latencies = Latencies.new()
    record = fn _index, ns -> Latencies.record(latencies, ns) end
    Callers.rate_timed(1, ms, record, fn -> {:ok, :hello} = Pool.call({instance, :plain}, :hello) end)
    Latencies.summary(latencies, [{"p50", 0.5}, {"p99", 0.99}])
  end
end

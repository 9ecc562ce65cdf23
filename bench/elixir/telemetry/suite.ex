defmodule Bench.Telemetry do
  @moduledoc false
  # What it costs to be seen: an observation, an addition, a percentile, a look at everything; and spans.
  @behaviour Bench.Suite
  @compile {:no_warn_undefined, :hdr_histogram}

  alias Bench.{Callers, Comparison, Measurement, Options, Side, Stage}
  alias Bench.Telemetry.{Answers, Collectors, Loops, Pages, Trace, Whole}
  alias Kantoku.Metrics

  @instance Bench.Telemetry.Instance
  @batch 1_000

  @impl true
  def name, do: "telemetry"

  @impl true
  def stages(options),
    do: [
      %Stage{build: fn -> build(options) end, clear: &Supervisor.stop(&1.instance), items: items(options)}
      | Trace.stages(options) ++
          Whole.stages(options) ++ Pages.stages(options) ++ Collectors.stages(options) ++ Answers.stages(options)
    ]

  defp build(options) do
    pools = for n <- 1..20, do: [name: :"bench_pool_#{n}", worker: Bench.Pool.Echo, target: 1]
    {:ok, instance} = Kantoku.start_link(name: @instance, engine: options.engine, pools: pools)
    :ok = Metrics.histogram(@instance, "observed_seconds", unit: :seconds)
    :ok = Metrics.counter(@instance, "added")
    {:ok, observed} = Metrics.series(@instance, "observed_seconds")
    {:ok, added} = Metrics.series(@instance, "added")
    if Loops.telemetry?(), do: Loops.attach()
    :ok = Loops.observe(:ours, observed, 10_000)
    counters = Loops.counters()
    %{instance: instance, observed: observed, added: added, counters: counters, hdr: hdr()}
  end

  # With as many digits as make a comparable error.
  defp hdr do
    if hdr?() do
      {:ok, histogram} = :hdr_histogram.open(3_600_000_000_000, 2)
      for n <- 1..10_000, do: :hdr_histogram.record(histogram, 1_000_000 + rem(n * 7_919, 99) * 1_000_000)
      histogram
    end
  end

  defp hdr?, do: Code.ensure_loaded?(:hdr_histogram)

  # A peer that is not to be had is not compared with.
  defp items(options) do
    [observe_counters(options), add_counters(options)] ++
      if(Loops.telemetry?(), do: [observe_telemetry(options)], else: []) ++
      if(hdr?(), do: [quantile_hdr(options)], else: []) ++ [quantile(options), snapshot(options)]
  end

  defp observe_counters(options) do
    does = ":counters.add/3 twice, at one of eleven boundaries and at the sum"

    compare("observe.counters", options, ours(&Loops.observe(:ours, &1.observed, @batch)), {
      does,
      &Loops.observe(:counters, &1.counters, @batch)
    })
  end

  defp observe_telemetry(options) do
    compare("observe.telemetry", options, ours(&Loops.observe(:ours, &1.observed, @batch)), {
      ":telemetry.execute/3 with a handler that counts in ETS, at one of eleven boundaries and at the sum",
      fn _stage -> Loops.observe(:telemetry, nil, @batch) end
    })
  end

  defp ours(loop), do: {"Kantoku.Metrics.observe/2 of a series, a thousand buckets", loop}

  defp add_counters(options) do
    compare(
      "add.counters",
      options,
      {"Kantoku.Metrics.add/2 of a series", &Loops.add(:ours, &1.added, @batch)},
      {":counters.add/3 with write_concurrency", &Loops.add(:counters, &1.counters, @batch)}
    )
  end

  defp quantile_hdr(options) do
    compare(
      "quantile.hdr_histogram",
      options,
      {"the 99th percentile of a series", &Loops.quantile(:ours, &1.observed, @batch)},
      {":hdr_histogram.percentile/2, two digits", &Loops.quantile(:hdr_histogram, &1.hdr, @batch)}
    )
  end

  defp compare(name, options, {ours, our_loop}, {theirs, their_loop}) do
    %Comparison{
      name: name,
      unit: "ops/s",
      better: :higher,
      ours: side(ours, options, our_loop),
      theirs: side(theirs, options, their_loop)
    }
  end

  defp side(does, options, loop) do
    millis = Options.size(options, 500, 150)
    callers = System.schedulers_online()

    %Side{
      does: "#{does}; #{callers} looping callers",
      round: fn stage ->
        Callers.rate(callers, millis, &Function.identity/1, fn state -> {@batch, batch(loop, stage, state)} end)
      end
    }
  end

  defp batch(loop, stage, state) do
    :ok = loop.(stage)
    state
  end

  defp quantile(options) do
    count = Options.size(options, 10_000, 1_000)

    %Measurement{
      name: "quantile",
      unit: "ns",
      does: "the 99th percentile of a series with 10,000 observations",
      run: fn stage ->
        [{"read", Callers.elapsed(1, fn _ -> Loops.quantile(:ours, stage.observed, count) end) / count}]
      end
    }
  end

  defp snapshot(options) do
    count = Options.size(options, 100, 10)

    %Measurement{
      name: "snapshot",
      unit: "ms",
      does: "Kantoku.Metrics.snapshot/1 of an instance with 20 pools",
      run: fn _stage ->
        [
          {"all",
           Callers.elapsed(1, fn _ -> for(_ <- 1..count, do: {:ok, _} = Metrics.snapshot(@instance)) end) / count /
             1.0e6}
        ]
      end
    }
  end
end

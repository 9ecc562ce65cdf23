Code.require_file("mix/native_compiler.exs", __DIR__)

defmodule Kantoku.MixProject do
  use Mix.Project

  @version "0.1.0"
  @source_url "https://github.com/kantoku-ex/kantoku"

  def project do
    [
      app: :kantoku,
      version: @version,
      elixir: "~> 1.14",
      elixirc_paths: elixirc_paths(Mix.env()),
      compilers: [:kantoku_native] ++ Mix.compilers(),
      start_permanent: Mix.env() == :prod,
      deps: deps(),
      description: "The production layer around AI agents: supervision with memory, a queryable registry, a Rust core.",
      package: package(),
      docs: docs(),
      dialyzer: [plt_add_apps: [:mix]],
      source_url: @source_url,
      test_coverage: [summary: false]
    ]
  end

  def application do
    [mod: {Kantoku.Application, []}, extra_applications: [:logger, :inets, :ssl]]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_env), do: ["lib"]

  # With Hex, the ordinary packages. Without (`KANTOKU_DEPS_DIR`), the checkouts of those names in that folder, and
  # what is not there is left out: Kantoku needs none of them to work.
  defp deps do
    hex = [
      telemetry: "~> 1.0",
      telemetry_metrics: {"~> 1.0", optional: true},
      jido: {"~> 2.3", optional: true},
      plug: {"~> 1.14", optional: true},
      ex_doc: {"~> 0.34", only: :dev, runtime: false}
    ]

    case System.get_env("KANTOKU_DEPS_DIR") do
      nil -> Enum.map(hex, &hex_dep/1)
      dir -> for {name, _} = dep <- hex, File.dir?(Path.join(dir, "#{name}")), do: local_dep(dep, dir)
    end
  end

  defp hex_dep({name, {requirement, opts}}), do: {name, requirement, opts}
  defp hex_dep({name, requirement}), do: {name, requirement}

  defp local_dep({name, {_requirement, opts}}, dir), do: {name, [path: Path.join(dir, "#{name}")] ++ opts}
  defp local_dep({name, _requirement}, dir), do: {name, path: Path.join(dir, "#{name}")}

  # What README's table was made of: the full runs, each with its picture.
  defp measured do
    for path <- Path.wildcard("bench/results/*.md"),
        name = Path.basename(path, ".md"),
        Path.extname(name) == "",
        do: name
  end

  defp package do
    [
      licenses: ["Apache-2.0"],
      links: %{"GitHub" => @source_url, "Changelog" => @source_url <> "/blob/main/CHANGELOG.md"},
      files:
        ~w(lib mix mix.exs .formatter.exs Cargo.toml Cargo.lock .cargo native rust_tests/Cargo.toml rust_tests/lib.rs
           ops/grafana ops/prometheus README.md ARCHITECTURE.md CHANGELOG.md LICENSE usage-rules.md guides) ++
          Enum.flat_map(measured(), &Path.wildcard("bench/results/#{&1}.{md,svg}"))
    ]
  end

  defp docs do
    [
      main: "readme",
      source_ref: "v#{@version}",
      extras:
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "usage-rules.md", "LICENSE"] ++
          Path.wildcard("guides/*.md") ++
          for(name <- measured(), do: {:"bench/results/#{name}.md", filename: "measured-#{name}", title: name}),
      assets: %{"guides/assets" => "assets", "bench/results" => "."},
      groups_for_extras: [Guides: ~r"guides/", Measurements: ~r"bench/"],
      # They are no part of anybody's documentation.
      skip_code_autolink_to: ["Registry.whereis_name/1", "Kantoku.Native.whereis/2"],
      groups_for_modules: [
        Agents: [Kantoku.Agent, Kantoku.Agent.Options, Kantoku.Agent.Server, Kantoku.Agent.Adapter],
        Domains: [Kantoku.Domain],
        Pools: [
          Kantoku.Pool,
          Kantoku.Pool.Lease,
          Kantoku.Pool.Strategy,
          Kantoku.Pool.Ejection,
          Kantoku.Pool.SlowStart,
          Kantoku.Backpressure
        ],
        Breakers: [Kantoku.Breaker, Kantoku.Fuse, Kantoku.Fuse.Events, Kantoku.Fuse.Stats],
        Health: [Kantoku.Health, Kantoku.Probe, Kantoku.Why, Kantoku.Degradation],
        "Objectives and alerts": [Kantoku.SLO, Kantoku.Alert],
        Registry: [Kantoku.Registry, Kantoku.Registry.Load, Kantoku.Entry],
        State: [Kantoku.Store, Kantoku.Store.Memory, Kantoku.Store.Disk],
        Scaling: [
          Kantoku.Pool.Scaler,
          Kantoku.Pool.Scaler.Policy,
          Kantoku.Pool.Scaler.Decision,
          Kantoku.Pool.Scaler.Wish,
          Kantoku.Pool.Scaler.Headroom,
          Kantoku.Pool.Forecast,
          Kantoku.Pool.Forecast.History,
          Kantoku.Pool.Forecast.HoltWinters,
          Kantoku.Pool.Forecast.Backtest,
          Kantoku.Pool.Simulation,
          Kantoku.Pool.Simulation.Trace,
          Kantoku.Pool.Simulation.LoadFile,
          Kantoku.Pool.Recording
        ],
        "Moving over": [
          Kantoku.Migration,
          Kantoku.Migration.Portable,
          Kantoku.Migration.Reversal,
          Kantoku.Migration.Via
        ],
        Jido: [
          Kantoku.Jido,
          Kantoku.Jido.Door,
          Kantoku.Jido.Migrated,
          Kantoku.Jido.Switch,
          Kantoku.Jido.WorkerPool,
          Kantoku.Jido.Storage
        ],
        Traces: [Kantoku.Trace, Kantoku.Trace.Context, Kantoku.Trace.Span],
        "Metrics, events and errors": [
          Kantoku.Memory,
          Kantoku.Metrics,
          Kantoku.Exporters,
          Kantoku.Api,
          Kantoku.Discovery,
          Kantoku.Plug,
          Kantoku.Resources,
          Kantoku.Telemetry,
          Kantoku.Error
        ],
        Engines: [
          Kantoku.Engine,
          Kantoku.Engine.Pools,
          Kantoku.Engine.Pools.Standing,
          Kantoku.Engine.Breakers,
          Kantoku.Engine.Health,
          Kantoku.Engine.Traces,
          Kantoku.Engine.Metrics,
          Kantoku.Engine.Elixir,
          Kantoku.Native
        ]
      ]
    ]
  end
end

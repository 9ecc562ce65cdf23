defmodule Kantoku.Config do
  # An instance's options, checked once. What is below trusts the struct. Knows no process.
  @moduledoc false

  alias Kantoku.Domain.{Definition, Policy, Wish}
  alias Kantoku.{Alert, Breaker, Degradation, Exporters, Health, Memory, Metrics, Migration, Options, Pool, SLO, Trace}

  @drain [
    timeout: [
      kind: :positive,
      default: 25_000,
      doc: "ms for work in flight at an orderly shutdown, and for `Kantoku.drain/2`."
    ]
  ]

  @resources [
    top: [kind: :positive, default: 100, doc: "how many of those that use most are kept, of each kind."]
  ]

  @schema [
    name: [kind: :atom, required: true, doc: "the instance's name, and its registry's."],
    engine: [kind: {:one_of, [:native, :elixir]}, default: :native, doc: "who keeps the facts: `:native` or `:elixir`."],
    store: [
      kind: :any,
      default: Kantoku.Store.Memory,
      doc: "where snapshots are kept: a module or `{module, options}`, or `:none`."
    ],
    agents: [
      kind: :keyword,
      default: [],
      doc: "what agents of modules with `cmd/2` do unless told otherwise; see `Kantoku.Agent.Options`."
    ],
    domains: [
      kind: {:list, :keyword},
      default: [],
      doc: "keyword lists; see `Kantoku.Domain`. `:default` always exists."
    ],
    pools: [kind: {:list, :keyword}, default: [], doc: "keyword lists; see `Kantoku.Pool`."],
    breakers: [
      kind: {:list, :keyword},
      default: [],
      doc: "keyword lists with a `:name`, any term; see `Kantoku.Breaker`."
    ],
    objectives: [kind: {:list, :keyword}, default: [], doc: "keyword lists; see `Kantoku.SLO`."],
    migration: [
      kind: :keyword,
      default: [],
      doc: "which features are on trial, and for whom; see `Kantoku.Migration`."
    ],
    health: [
      kind: {:options_or, Health.Config.schema(), [false]},
      default: [],
      doc: "what is looked at and done about agents, or `false`: nothing; see `Kantoku.Health`."
    ],
    resources: [
      kind: {:options_or, @resources, [false]},
      default: [],
      doc: "what agents use, looked at as `:health` looks at them, or `false`: nobody does; see `Kantoku.Resources`."
    ],
    degradation: [
      kind: {:options_or, Degradation.Config.schema(), [false]},
      default: [],
      doc: "what is shed before memory or processors run out, or `false`: nothing; see `Kantoku.Degradation`."
    ],
    alerts: [
      kind: {:options_or, Alert.Config.schema(), [false]},
      default: [],
      doc: "what somebody has to know of, and where it is told, or `false`: nothing; see `Kantoku.Alert`."
    ],
    trace: [
      kind: {:options_or, Trace.Config.schema(), [false, nil]},
      default: nil,
      doc: "which calls are traced, or `false`: none. `nil`: as OpenTelemetry's variables say; see `Kantoku.Trace`."
    ],
    metrics: [
      kind: {:options, Metrics.Config.schema()},
      doc: "how much metrics may come to; see `Kantoku.Metrics`:"
    ],
    memory: [
      kind: {:options, Memory.Config.schema()},
      doc: "how much native memory an instance may hold, by owner; see `Kantoku.Memory`:"
    ],
    http: [
      kind: {:options_or, Exporters.Config.http_schema(), [false]},
      default: false,
      doc: "where metrics and probes are served, for the whole VM, or `false`: nowhere; see `Kantoku.Exporters`."
    ],
    exporters: [
      kind: :keyword,
      default: [],
      doc: "where metrics are sent: `statsd: options`, `dogstatsd: options`, `otlp: options`; see `Kantoku.Exporters`."
    ],
    drain: [kind: {:options, @drain}, doc: "how it ends:"],
    max_restarts: [kind: :non_negative, default: 3, doc: "how often domains may escalate to the instance, as in OTP."],
    max_seconds: [kind: :positive, default: 5, doc: "as in OTP."],
    sweep: [kind: :positive, default: 1_000, doc: "ms between two looks for rows that nobody repairs."],
    registry: [kind: :keyword, default: [], doc: "more options for `Kantoku.Registry.start_link/1`."]
  ]

  @enforce_keys [:exports | Keyword.keys(@schema) -- [:http, :exporters]]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          name: atom,
          engine: :native | :elixir,
          store: :none | module | {module, keyword},
          agents: keyword,
          domains: [Definition.t()],
          pools: [Pool.Config.t()],
          breakers: [{name :: term, Breaker.Config.t()}],
          objectives: [SLO.Objective.t()],
          migration: Migration.Option.t(),
          health: Health.Config.t() | nil,
          resources: %{top: pos_integer} | false,
          degradation: Degradation.Config.t() | nil,
          alerts: Alert.Config.t() | nil,
          trace: Trace.Config.t() | nil,
          metrics: %{max_series: pos_integer, max_bytes: pos_integer},
          memory: Memory.Notes.limits(),
          exports: Exporters.Config.t(),
          drain: %{timeout: pos_integer},
          max_restarts: non_neg_integer,
          max_seconds: pos_integer,
          sweep: pos_integer,
          registry: keyword
        }

  @doc "Checks start options; raises `ArgumentError` on a bad one."
  @spec new!(keyword) :: t
  def new!(opts) do
    opts = veil(opts)
    checked = Options.validate!(opts, @schema, "Kantoku")
    domains = checked.domains |> with_default() |> Enum.map(&Definition.new!/1)
    unique!("domain", Enum.flat_map(domains, &Definition.names/1))
    unique!("agent", Enum.flat_map(domains, &Definition.agent_ids/1))
    pools = Enum.map(checked.pools, &Pool.Config.new!/1)
    unique!("pool", Enum.map(pools, & &1.name), :pools)
    breakers = Enum.map(checked.breakers, &breaker!/1)
    unique!("breaker", Enum.map(breakers, &elem(&1, 0)), :breakers)
    objectives = Enum.map(checked.objectives, &SLO.Objective.new!/1)
    unique!("objective", Enum.map(objectives, & &1.name), :objectives)
    migration = Migration.Option.new!(checked.migration)
    agent_options = Kantoku.Agent.Options.new!(checked.agents)
    for domain <- domains, agent <- Definition.agents(domain), do: Wish.check!(agent, agent_options)
    for pool <- pools, do: Wish.check!(Pool.Worker.wish(nil, pool, 0), agent_options)

    exports = Exporters.Config.new!(Keyword.get(opts, :http, false), checked.exporters)
    {_raw, checked} = Map.split(checked, [:http, :exporters])

    struct!(__MODULE__, %{
      Map.put(checked, :exports, exports)
      | domains: domains,
        pools: pools,
        breakers: breakers,
        objectives: objectives,
        migration: migration,
        health: Health.Config.new!(Keyword.get(opts, :health, [])),
        degradation: Degradation.Config.new!(Keyword.get(opts, :degradation, [])),
        alerts: Alert.Config.new!(Keyword.get(opts, :alerts, [])),
        trace: Trace.Config.new!(Keyword.get(opts, :trace))
    })
  end

  @doc "The options with what must not be seen hidden, as supervisors show what they start."
  @spec veil(keyword) :: keyword
  def veil(opts) do
    if Keyword.keyword?(opts), do: Enum.map(opts, &veiled/1), else: opts
  end

  defp veiled({:http, options}), do: {:http, Exporters.Config.veil(options)}
  defp veiled({:exporters, exporters}), do: {:exporters, Exporters.Config.veil_exporters(exporters)}
  defp veiled(other), do: other

  defp breaker!(options) do
    case Keyword.pop(options, :name) do
      {nil, _options} -> raise ArgumentError, "Kantoku, option :breakers: option :name is required and was not given"
      {name, options} -> {name, Breaker.Config.new!(options, Breaker.Config.where(name))}
    end
  end

  defp with_default(domains) do
    if Enum.any?(domains, &(&1[:name] == :default)), do: domains, else: domains ++ [[name: :default]]
  end

  defp unique!(noun, names, option \\ :domains) do
    case names -- Enum.uniq(names) do
      [] ->
        :ok

      [name | _] ->
        raise ArgumentError,
              "Kantoku, option #{inspect(option)}: expected each #{noun} once, got twice: #{inspect(name)}"
    end
  end

  @doc "The policy of the instance as the level above its domains."
  @spec policy(t) :: Policy.t()
  def policy(config) do
    [name: :instance, max_restarts: config.max_restarts, max_seconds: config.max_seconds]
    |> Definition.new!()
    |> Map.fetch!(:policy)
  end

  @doc "The options as Markdown."
  @spec docs() :: String.t()
  def docs, do: Options.docs(@schema)
end

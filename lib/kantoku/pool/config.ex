defmodule Kantoku.Pool.Config do
  # A pool's options, checked once. What is below trusts the struct. Knows no process.
  @moduledoc false

  alias Kantoku.Domain.{Definition, Policy}
  alias Kantoku.{Breaker, Engine, Options}
  alias Kantoku.Pool.{Ejection, Quota, Scaler, SlowStart}
  alias Kantoku.Pool.Scaling.Option

  @strategies [:round_robin, :random, :least_loaded, :power_of_two, :peak_ewma, :hash, :lifo]

  # What a timer and a 32-bit count can take.
  @most 0xFFFFFFFF

  # As many workers as NimblePool starts by default.
  @workers 10

  @size [
    target: [
      kind: {:non_negative_or, [nil]},
      doc: "how many workers it has, or begins with if it is scaled. Default: `:min`, or #{@workers}."
    ],
    min: [
      kind: {:non_negative_or, [nil]},
      doc:
        "to how many it shrinks when idle (`:idle_timeout`) or scaled. Default: `:target`; of a pool that is scaled, 1."
    ],
    max: [
      kind: {:non_negative_or, [nil]},
      doc: "the most that `:target`, or a scaler, may ask for. Default: `:target`."
    ],
    scaling: [
      kind: {:like, "false or options of Kantoku.Pool.Scaler.Policy", &Option.fits?/1},
      default: false,
      doc:
        "whether the pool scales itself, and how: options of `Kantoku.Pool.Scaler.Policy`. Its `:min` and `:max` are the pool's own, " <>
          "and may be given here or there. See the guide \"Scaling\"."
    ],
    max_overflow: [
      kind: :non_negative,
      default: 0,
      doc: "workers beyond the target, started while requests wait (poolboy's word)."
    ],
    overflow_linger: [
      kind: :positive,
      default: 5_000,
      doc:
        "ms that workers beyond the target stay after the last request had to wait; then as many go as were not needed."
    ],
    idle_timeout: [
      kind: {:positive_or, [nil]},
      default: nil,
      doc: "ms without work after which a worker above `:min` goes. The first request that has to wait brings all back."
    ],
    max_lifetime: [
      kind: {:positive_or, [nil]},
      default: nil,
      doc: "ms after which a worker is succeeded by a new one, which joins first (HikariCP's word)."
    ],
    lifetime_jitter: [
      kind: :non_negative,
      default: 10,
      doc: "percent of `:max_lifetime` by which a worker goes earlier, at random."
    ],
    warm_up: [
      kind: {:non_negative_or, [:all]},
      default: :all,
      doc: "how many workers must be up before the pool, or its instance, has started."
    ],
    warm_up_timeout: [
      kind: :positive,
      default: 30_000,
      doc: "ms for that; then the start fails, with a `Kantoku.Error`."
    ],
    start_timeout: [
      kind: {:positive_or, [:infinity]},
      default: 30_000,
      doc: "ms that the start of one worker may take; then it is killed, and charged as a crash."
    ]
  ]

  @work [
    strategy: [
      kind: :atom,
      default: :power_of_two,
      doc: "one of `#{inspect(@strategies)}`, or a module (`Kantoku.Pool.Strategy`)."
    ],
    max_ongoing: [
      kind: :positive,
      default: 1,
      doc: "requests that a worker has at once: 1 is exclusive, more is shared."
    ],
    max_queue: [
      kind: :non_negative,
      default: 1_000,
      doc: "requests that may wait; one more and the newest of the tenant that has most is `:queue_full`."
    ],
    codel: [
      kind: :boolean,
      default: true,
      doc: "whether who waits too long is refused under overload (`:overloaded`)."
    ],
    queue_target: [
      kind: :positive,
      default: 50,
      doc:
        "ms. When somebody has waited longer all through an interval, the pool is overloaded. DBConnection's default."
    ],
    queue_interval: [kind: :positive, default: 1_000, doc: "ms, that interval. DBConnection's default."],
    decay_time: [
      kind: :positive,
      default: 10_000,
      doc: "ms in which `:peak_ewma` forgets a slow answer. Finagle's default."
    ],
    weights: [
      kind: :any,
      default: [],
      doc: "shares of tenants that differ from 1: `%{\"gold\" => 3}` or a list of pairs."
    ],
    quotas: [
      kind: {:list, :any},
      default: [],
      doc:
        "limits a minute: `{:pool | :each | {:tenant, tenant}, requests: n}` or `tokens: n` (counted by `:cost`), and `burst: n` " <>
          "that may come at once, by default a whole minute's; and `{:memory, bytes}` and `{:cpu, percent}` (of the schedulers' time) for all " <>
          "workers together, as measured twice a second."
    ],
    breaker: [
      kind: {:options_or, Breaker.Config.schema(), [nil]},
      default: nil,
      doc: "options of `Kantoku.Breaker` for one that guards the pool, named `{:pool, name}`; `nil`: none."
    ],
    shed: [
      kind: {:one_of, [:none, :low, :normal]},
      default: :none,
      doc:
        "requests of this priority and below are refused as `:overloaded` while the instance is at level 3 of `Kantoku.Degradation`."
    ],
    ejection: [
      kind: {:options_or, Ejection.Schema.options(), [false, true, :observe]},
      default: true,
      doc:
        "whether workers that fail or are slow are given nothing new for a while, as Envoy does: `false`, `true`, `:observe` (it is only " <>
          "told), or options of `Kantoku.Pool.Ejection`:"
    ],
    slow_start: [
      kind: {:options_or, SlowStart.Schema.options(), [false, true]},
      default: true,
      doc: "whether they come back with a share that grows, and options of `Kantoku.Pool.SlowStart`:"
    ],
    healthy_panic_threshold: [
      kind: {:like, "0 to 100", &__MODULE__.percent?/1},
      default: 50,
      doc:
        "percent. While fewer of the workers (two at least) are in and ready, all that live are given work. 0: never. Envoy's name and default."
    ],
    on_abandon: [
      kind: {:one_of, [:wait, :replace]},
      default: :wait,
      doc:
        "what becomes of a worker whose caller gave up or died: it is waited for, or killed and started again, uncharged."
    ],
    on_risk: [
      kind: {:one_of, [:tell, :replace]},
      default: :tell,
      doc:
        "what becomes of a worker that health sees near a limit (`Kantoku.Health`): it is only told of; or it gets no more work, finishes " <>
          "what it has and is started again with its state, one in ten at a time."
    ],
    abandon_timeout: [
      kind: {:positive_or, [nil]},
      default: nil,
      doc: "ms after which a worker that is waited for is replaced; `nil`: never."
    ]
  ]

  @schema [
            name: [kind: :atom, required: true, doc: "unique among the pools of its instance."],
            worker: [
              kind: :any,
              required: true,
              doc:
                "what each worker is: whatever `Kantoku.start_agent/3` starts, or `[spec: ...]` with options of that. It is " <>
                  "`:permanent`, whatever its child spec says."
            ]
          ] ++
            @work ++
            @size ++ [domain: [kind: {:options, Definition.pool_schema()}, doc: "how workers are restarted:"]]

  @enforce_keys Keyword.keys(@schema)
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          name: atom,
          worker: term,
          strategy: atom,
          max_ongoing: pos_integer,
          max_queue: non_neg_integer,
          codel: boolean,
          queue_target: pos_integer,
          queue_interval: pos_integer,
          decay_time: pos_integer,
          weights: [{Engine.Pools.tenant(), pos_integer}],
          quotas: [Quota.t()],
          breaker: Breaker.Config.t() | nil,
          shed: :none | :low | :normal,
          ejection: Ejection.t() | nil,
          slow_start: SlowStart.t() | nil,
          healthy_panic_threshold: 0..100,
          on_abandon: :wait | :replace,
          on_risk: :tell | :replace,
          abandon_timeout: pos_integer | nil,
          target: non_neg_integer,
          min: non_neg_integer,
          max: non_neg_integer,
          scaling: Scaler.Policy.t() | nil,
          max_overflow: non_neg_integer,
          overflow_linger: pos_integer,
          idle_timeout: pos_integer | nil,
          max_lifetime: pos_integer | nil,
          lifetime_jitter: 0..100,
          warm_up: non_neg_integer | :all,
          warm_up_timeout: pos_integer,
          start_timeout: pos_integer | :infinity,
          domain: Definition.t()
        }

  @doc "Checks a pool's options; raises `ArgumentError` on a bad one."
  @spec new!(keyword) :: t
  def new!(options) do
    where = where(if Keyword.keyword?(options), do: options[:name])
    options = Option.lift!(options, where)
    checked = Options.validate!(options, @schema, where)
    scaling = Option.policy!(nil, checked.scaling, where)

    breaker = Breaker.Config.merge!(nil, checked.breaker, where)

    struct!(__MODULE__, %{
      checked
      | scaling: scaling,
        breaker: breaker,
        ejection: Ejection.merge!(nil, checked.ejection, where),
        slow_start: SlowStart.merge!(nil, checked.slow_start, where),
        domain: Definition.of_pool(checked.name, checked.domain)
    })
    |> sized(Keyword.take(options, [:target, :min, :max]))
    |> check!(where)
  end

  @doc "With some options changed; those of `:domain` are merged. Raises as `new!/1` does."
  @spec change!(t, keyword) :: t
  def change!(config, changes) do
    where = where(config.name)
    given = changes |> Option.lift!(where) |> Options.validate_given!(@schema, where)
    if Map.has_key?(given, :name), do: refuse!(where, :name, "nothing, as it is fixed", given.name)
    domain = changed_domain!(config.domain, given[:domain], where)
    scaling = Option.policy!(config.scaling, Map.get(given, :scaling, config.scaling), where)
    breaker = Breaker.Config.merge!(config.breaker, Map.get(given, :breaker, config.breaker), where)
    ejection = Ejection.merge!(config.ejection, Map.get(given, :ejection, config.ejection), where)
    slow_start = SlowStart.merge!(config.slow_start, Map.get(given, :slow_start, config.slow_start), where)
    changed = %{domain: domain, scaling: scaling, breaker: breaker, ejection: ejection, slow_start: slow_start}
    given = Map.merge(given, changed)
    config |> struct!(config |> bounds(given) |> Map.merge(given)) |> check!(where)
  end

  # The target of a pool that is scaled is only where it begins.
  defp bounds(config, %{scaling: %{}} = given) do
    {min, max} = {given[:min] || config.min, given[:max] || config.max}
    %{target: config.target |> max(min) |> min(max)}
  end

  # A bound that is the target, as it is unless it was given, goes with it.
  defp bounds(%{target: old} = config, %{target: target}) do
    for bound <- [:min, :max], Map.fetch!(config, bound) == old, into: %{}, do: {bound, target}
  end

  defp bounds(_config, _given), do: %{}

  defp changed_domain!(domain, nil, _where), do: domain

  defp changed_domain!(_domain, %{partitions: given}, where),
    do: refuse!("#{where}, option :domain", :partitions, "nothing, as it is fixed", given)

  defp changed_domain!(domain, %{} = given, where),
    do: %{domain | policy: Policy.change!(domain.policy, listed(given), "#{where}, option :domain")}

  # As it was given: nested options were made maps when they were checked.
  defp listed(%{} = given), do: Enum.map(given, fn {key, value} -> {key, listed(value)} end)
  defp listed(value), do: value

  # What is not said follows from what is. How far a pool may grow by itself has to be said.
  defp sized(%{scaling: %{}} = config, given) do
    target = given[:target] || given[:min] || 1
    %{config | target: target, min: given[:min] || min(target, 1), max: given[:max] || given[:target]}
  end

  defp sized(config, given) do
    target = given[:target] || given[:min] || min(@workers, given[:max] || @workers)
    %{config | target: target, min: given[:min] || target, max: given[:max] || target}
  end

  defp check!(config, where) do
    for name <- [:target, :min, :max],
        config |> Map.fetch!(name) |> is_nil(),
        do: refuse!(where, name, "an integer of 0 or more", nil)

    for {name, value} when is_integer(value) and value > @most <- Map.from_struct(config),
        do: refuse!(where, name, "at most #{@most}", value)

    config.min <= config.target || refuse!(where, :min, "at most :target (#{config.target})", config.min)
    config.max >= config.target || refuse!(where, :max, "at least :target (#{config.target})", config.max)
    config.lifetime_jitter <= 100 || refuse!(where, :lifetime_jitter, "at most 100", config.lifetime_jitter)
    strategy!(config.strategy, where)
    if config.scaling && config.max == 0, do: refuse!(where, :max, "at least 1, as the pool is scaled", 0)

    %{
      config
      | weights: weights!(config.weights, where),
        quotas: Quota.list!(config.quotas, where),
        scaling: Option.bounded(config.scaling, config.min, config.max)
    }
  end

  defp strategy!(strategy, _where) when strategy in @strategies, do: :ok

  defp strategy!(module, where) do
    (Code.ensure_loaded?(module) and function_exported?(module, :choose, 2)) ||
      refuse!(where, :strategy, "one of #{inspect(@strategies)} or a module with choose/2", module)
  end

  defp weights!(weights, where) do
    is_map(weights) or is_list(weights) || refuse!(where, :weights, "a map or list of tenants and weights", weights)
    Enum.map(weights, &weight!(&1, where))
  end

  defp weight!({tenant, weight} = pair, where) when is_integer(weight) and weight in 1..1_000_000,
    do: (Kantoku.Pool.Request.tenant!(tenant, "#{where}, option :weights") && pair) || pair

  defp weight!(other, where), do: refuse!(where, :weights, "pairs of a tenant and 1 to 1_000_000", other)

  defp where(name), do: "Kantoku, pool #{inspect(name)}"

  defp refuse!(where, option, expected, given) do
    raise ArgumentError, "#{where}, option #{inspect(option)}: expected #{expected}, got: #{inspect(given)}"
  end

  @doc "Whether the strategy is a module's, and so is applied by who asks."
  @spec custom?(t) :: boolean
  def custom?(%{strategy: strategy}), do: strategy not in @strategies

  @doc "What the engine is told; `said` are its fields that are not the pool's own options."
  @spec for_engine(t, said :: %{draining: boolean, over_quota: boolean, counted: boolean}) :: Engine.Pools.config()
  def for_engine(config, %{draining: draining, over_quota: over_quota, counted: counted?}) do
    config
    |> Map.take([
      :strategy,
      :max_ongoing,
      :max_queue,
      :queue_target,
      :queue_interval,
      :decay_time,
      :codel,
      :weights,
      :quotas,
      :healthy_panic_threshold
    ])
    |> Map.update!(:quotas, &Quota.rates/1)
    |> Map.merge(%{
      draining: draining,
      over_quota: over_quota,
      ejection: Ejection.for_engine(config.ejection),
      slow_start: SlowStart.for_engine(config.slow_start),
      direct: not counted? and config.breaker == nil and config.shed != :normal and not custom?(config),
      strategy: if(custom?(config), do: :power_of_two, else: config.strategy)
    })
  end

  @doc false
  @spec percent?(term) :: boolean
  def percent?(percent), do: is_integer(percent) and percent in 0..100

  @doc "The options as Markdown."
  @spec docs() :: String.t()
  def docs, do: Options.docs(@schema)
end

defmodule Kantoku.Domain.Policy do
  # A domain's options as a struct: checked here, trusted everywhere else. Knows no process.
  @moduledoc false

  alias Kantoku.Options

  @backoff [
    base: [
      kind: :positive,
      default: 200,
      doc: "ms before the second restart in a row; then doubling, with full jitter."
    ],
    cap: [kind: :positive, default: 30_000, doc: "ms, the most it doubles to."],
    reset_after: [kind: :positive, default: 60_000, doc: "ms of health after which a crash counts as the first again."]
  ]
  @budget [
    crashes: [kind: {:positive_or, [:infinity]}, default: 10, doc: "how many an agent may have within the window."],
    within: [kind: :positive, default: 60_000, doc: "ms, the sliding window."]
  ]
  @unpark [
    after: [kind: :positive, default: 60_000, doc: "ms until a parked agent is tried again; doubles each time."],
    cap: [kind: :positive, default: 3_600_000, doc: "ms, the most it doubles to."]
  ]
  @storm [
    rate: [kind: :positive, required: true, doc: "restarts per second of the whole domain."],
    burst: [kind: :positive, default: 100, doc: "restarts at once before the rate applies."]
  ]
  @limits [
    max_agents: [
      kind: {:positive_or, [:infinity]},
      default: :infinity,
      doc: "agents in the domain and those nested in it."
    ]
  ]
  @live [
    restart: [
      kind: {:one_of, [:permanent, :transient, :temporary]},
      default: :permanent,
      doc: "for agents that do not say, as in OTP."
    ],
    shutdown: [
      kind: {:positive_or, [:infinity, :brutal_kill]},
      default: 5_000,
      doc: "ms an agent that does not say may take to stop, as in OTP."
    ],
    backoff: [kind: {:options, @backoff}, doc: "how long a restart waits; the first is at once:"],
    budget: [kind: {:options, @budget}, doc: "how often an agent may crash:"],
    on_exhausted: [
      kind: {:one_of, [:park, :escalate]},
      default: :park,
      doc:
        "an agent out of budget is parked; or the domain counts restarts by `:max_restarts` in place of the budget, and when " <>
          "there are more is stopped in order and handed to the level above."
    ],
    unpark: [
      kind: {:options_or, @unpark, [:never]},
      default: [],
      doc: "when a parked agent is tried again, or `:never`:"
    ],
    max_restarts: [
      kind: :non_negative,
      default: 3,
      doc: "with `on_exhausted: :escalate`, as in OTP; also for nested domains."
    ],
    max_seconds: [kind: :positive, default: 5, doc: "as in OTP."],
    storm: [kind: {:options_or, @storm, [:infinity]}, default: :infinity, doc: "spreads the restarts of many agents:"],
    limits: [kind: {:options, @limits}, doc: "what the domain may hold:"]
  ]

  @names Keyword.keys(@live)
  @enforce_keys @names
  defstruct @names

  @type t :: %__MODULE__{
          restart: :permanent | :transient | :temporary,
          shutdown: timeout | :brutal_kill,
          backoff: %{base: pos_integer, cap: pos_integer, reset_after: pos_integer},
          budget: %{crashes: pos_integer | :infinity, within: pos_integer},
          on_exhausted: :park | :escalate,
          unpark: :never | %{after: pos_integer, cap: pos_integer},
          max_restarts: non_neg_integer,
          max_seconds: pos_integer,
          storm: Kantoku.Domain.Bucket.rule(),
          limits: %{max_agents: pos_integer | :infinity}
        }

  @doc "The options that can be changed while the domain runs."
  @spec schema() :: Options.schema()
  def schema, do: @live

  @doc "From options that `Kantoku.Options` has checked."
  @spec new(map) :: t
  def new(checked), do: struct!(__MODULE__, Map.take(checked, @names))

  @doc "With some options changed; nested ones are merged. Raises ArgumentError that begins with `where`."
  @spec change!(t, keyword, String.t()) :: t
  def change!(policy, changes, where) do
    given = Options.validate_given!(changes, @live, where)
    Enum.reduce(given, policy, fn {key, value}, policy -> Map.update!(policy, key, &merged(key, &1, value, where)) end)
  end

  defp merged(_key, %{} = old, %{} = new, _where), do: Map.merge(old, new)
  defp merged(key, _word, %{} = new, where), do: complete!(key, Map.to_list(new), where)
  defp merged(_key, _old, new, _where), do: new

  # A word such as :never has nothing to merge with, so what is missing takes its default.
  defp complete!(key, given, where) do
    {:options_or, schema, _words} = @live[key][:kind]
    Options.validate!(given, schema, "#{where}, option #{inspect(key)}")
  end
end

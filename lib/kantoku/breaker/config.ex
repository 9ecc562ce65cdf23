defmodule Kantoku.Breaker.Config do
  # A breaker's options, checked once. What is below trusts the struct. Knows no process.
  @moduledoc false

  alias Kantoku.{Engine, Options}

  # A percentage is told to the engine in millionths.
  @percent 1_000_000

  # What a timer and a 32-bit count can take.
  @most 0xFFFFFFFF

  @rate "a number above 0 and up to 100"

  @schema [
    failure_rate_threshold: [
      kind: {:like, @rate, &__MODULE__.rate?/1},
      default: 50,
      doc: "percent of failures at which it opens."
    ],
    slow_call_rate_threshold: [
      kind: {:like, @rate, &__MODULE__.rate?/1},
      default: 100,
      doc: "percent of slow calls at which it opens."
    ],
    slow_call_duration_threshold: [kind: :non_negative, default: 60_000, doc: "ms; a call that takes longer is slow."],
    sliding_window_type: [
      kind: {:one_of, [:count_based, :time_based]},
      default: :count_based,
      doc: "whether the window is of so many calls or of so many seconds."
    ],
    sliding_window_size: [kind: :positive, default: 100, doc: "calls or seconds, up to 100_000."],
    minimum_number_of_calls: [
      kind: :positive,
      default: 100,
      doc: "of fewer calls no rate is taken. A window of calls is full at its size."
    ],
    wait_duration_in_open_state: [kind: :positive, default: 60_000, doc: "ms after which an open breaker is tried."],
    permitted_number_of_calls_in_half_open_state: [
      kind: :positive,
      default: 10,
      doc: "how many calls try whether it may close, up to 10_000."
    ],
    max_wait_duration_in_half_open_state: [
      kind: :non_negative,
      default: 0,
      doc: "ms after which a half-open breaker opens again; 0: never."
    ],
    automatic_transition_from_open_to_half_open_enabled: [
      kind: :boolean,
      default: false,
      doc: "whether it goes to half-open when the wait is over, or when the next call comes."
    ]
  ]

  @enforce_keys Keyword.keys(@schema)
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          failure_rate_threshold: number,
          slow_call_rate_threshold: number,
          slow_call_duration_threshold: non_neg_integer,
          sliding_window_type: :count_based | :time_based,
          sliding_window_size: pos_integer,
          minimum_number_of_calls: pos_integer,
          wait_duration_in_open_state: pos_integer,
          permitted_number_of_calls_in_half_open_state: pos_integer,
          max_wait_duration_in_half_open_state: non_neg_integer,
          automatic_transition_from_open_to_half_open_enabled: boolean
        }

  @doc "Checks a breaker's options; raises `ArgumentError` that begins with `where` on a bad one."
  @spec new!(term, String.t()) :: t
  def new!(options, where), do: __MODULE__ |> struct!(Options.validate!(options, @schema, where)) |> check!(where)

  @doc "With some options changed."
  @spec change!(t, term, String.t()) :: t
  def change!(config, changes, where),
    do: config |> struct!(Options.validate_given!(changes, @schema, where)) |> check!(where)

  @doc "A breaker that is part of something else: its options as they were before, and as that checked what was given for it."
  @spec merge!(t | nil, map | nil, String.t()) :: t | nil
  def merge!(_config, nil, _where), do: nil
  def merge!(_config, %__MODULE__{} = config, _where), do: config
  def merge!(nil, given, where), do: new!(Map.to_list(given), where <> ", option :breaker")
  def merge!(config, given, where), do: change!(config, Map.to_list(given), where <> ", option :breaker")

  @doc "How `where` begins for a breaker of that name."
  @spec where(term) :: String.t()
  def where(name), do: "Kantoku, breaker #{inspect(name)}"

  @doc false
  @spec rate?(term) :: boolean
  def rate?(rate), do: is_number(rate) and rate > 0 and rate <= 100

  defp check!(config, where) do
    limits = [sliding_window_size: 100_000, permitted_number_of_calls_in_half_open_state: 10_000]

    for {name, value} when is_integer(value) <- Map.to_list(Map.from_struct(config)),
        most = Keyword.get(limits, name, @most),
        value > most do
      raise ArgumentError, "#{where}, option #{inspect(name)}: expected at most #{most}, got: #{value}"
    end

    config
  end

  @doc "What the engine is told."
  @spec for_engine(t) :: Engine.Breakers.config()
  def for_engine(config) do
    config
    |> Map.from_struct()
    |> Map.update!(:failure_rate_threshold, &millionths/1)
    |> Map.update!(:slow_call_rate_threshold, &millionths/1)
  end

  defp millionths(percent), do: max(round(percent * @percent), 1)

  @doc "Whether time alone changes its state."
  @spec timed?(t) :: boolean
  def timed?(config) do
    config.automatic_transition_from_open_to_half_open_enabled or config.max_wait_duration_in_half_open_state > 0
  end

  @doc "The schema, for those that have a breaker of their own."
  @spec schema() :: Options.schema()
  def schema, do: @schema

  @doc "The options as Markdown."
  @spec docs() :: String.t()
  def docs, do: Options.docs(@schema)
end

defmodule Kantoku.SLO.Objective do
  # What an objective asks for, checked once. Knows no process and no count.
  @moduledoc false

  alias Kantoku.Options

  @second 1_000
  @minute 60 * @second
  @hour 60 * @minute
  @day 24 * @hour

  # Parts of a budget are told in millionths of all calls.
  @million 1_000_000

  @target "a percentage above 0 and below 100, of at most four decimals"
  @rate "a positive number"

  # Table 5-8 of the SRE workbook: 2 % of a budget of 30 days within an hour, 5 % within six, 10 % within three days.
  @burn_rates [
    [rate: 14.4, long: @hour, short: 5 * @minute, severity: :page],
    [rate: 6, long: 6 * @hour, short: 30 * @minute, severity: :page],
    [rate: 1, long: 3 * @day, short: 6 * @hour, severity: :ticket]
  ]

  @pair [
    rate: [
      kind: {:like, @rate, &__MODULE__.rate?/1},
      required: true,
      doc: "how many times too fast: 1 uses the budget up in exactly the objective's window."
    ],
    long: [kind: :positive, required: true, doc: "ms over which it has to be so;"],
    short: [kind: :positive, required: true, doc: "and in these last ms still."],
    severity: [kind: :atom, required: true, doc: "what for."]
  ]

  @schema [
    name: [kind: :any, required: true, doc: "any term."],
    pool: [kind: :atom, doc: "of which pool's requests it is;"],
    type: [kind: :atom, doc: "or, by their module, of calls to which agents;"],
    operation: [kind: :any, doc: "or of which operation of your own (`record/4`): any term but `nil`."],
    target: [
      kind: {:like, @target, &__MODULE__.target?/1},
      default: 99.9,
      doc: "percent of calls that are to be good."
    ],
    latency: [
      kind: {:positive_or, [nil]},
      default: nil,
      doc: "ms within which a good call has succeeded; without it, a good call is one that did."
    ],
    window: [kind: :positive, default: 30 * @day, doc: "ms over which the target is to be met; 30 days by default."],
    burn_rates: [
      kind: {:list, {:options, @pair}},
      doc: "keyword lists with `:rate`, `:long`, `:short` and `:severity`; see below."
    ],
    minimum: [
      kind: :positive,
      default: 1,
      doc: "of fewer calls in the long window no burn rate is too high, where a single failure says little."
    ]
  ]

  @enforce_keys [:name, :of, :target, :latency, :window, :burn_rates, :minimum, :budget]
  defstruct @enforce_keys

  @type of :: {:pool, atom} | {:type, module} | {:operation, term}
  @type burn_rate :: %{rate: number, long: pos_integer, short: pos_integer, severity: atom}

  @type t :: %__MODULE__{
          name: term,
          of: of,
          target: number,
          latency: pos_integer | nil,
          window: pos_integer,
          burn_rates: [burn_rate],
          minimum: pos_integer,
          budget: pos_integer
        }

  @doc "Checks an objective's options; raises `ArgumentError` on a bad one."
  @spec new!(keyword) :: t
  def new!(options) do
    where = where(options)
    checked = Options.validate!(options, @schema, where)
    of = of!(checked, where)
    pairs = pairs!(checked.burn_rates, checked.window, where)

    checked
    |> Map.drop([:pool, :type, :operation])
    |> Map.merge(%{of: of, burn_rates: pairs, budget: budget(checked.target)})
    |> then(&struct!(__MODULE__, &1))
  end

  defp where(options) do
    if Keyword.keyword?(options) and Keyword.has_key?(options, :name),
      do: "Kantoku, objective #{inspect(options[:name])}",
      else: "Kantoku, objective"
  end

  defp of!(checked, where) do
    case for(kind <- [:pool, :type, :operation], checked[kind] != nil, do: {kind, checked[kind]}) do
      [of] ->
        of

      given ->
        raise ArgumentError, "#{where}: expected one of the options :pool, :type and :operation, got: #{inspect(given)}"
    end
  end

  defp pairs!(nil, window, where) do
    for pair <- @burn_rates, pair[:long] <= window, do: Options.validate!(pair, @pair, where)
  end

  defp pairs!(pairs, window, where) do
    for %{long: long, short: short} = pair <- pairs, short > long or long > window do
      raise ArgumentError,
            "#{where}, option :burn_rates: expected :short up to :long and :long up to the window of #{window} ms, got: " <>
              inspect(Map.to_list(pair))
    end

    pairs
  end

  defp budget(target), do: @million - round(target * 10_000)

  @doc "How many calls of so many may be bad."
  @spec allowed(t, non_neg_integer) :: float
  def allowed(%{budget: budget}, calls), do: calls * budget / @million

  @doc "All windows that are looked at."
  @spec windows(t) :: [pos_integer]
  def windows(objective),
    do: Enum.uniq([objective.window | Enum.flat_map(objective.burn_rates, &[&1.long, &1.short])])

  @doc false
  def rate?(rate), do: is_number(rate) and rate > 0

  @doc false
  def target?(target), do: is_number(target) and target > 0 and target < 100 and budget(target) in 1..(@million - 1)

  @doc "The options as Markdown."
  @spec docs() :: String.t()
  def docs, do: Options.docs(@schema)
end

defmodule Kantoku.Migration.Judge do
  # Whether a canary is worse than its control, from what both did in a window. Pure; knows no process.
  #
  # Both tests ask the same: is the canary worse by more than the margin, beyond what chance does? It is asked again every second,
  # so chance is given little: `confidence` 3 standard errors, about one in 700.
  #
  # * Errors: the difference of both shares, with two successes and two failures added (Agresti and Caffo, "Simple and Effective
  #   Confidence Intervals for Proportions", The American Statistician 2000); its lower bound has to be above `error_margin`.
  # * Latency: the `quantile` of those that went well, without any assumption about their distribution. The rank of a quantile
  #   is binomial (Conover, "Practical Nonparametric Statistics", 3.2), so its bounds are order statistics. The canary's lower bound has
  #   to be above the control's upper bound times `latency_margin`, and by more than `latency_floor`.
  @moduledoc false

  alias Kantoku.Migration.{Reversal, Tally}
  alias Kantoku.Options

  @share "a number from 0 to 1"

  @schema [
    window: [kind: :positive, default: 60_000, doc: "ms that are looked at; between half of it and all of it."],
    min_samples: [
      kind: :positive,
      default: 100,
      doc: "how many calls each side must have had. resilience4j's `minimum_number_of_calls`."
    ],
    error_margin: [
      kind: {:like, @share, &__MODULE__.share?/1},
      default: 0.01,
      doc: "by how much more of its calls the canary may fail: 0.01 is one in a hundred."
    ],
    latency_margin: [
      kind: {:like, "a number of 1 or more", &__MODULE__.factor?/1},
      default: 1.5,
      doc: "how many times the control's latency the canary's may be."
    ],
    latency_floor: [
      kind: :non_negative,
      default: 1_000,
      doc: "microseconds of latency that are never held against it, whatever the factor."
    ],
    quantile: [
      kind: {:like, @share, &__MODULE__.share?/1},
      default: 0.95,
      doc: "which latency is compared."
    ],
    confidence: [
      kind: {:like, "a positive number", &__MODULE__.positive?/1},
      default: 3.0,
      doc: "standard errors between chance and a verdict."
    ],
    revert_to: [kind: {:one_of, [:off, :shadow]}, default: :off, doc: "what a canary that is worse goes back to."]
  ]

  @type rules :: %{
          window: pos_integer,
          min_samples: pos_integer,
          error_margin: number,
          latency_margin: number,
          latency_floor: non_neg_integer,
          quantile: number,
          confidence: number,
          revert_to: :off | :shadow
        }

  @spec rules!(term, String.t()) :: rules
  def rules!(options, where), do: Options.validate!(options, @schema, where)

  @spec schema() :: Options.schema()
  def schema, do: @schema

  @doc false
  @spec share?(term) :: boolean
  def share?(value), do: is_number(value) and value >= 0 and value <= 1

  @doc false
  @spec factor?(term) :: boolean
  def factor?(value), do: is_number(value) and value >= 1

  @doc false
  @spec positive?(term) :: boolean
  def positive?(value), do: is_number(value) and value > 0

  @doc "`:few` while there is too little to judge by."
  @spec judge(Tally.reading(), Tally.reading(), rules) :: :few | :fit | {:worse, Reversal.t()}
  def judge(canary, control, %{min_samples: least} = rules) do
    if canary.calls < least or control.calls < least,
      do: :few,
      else: errors(canary, control, rules) || latency(canary, control, rules) || :fit
  end

  defp errors(canary, control, rules) do
    if share_above(canary, control, rules.confidence) > rules.error_margin do
      worse(
        :errors,
        canary.errors / canary.calls,
        control.errors / control.calls,
        rules.error_margin,
        canary,
        control,
        rules
      )
    end
  end

  # The lower bound of the difference.
  defp share_above(canary, control, confidence) do
    {a, of_a} = {canary.errors + 1, canary.calls + 2}
    {b, of_b} = {control.errors + 1, control.calls + 2}
    {a, b} = {a / of_a, b / of_b}
    a - b - confidence * :math.sqrt(a * (1 - a) / of_a + b * (1 - b) / of_b)
  end

  defp latency(canary, control, %{min_samples: least} = rules) do
    if enough_served?(canary, least) and enough_served?(control, least), do: slower(canary, control, rules)
  end

  defp enough_served?(side, least), do: side.calls - side.errors >= least

  defp slower(canary, control, rules) do
    least = Tally.at_rank(canary, rank(canary, rules, -1))
    most = Tally.at_rank(control, rank(control, rules, +1))

    if least > most * rules.latency_margin and least - most > rules.latency_floor do
      {mine, theirs} = {Tally.at_rank(canary, rank(canary, rules, 0)), Tally.at_rank(control, rank(control, rules, 0))}
      worse(:latency, mine, theirs, rules.latency_margin, canary, control, rules)
    end
  end

  defp rank(side, %{quantile: quantile, confidence: confidence}, direction) do
    served = side.calls - side.errors
    middle = served * quantile
    error = confidence * :math.sqrt(served * quantile * (1 - quantile))
    (middle + direction * error) |> ceil() |> max(1) |> min(served)
  end

  defp worse(measure, mine, theirs, margin, canary, control, rules) do
    {:worse,
     %Reversal{
       measure: measure,
       canary: mine,
       control: theirs,
       canary_samples: canary.calls,
       control_samples: control.calls,
       margin: margin,
       quantile: if(measure == :latency, do: rules.quantile),
       confidence: rules.confidence
     }}
  end
end

defmodule Bench.Unchanged do
  @moduledoc false
  # Decides whether one way of doing something costs as much as another. Two runs of the same code differ by up to a
  # tenth on a shared machine, so a single ratio cannot say it: many interleaved rounds and an interval can, beside a
  # run of the baseline against itself, which shows what the same machine calls different when nothing is.

  alias Bench.{Comparison, Rounds, Statistics}

  @rounds 20
  @bound 1.10

  @enforce_keys [:comparison]
  defstruct [:comparison, rounds: @rounds, bound: @bound]

  @typedoc "`ours` of the comparison is the candidate, `theirs` the baseline."
  @type t :: %__MODULE__{comparison: Comparison.t(), rounds: pos_integer, bound: float}

  @type verdict :: %{unchanged: boolean, bound: float, candidate: estimate, control: estimate}
  @typedoc "How many times the baseline's cost: median of the paired ratios, and its 95 % bootstrap interval."
  @type estimate :: %{median: float, low: float, high: float, rounds: pos_integer}

  @doc "Runs both, at least #{@rounds} rounds each; unchanged if the interval of the cost ratio ends below the bound."
  @spec decide(t, stage :: term) :: verdict
  def decide(%__MODULE__{comparison: comparison, bound: bound} = decision, stage) do
    rounds = max(decision.rounds, @rounds)
    control = estimate(Comparison.control(comparison), stage, rounds)
    candidate = estimate(comparison, stage, rounds)
    %{unchanged: candidate.high < bound, bound: bound, candidate: candidate, control: control}
  end

  defp estimate(comparison, stage, rounds) do
    [result | _] = Rounds.run(comparison, stage, rounds)
    costs = Enum.map(result.ratios, &(1 / &1))
    {low, high} = Statistics.interval(costs)
    %{median: Statistics.median(costs), low: low, high: high, rounds: rounds}
  end
end

defmodule Bench.Rounds do
  @moduledoc false
  # Runs the two sides of a comparison in turn, in this VM, and takes a ratio within each round. The side that begins
  # changes from round to round, so that neither always meets the other's leftovers. One round of each before the
  # first is thrown away.

  alias Bench.{Comparison, Result}

  @doc "One result for each metric that the sides report."
  @spec run(Comparison.t(), stage :: term, rounds :: pos_integer) :: [Result.t(), ...]
  def run(%Comparison{ours: ours, theirs: theirs} = comparison, stage, rounds) do
    states = {ours.start.(stage), theirs.start.(stage)}
    {_, _} = pair(comparison, states, 0)
    pairs = Enum.map(1..rounds, &pair(comparison, states, &1))
    ours.stop.(elem(states, 0))
    theirs.stop.(elem(states, 1))
    Result.collect(comparison, pairs)
  end

  defp pair(comparison, {ours, theirs}, round) when rem(round, 2) == 0 do
    first = metrics(comparison.ours, ours)
    {first, metrics(comparison.theirs, theirs)}
  end

  defp pair(comparison, {ours, theirs}, _round) do
    first = metrics(comparison.theirs, theirs)
    {metrics(comparison.ours, ours), first}
  end

  defp metrics(side, state) do
    :erlang.garbage_collect()

    case side.round.(state) do
      number when is_number(number) -> [{nil, number}]
      metrics when is_list(metrics) -> metrics
    end
  end
end

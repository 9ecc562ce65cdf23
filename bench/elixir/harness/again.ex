defmodule Bench.Again do
  @moduledoc false
  # A comparison that we seem to lose is played once more, and right after it with the peer on both sides: what that says is noise.

  alias Bench.{Comparison, Result, Rounds}

  @below 0.9

  @enforce_keys [:name, :first, :again, :control]
  defstruct @enforce_keys

  @type t :: %__MODULE__{name: String.t(), first: Result.t(), again: Result.t(), control: Result.t()}

  @doc "One for each result below #{@below}, if the comparison is one of those that are doubted."
  @spec look(Comparison.t(), [Result.t()], stage :: term, rounds :: pos_integer) :: [t]
  def look(%Comparison{doubted: false}, _results, _stage, _rounds), do: []

  def look(comparison, results, stage, rounds) do
    case Enum.filter(results, &(elem(Result.ratio(&1), 0) < @below)) do
      [] -> []
      lost -> once_more(lost, comparison, stage, rounds)
    end
  end

  defp once_more(lost, comparison, stage, rounds) do
    again = Rounds.run(comparison, stage, rounds)
    control = Rounds.run(Comparison.control(comparison), stage, rounds)

    for first <- lost,
        do: %__MODULE__{name: first.name, first: first, again: of(again, first), control: of(control, first)}
  end

  defp of(results, %{name: name}), do: Enum.find(results, &(&1.name == name))
end

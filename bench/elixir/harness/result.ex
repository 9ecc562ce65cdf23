defmodule Bench.Result do
  @moduledoc false
  # What a comparison found: the figures of both sides round by round, and the ratio within each round.

  alias Bench.{Comparison, Statistics}

  @enforce_keys [:name, :group, :unit, :ours, :theirs, :ratios, :does]
  defstruct [:name, :group, :unit, :ours, :theirs, :ratios, :does]

  @type t :: %__MODULE__{
          name: String.t(),
          group: String.t(),
          unit: String.t(),
          ours: [number, ...],
          theirs: [number, ...],
          ratios: [float, ...],
          does: {ours :: String.t(), theirs :: String.t()}
        }

  @typedoc "The figures of both sides in one round, by metric."
  @type pair :: {[{String.t() | nil, number}], [{String.t() | nil, number}]}

  @spec collect(Comparison.t(), [pair, ...]) :: [t, ...]
  def collect(comparison, [{first, _} | _] = pairs) do
    for {metric, _} <- first do
      {comparison, label} = Comparison.of(comparison, metric)
      ours = for {ours, _} <- pairs, do: value(ours, metric)
      theirs = for {_, theirs} <- pairs, do: value(theirs, metric)
      ratios = Enum.zip_with(ours, theirs, &Comparison.ratio(comparison, &1, &2))

      %__MODULE__{
        name: name(comparison, label),
        group: comparison.name,
        unit: comparison.unit,
        ours: ours,
        theirs: theirs,
        ratios: ratios,
        does: {comparison.ours.does, comparison.theirs.does}
      }
    end
  end

  @doc "Median, least and greatest of the ratios."
  @spec ratio(t) :: {number, number, number}
  def ratio(%__MODULE__{ratios: ratios}), do: {Statistics.median(ratios), Enum.min(ratios), Enum.max(ratios)}

  @doc """
  What a claim made under the group's name rests on: of results in one group, the worst. A group of one speaks for
  itself already.
  """
  @spec worst_of_groups([t]) :: [t]
  def worst_of_groups(results) do
    for group <- results |> Enum.map(& &1.group) |> Enum.uniq(),
        members = Enum.filter(results, &(&1.group == group)),
        length(members) > 1 do
      worst = Enum.min_by(members, &elem(ratio(&1), 0))
      %{worst | name: group}
    end
  end

  defp value(metrics, metric) do
    {_, value} = List.keyfind(metrics, metric, 0)
    value
  end

  defp name(comparison, metric) do
    [comparison.name, comparison.variant, metric] |> Enum.reject(&is_nil/1) |> Enum.join(".")
  end
end

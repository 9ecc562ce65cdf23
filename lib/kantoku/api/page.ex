defmodule Kantoku.Api.Page do
  # The first few, in order, of what comes in any order and in slices: so many are kept, whatever comes. Knows no agent.
  @moduledoc false

  @enforce_keys [:most, :past]
  defstruct [:most, :past, :last, kept: [], total: 0]

  @typedoc "`past`: the rank after which the page begins, as `{:term, rank}`; `last`: the greatest that is kept, when as many are as may."
  @type t :: %__MODULE__{
          most: pos_integer,
          past: {:term, term} | nil,
          last: {:term, term} | nil,
          kept: [term],
          total: non_neg_integer
        }

  @doc "A page of so many at most, after a rank."
  @spec new(pos_integer, {:term, term} | nil) :: t
  def new(most, past), do: %__MODULE__{most: most, past: past}

  @doc "Takes in what of a slice belongs on it."
  @spec add(t, [rank :: term]) :: t
  def add(%{most: most, total: total} = page, ranks) do
    page = %{page | total: total + length(ranks)}

    case Enum.filter(ranks, &within?(&1, page)) do
      [] -> page
      fresh -> (fresh ++ page.kept) |> Enum.sort() |> Enum.take(most) |> keep(page)
    end
  end

  defp within?(rank, %{past: past, last: last}), do: after?(rank, past) and before?(rank, last)

  @doc "Whether a rank comes after where a page begins."
  @spec after?(rank :: term, {:term, term} | nil) :: boolean
  def after?(_rank, nil), do: true
  def after?(rank, {:term, past}), do: rank > past

  defp before?(_rank, nil), do: true
  defp before?(rank, {:term, last}), do: rank < last

  defp keep(kept, %{most: most} = page) when length(kept) == most,
    do: %{page | kept: kept, last: {:term, List.last(kept)}}

  defp keep(kept, page), do: %{page | kept: kept}
end

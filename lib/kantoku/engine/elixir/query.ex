defmodule Kantoku.Engine.Elixir.Query do
  # Answers queries from the index: walks the facet that fewest entries have, and looks at each of those. Knows nothing
  # of who asks.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Tables

  @doc "The records that a query names, in its order and up to its limit."
  @spec find(Tables.t(), Kantoku.Engine.query()) :: [Kantoku.Engine.record()]
  def find(tables, {_all, _any, _none, order, limit} = query) do
    tables
    |> named(query)
    |> Stream.filter(&alive?(tables, &1))
    |> ordered(tables, order)
    |> taken(limit)
    |> Enum.flat_map(&Tables.records(tables, &1))
  end

  @doc "How many entries with live owners a query names."
  @spec count(Tables.t(), Kantoku.Engine.query()) :: non_neg_integer
  def count(tables, query), do: tables |> named(query) |> Enum.count(&alive?(tables, &1))

  @doc "The incarnations that a query names, dead owners too, in no order."
  @spec named(Tables.t(), Kantoku.Engine.query()) :: Enumerable.t()
  def named(tables, query) do
    tables
    |> candidates(query)
    |> Stream.filter(fn incarnation ->
      case :ets.lookup(tables.described, incarnation) do
        [row] -> matches?(query, elem(row, 5))
        [] -> false
      end
    end)
  end

  @doc "Whether a query names what has these facets."
  @spec matches?(Kantoku.Engine.query(), [Kantoku.Engine.facet()]) :: boolean
  def matches?({all, any, none, _order, _limit}, facets) do
    Enum.all?(all, &(&1 in facets)) and
      Enum.all?(any, fn choice -> Enum.any?(choice, &(&1 in facets)) end) and
      not Enum.any?(none, &(&1 in facets))
  end

  defp candidates(tables, {all, any, _none, _order, _limit}) do
    case Enum.map(all, &[&1]) ++ any do
      [] -> tables.described |> :ets.select([{{:"$1", :_, :_, :_, :_, :_}, [], [:"$1"]}])
      choices -> choices |> Enum.min_by(&size(tables, &1)) |> union(tables)
    end
  end

  defp size(tables, choice), do: choice |> Enum.map(&size_of(tables, &1)) |> Enum.sum()

  defp size_of(tables, facet) do
    case :ets.lookup(tables.sizes, facet) do
      [{_facet, size}] -> size
      [] -> 0
    end
  end

  defp union([facet], tables), do: walk(tables, facet)
  defp union(choice, tables), do: choice |> Enum.flat_map(&walk(tables, &1)) |> Enum.uniq()

  # Incarnations start from 1, so {facet, 0} is just before the first.
  defp walk(tables, facet) do
    Stream.unfold({facet, 0}, fn at ->
      case :ets.next(tables.index, at) do
        {^facet, incarnation} = next -> {incarnation, next}
        _beyond -> nil
      end
    end)
  end

  defp alive?(tables, incarnation) do
    case :ets.lookup(tables.described, incarnation) do
      [row] -> Tables.alive?(elem(row, 2))
      [] -> false
    end
  end

  defp ordered(incarnations, _tables, :none), do: incarnations
  defp ordered(incarnations, _tables, :started_at), do: Enum.sort(incarnations)
  defp ordered(incarnations, _tables, :random), do: Enum.shuffle(incarnations)
  defp ordered(incarnations, tables, :load), do: Enum.sort_by(incarnations, &Tables.load(tables, &1))

  defp taken(incarnations, :infinity), do: incarnations
  defp taken(incarnations, limit), do: Enum.take(incarnations, limit)
end

defmodule Kantoku.Api.Most do
  # The agents of a search that use most of something, most first. Few are all looked at; of many, those are known that the last survey of all found
  # to use most (`Kantoku.Resources.top/3`), and the others' order is not. Knows no page.
  @moduledoc false
  import Kantoku.Domain.Rows, only: [row: 1]

  alias Kantoku.Api.{Described, Found, Page, Search}
  alias Kantoku.Domain.Rows
  alias Kantoku.Resources
  alias Kantoku.Resources.{Board, Figures}

  # As many as are looked at for one answer, and as `Kantoku.Resources` keeps by default.
  @looked_at 1_000
  @most_top 100

  @typedoc "`{-value, id}`; who is down uses nothing."
  @type rank :: {integer, id :: term}

  @typedoc "`of`: of which part of those that were found these are the first; `nil`: of all."
  @type t :: %{ranks: [rank], total: non_neg_integer, more?: boolean, of: String.t() | nil}

  @doc "Those found, in order."
  @spec by(Found.context(), Search.t(), Resources.Census.kind()) :: t
  def by({_instance, rows, _book} = context, %{criteria: [], rows: []} = search, kind) do
    size = :ets.info(rows, :size)
    if size > @looked_at, do: first(context, search, kind, {size, false}), else: found(context, search, kind)
  end

  def by(context, search, kind), do: found(context, search, kind)

  defp found(context, search, kind) do
    {%{kept: ids, total: total}, more?} = Found.page(context, search, :id, Page.new(@looked_at, nil))

    if total > @looked_at,
      do: first(context, search, kind, {total, more?}),
      else: Map.merge(looked_at(context, ids, kind), %{total: total, more?: more?})
  end

  # All at once --------------------------------------------------------------------------------------------------------------

  defp looked_at({instance, rows, _book}, ids, kind) do
    pids = for id <- ids, row(phase: :up, pid: pid) <- [Rows.get(rows, id)], into: %{}, do: {id, pid}
    figures = Described.figures(Map.values(pids), &look(instance, kind, &1))
    late = Enum.count(pids, fn {_id, pid} -> not is_map_key(figures, pid) and Process.alive?(pid) end)
    ranks = for id <- ids, do: {-Map.get(figures, pids[id], 0), id}
    %{ranks: Enum.sort(ranks), of: if(late > 0, do: "the #{map_size(figures)} that answered in time")}
  end

  # Only what is read without its help: this is to wake nobody.
  defp look(instance, kind, pid) do
    with {figures, _burden} <- Figures.of(pid),
         do: if(kind == :reductions, do: rate(instance, pid, figures.work), else: Map.fetch!(figures, kind))
  end

  defp rate(instance, pid, work) do
    now = System.monotonic_time(:millisecond)
    with rate when not is_integer(rate) <- Board.reading(instance, &Board.rate(&1, pid, work, now)), do: 0
  end

  # The first of all ---------------------------------------------------------------------------------------------------------

  defp first({instance, _rows, _book} = context, search, kind, {total, more?}) do
    entries = with {:error, _none} <- Resources.top(instance, kind, @most_top), do: {:ok, []}
    values = for %{id: id} = entry <- elem(entries, 1), into: %{}, do: {id, Map.fetch!(entry, kind) || 0}
    ids = Found.among(context, search, Map.keys(values))
    ranks = Enum.sort(for id <- ids, do: {-Map.fetch!(values, id), id})
    %{ranks: ranks, total: total, more?: more?, of: "the #{map_size(values)} that use most"}
  end
end

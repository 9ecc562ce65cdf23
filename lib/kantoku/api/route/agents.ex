defmodule Kantoku.Api.Route.Agents do
  # The agents of an instance, page by page: all of them, or those that a search names. A page costs one look at what its order goes by of each
  # agent, in slices; never a copy of a row that is not on it.
  @moduledoc false
  @behaviour Kantoku.Api.Route
  import Kantoku.Domain.Rows, only: [row: 0, row: 1]

  alias Kantoku.Api.{Described, Page, Params, Search, Shown}
  alias Kantoku.Domain.{Book, Rows}
  alias Kantoku.{Agents, Instances, Registry, Resources}

  @orders %{
    "id" => :id,
    "restarts" => :restarts,
    "memory" => {:top, :memory},
    "reductions" => {:top, :reductions},
    "mailbox" => {:top, :mailbox}
  }

  @slice 500
  # Of those that the index names.
  @most_found 10_000
  # As many as `Kantoku.Resources` keeps by default.
  @most_top 100

  @impl true
  def answer(instance, params) do
    with {:ok, text} <- Params.text(params, "q"),
         {:ok, search} <- Search.parse(text),
         {:ok, order} <- Params.one_of(params, "sort", :id, @orders),
         {:ok, limit} <- Params.integer(params, "limit", 50, 1..200),
         {:ok, past} <- Params.key(params, "after") do
      Instances.reading(instance, fn rows, book ->
        {:ok, page({instance, rows, book}, search, order, limit, past)}
      end)
    end
  end

  defp page(_context, %{none?: true}, _order, _limit, _past), do: %{agents: [], total: 0, more: false, next: nil}

  defp page(context, search, {:top, kind}, limit, _past) do
    {found, total, more?} = top(context, search, kind)
    shown(context, Enum.take(found, limit), total, more?, nil)
  end

  # One more than is shown says whether there is another page.
  defp page(context, search, order, limit, past) do
    {page, more?} = context |> listed(search, order, Page.new(limit + 1, past))
    ids = for rank <- Enum.take(page.kept, limit), do: id(order, rank)
    next = if length(page.kept) > limit, do: page.kept |> Enum.at(limit - 1) |> Shown.key()
    shown(context, ids, page.total, more?, next)
  end

  defp shown({instance, rows, _book}, ids, total, more?, next) do
    rows = for id <- ids, row() = row <- [Rows.get(rows, id)], do: row
    %{agents: Described.all(instance, rows), total: total, more: more?, next: next}
  end

  # In order ---------------------------------------------------------------------------------------------------------------

  defp id(:id, id), do: id
  defp id(:restarts, {_fewer, id}), do: id

  defp rank(:id, row(id: id)), do: id
  defp rank(:restarts, row(id: id, restarts: restarts)), do: {-restarts, id}

  # Without criteria of the registry all rows are gone through; of each that is left comes its rank.
  defp listed({_instance, rows, book}, %{criteria: []} = search, order, page) do
    conditions = for condition <- search.rows, guard = guard(condition, book), do: guard
    spec = [{Rows.pattern_of(id: :"$1", phase: :"$2", domain: :"$3", restarts: :"$4"), conditions, [ranked(order)]}]
    ids = for {:id, texts, wanted?} <- search.rows, do: {texts, wanted?}
    {Rows.fold_slices(rows, spec, @slice, page, &Page.add(&2, named(&1, order, ids))), false}
  end

  defp listed({_instance, rows, _book} = context, search, order, page) do
    {keys, more?} = found(context, search)
    ranks = for key <- keys, row() = row <- [Rows.get(rows, key)], fits?(row, search.rows), do: rank(order, row)
    {Page.add(page, ranks), more?}
  end

  defp ranked(:id), do: :"$1"
  defp ranked(:restarts), do: {{{:-, 0, :"$4"}, :"$1"}}

  defp named(ranks, _order, []), do: ranks
  defp named(ranks, order, ids), do: Enum.filter(ranks, fn rank -> Enum.all?(ids, &named?(id(order, rank), &1)) end)

  defp named?(id, {texts, wanted?}), do: String.contains?(Shown.text(id), texts) == wanted?

  defp guard({:phase, phases, wanted?}, _book) do
    meant =
      for phase <- ~w(new starting up resting behind parked recover stopped)a,
          "#{Agents.status(phase)}" in phases,
          do: phase

    either(:"$2", meant, wanted?)
  end

  defp guard({:domain, texts, wanted?}, book) do
    either(:"$3", Enum.filter(Book.domains(book), &(Shown.text(&1) in texts)), wanted?)
  end

  defp guard({:id, _texts, _wanted?}, _book), do: nil

  defp either(place, terms, wanted?) do
    one_of = List.to_tuple([:orelse, false, false | for(term <- terms, do: {:"=:=", place, {:const, term}})])
    if wanted?, do: one_of, else: {:not, one_of}
  end

  # By the index -----------------------------------------------------------------------------------------------------------

  # Those that were registered first, so that it is the same ones for each page.
  defp found({instance, _rows, _book}, search) do
    criteria = search.criteria ++ [return: :keys, order_by: :started_at, limit: @most_found + 1]
    keys = Registry.find(instance, criteria)
    {Enum.take(keys, @most_found), length(keys) > @most_found}
  end

  defp fits?(row, conditions), do: Enum.all?(conditions, &holds?(row, &1))

  defp holds?(row(id: id), {:id, texts, wanted?}), do: named?(id, {texts, wanted?})
  defp holds?(row(domain: domain), {:domain, texts, wanted?}), do: Shown.text(domain) in texts == wanted?
  defp holds?(row(phase: phase), {:phase, phases, wanted?}), do: "#{Agents.status(phase)}" in phases == wanted?

  # Who uses most ------------------------------------------------------------------------------------------------------------

  defp top({instance, rows, _book} = context, search, kind) do
    entries = with {:error, _none} <- Resources.top(instance, kind, @most_top), do: {:ok, []}
    {keys, more?} = if search.criteria == [], do: {:all, false}, else: found(context, search)
    known = if keys != :all, do: MapSet.new(keys)

    ids =
      for %{id: id} <- elem(entries, 1),
          known == nil or id in known,
          row() = row <- [Rows.get(rows, id)],
          fits?(row, search.rows),
          do: id

    {ids, if(search.rows == [] and keys == :all, do: :ets.info(rows, :size), else: length(ids)), more?}
  end
end

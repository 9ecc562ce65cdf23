defmodule Kantoku.Api.Found do
  # The agents that a search names, taken into a page slice by slice. Those that few can be (who has a tag, is stuck or at risk) are looked up
  # by that; else all rows are gone through, and of each that is left comes its rank, never a copy. Knows no answer.
  @moduledoc false
  import Kantoku.Domain.Rows, only: [row: 0, row: 1]

  alias Kantoku.Api.{Fates, Page, Search, Shown}
  alias Kantoku.Domain.{Book, Rows}
  alias Kantoku.{Agents, Registry}

  @slice 500
  # Of those that the index names.
  @most_found 10_000

  @type context :: {instance :: atom, rows :: :ets.tid(), book :: :ets.tid()}

  @typedoc "`:restarts` ranks as `{-restarts, id}`."
  @type order :: :id | :restarts

  @doc "A page of those found; and whether there are more than were looked through, whose number is not known then."
  @spec page(context, Search.t(), order, Page.t()) :: {Page.t(), more? :: boolean}
  def page({instance, _rows, _book} = context, search, order, page) do
    search = %{search | rows: known(instance, search.rows)}

    case candidates(instance, search) do
      :all -> {walk(context, search.rows, order, page), false}
      {ids, more?} -> {Page.add(page, ranks(context, ids, search.rows, order)), more?}
    end
  end

  @doc "Which of some agents a search names."
  @spec among(context, Search.t(), [id]) :: [id] when id: term
  def among({instance, _rows, _book} = context, search, ids) do
    {conditions, found} =
      {known(instance, search.rows), if(search.criteria != [], do: MapSet.new(indexed(instance, search)))}

    ids = if found, do: Enum.filter(ids, &(&1 in found)), else: ids
    ranks(context, ids, conditions, :id)
  end

  @doc "The id in a rank."
  @spec id(order, rank :: term) :: term
  def id(:id, id), do: id
  def id(:restarts, {_fewer, id}), do: id

  defp rank(:id, row(id: id)), do: id
  defp rank(:restarts, row(id: id, restarts: restarts)), do: {-restarts, id}

  # What health says of few is asked once for all of a question: `{:among, ids, wanted?}`.
  defp known(instance, conditions), do: Enum.flat_map(conditions, &known_of(instance, &1))

  defp known_of(instance, {:risk, kinds, wanted?}) do
    meant = for {id, found} <- Fates.at_risk(instance), "any" in kinds or Enum.any?(found, &(&1 in kinds)), do: id
    [{:among, MapSet.new(meant), wanted?}]
  end

  defp known_of(instance, {:health, ["stuck"], wanted?}), do: [{:among, MapSet.new(Fates.stuck(instance)), wanted?}]

  defp known_of(instance, {:health, states, wanted?}) do
    stuck = if "stuck" in states, do: Fates.stuck(instance), else: []
    [{:health, {states, MapSet.new(stuck)}, wanted?}]
  end

  defp known_of(_instance, condition), do: [condition]

  defp candidates(_instance, %{criteria: [], rows: conditions}) do
    few = for {:among, ids, true} <- conditions, do: ids
    if few == [], do: :all, else: {few |> Enum.min_by(&MapSet.size/1) |> MapSet.to_list(), false}
  end

  # Those that were registered first, so that it is the same ones for each page.
  defp candidates(instance, search) do
    keys = indexed(instance, search)
    {Enum.take(keys, @most_found), length(keys) > @most_found}
  end

  defp indexed(instance, search),
    do: Registry.find(instance, search.criteria ++ [return: :keys, order_by: :started_at, limit: @most_found + 1])

  defp ranks({instance, rows, _book}, ids, conditions, order) do
    found = for id <- ids, row() = row <- [Rows.get(rows, id)], fits?(row, conditions), do: rank(order, row)
    found |> Enum.chunk_every(@slice) |> Enum.flat_map(&faring(&1, instance, order, conditions))
  end

  # All rows ---------------------------------------------------------------------------------------------------------------

  defp walk({instance, rows, book}, conditions, order, page) do
    guards = for condition <- conditions, guard = guard(condition, book), do: guard
    pattern = Rows.pattern_of(id: :"$1", phase: :"$2", domain: :"$3", restarts: :"$4")
    spec = {pattern, guards, [ranked(order)]}

    if Enum.all?(conditions, fn {field, _values, _wanted?} -> field in [:phase, :domain] end),
      do: sampled(rows, spec, page, :ets.select(rows, [spec], @slice)),
      else: fold(rows, spec, page, &left(&1, instance, order, conditions))
  end

  defp fold(rows, spec, page, left), do: Rows.fold_slices(rows, [spec], @slice, page, &Page.add(&2, left.(&1)))

  # A few of many show beyond which rank none belongs on the page: the table passes those over by itself, and only counts them.
  defp sampled(rows, spec, page, {ranks, more}) when more != :"$end_of_table",
    do: bounded(rows, spec, page, Page.add(page, ranks).last)

  defp sampled(rows, spec, page, _all), do: fold(rows, spec, page, & &1)

  defp bounded(rows, spec, page, nil), do: fold(rows, spec, page, & &1)

  defp bounded(rows, {pattern, guards, [rank]}, page, {:term, last}) do
    bounds = [{:"=<", rank, {:const, last}} | for({:term, past} <- [page.past], do: {:>, rank, {:const, past}})]
    page = fold(rows, {pattern, guards ++ bounds, [rank]}, page, & &1)
    %{page | total: :ets.select_count(rows, [{pattern, guards, [true]}])}
  end

  defp named?(id, conditions), do: Enum.all?(conditions, &of_id?(id, &1))

  defp ranked(:id), do: :"$1"
  defp ranked(:restarts), do: {{{:-, 0, :"$4"}, :"$1"}}

  defp left(ranks, instance, order, conditions) do
    of_ids = for {field, _values, _wanted?} = condition <- conditions, field in [:id, :among], do: condition
    named = if of_ids == [], do: ranks, else: Enum.filter(ranks, &named?(id(order, &1), of_ids))
    faring(named, instance, order, conditions)
  end

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

  defp guard(_of_its_id_or_health, _book), do: nil

  defp either(place, terms, wanted?) do
    one_of = List.to_tuple([:orelse, false, false | for(term <- terms, do: {:"=:=", place, {:const, term}})])
    if wanted?, do: one_of, else: {:not, one_of}
  end

  # One by one -------------------------------------------------------------------------------------------------------------

  defp fits?(row, conditions), do: Enum.all?(conditions, &holds?(row, &1))

  defp holds?(row(domain: domain), {:domain, texts, wanted?}), do: Shown.text(domain) in texts == wanted?
  defp holds?(row(phase: phase), {:phase, phases, wanted?}), do: "#{Agents.status(phase)}" in phases == wanted?
  defp holds?(_row, {:health, _states, _wanted?}), do: true
  defp holds?(row(id: id), condition), do: of_id?(id, condition)

  defp of_id?(id, {:id, texts, wanted?}), do: String.contains?(Shown.text(id), texts) == wanted?
  defp of_id?(id, {:among, ids, wanted?}), do: id in ids == wanted?

  # States are asked of a slice at once, and only where that is wanted.
  defp faring(ranks, instance, order, conditions) do
    wanted = for {:health, meant, wanted?} <- conditions, do: {meant, wanted?}
    states = if wanted == [], do: %{}, else: Fates.states(instance, Enum.map(ranks, &id(order, &1)))
    Enum.filter(ranks, fn rank -> Enum.all?(wanted, &fares?(id(order, rank), states, &1)) end)
  end

  defp fares?(id, states, {{meant, stuck}, wanted?}), do: (text_of(states[id]) in meant or id in stuck) == wanted?

  defp text_of(nil), do: nil
  defp text_of(state), do: Atom.to_string(state)
end

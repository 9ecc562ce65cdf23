defmodule Kantoku.Api.Route.Agents do
  # The agents of an instance, page by page: all of them, or those that a search names.
  @moduledoc false
  @behaviour Kantoku.Api.Route
  import Kantoku.Domain.Rows, only: [row: 0]

  alias Kantoku.Api.{Described, Found, Most, Page, Params, Search, Shown}
  alias Kantoku.Domain.Rows
  alias Kantoku.Instances

  @orders %{
    "id" => :id,
    "restarts" => :restarts,
    "memory" => {:top, :memory},
    "reductions" => {:top, :reductions},
    "mailbox" => {:top, :mailbox}
  }

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

  defp page(_context, %{none?: true}, _order, _limit, _past),
    do: %{agents: [], total: 0, more: false, next: nil, of: nil}

  defp page(context, search, {:top, kind}, limit, past) do
    most = Most.by(context, search, kind)
    ranks = Enum.filter(most.ranks, &Page.after?(&1, past))
    shown(context, {ranks, fn {_less, id} -> id end}, limit, most)
  end

  # One more than is shown says whether there is another page.
  defp page(context, search, order, limit, past) do
    {page, more?} = Found.page(context, search, order, Page.new(limit + 1, past))
    shown(context, {page.kept, &Found.id(order, &1)}, limit, %{total: page.total, more?: more?, of: nil})
  end

  defp shown({instance, rows, _book}, {ranks, id}, limit, %{total: total, more?: more?, of: of}) do
    shown = Enum.take(ranks, limit)
    next = if length(ranks) > limit, do: shown |> List.last() |> Shown.key()
    rows = for rank <- shown, row() = row <- [Rows.get(rows, id.(rank))], do: row
    %{agents: Described.all(instance, rows), total: total, more: more?, next: next, of: of}
  end
end

defmodule Kantoku.Metrics.Whose do
  # The labels of an agent: its domain, or the pool that it works for, and its type; never its id. Counts nothing.
  @moduledoc false
  import Kantoku.Domain.Rows, only: [row: 1]

  alias Kantoku.Domain.{Launch, Rows}
  alias Kantoku.Instances

  @doc "The names of these labels."
  @spec labels() :: [atom, ...]
  def labels, do: [:domain, :pool, :type]

  @doc "Of an agent that an instance has, by its row; of one that it has not, with nothing said."
  @spec of(:ets.tid(), id :: term) :: keyword
  def of(rows, id) do
    case Rows.get(rows, id) do
      row(domain: domain, what: what) -> place(domain) ++ [type: Launch.module(what)]
      nil -> place(nil) ++ [type: ""]
    end
  end

  @doc "As `of/2`, from an event's metadata; where that has no domain, from the row of whom it tells."
  @spec told(atom, map) :: keyword
  def told(_instance, %{domain: domain} = metadata), do: place(domain) ++ [type: metadata[:module]]

  # Whoever tells it may do so as its instance ends.
  def told(instance, metadata) do
    case Instances.reading(instance, fn rows, _book -> of(rows, metadata[:id]) end) do
      [_ | _] = labels -> Keyword.put(labels, :type, metadata[:module])
      {:error, _ended} -> place(nil) ++ [type: metadata[:module]]
    end
  end

  @doc "Where agents live: a domain, or that of a pool's workers."
  @spec place(Kantoku.Domain.name() | nil) :: keyword
  def place({:pool, pool}), do: [domain: "", pool: pool]
  def place(nil), do: [domain: "", pool: ""]
  def place(domain), do: [domain: domain, pool: ""]
end

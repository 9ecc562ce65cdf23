defmodule Kantoku.SLO.Keeping do
  # Histories in the instance's store, where that outlives the VM: each under its objective's name. Knows no process.
  @moduledoc false

  alias Kantoku.Domain.Book
  alias Kantoku.SLO.{History, Objective}
  alias Kantoku.Store

  @form 1

  # For the store to have one, in ms.
  @patience 4_000

  @doc "The store of an instance's book, if it outlives the VM."
  @spec store(book :: :ets.tid()) :: Store.t() | nil
  def store(book) do
    store = Book.agent_options(book).store
    if store != nil and Store.durable?(store), do: store
  end

  @doc "Keeps a history. Waits for the store."
  @spec save(Store.t(), Objective.t(), History.t()) :: :ok | {:error, term}
  def save(store, objective, history) do
    kept = {@form, asked(objective), Map.from_struct(history)}
    Store.overwrite(store, key(objective), :erlang.term_to_binary(kept, [:compressed]), @patience)
  end

  @doc "What was kept for an objective that asks the same; `nil` if there is nothing, or nothing that can be read."
  @spec load(Store.t() | nil, Objective.t()) :: History.t() | nil
  def load(nil, _objective), do: nil

  def load(store, objective) do
    with {:ok, _version, bytes} <- Store.get(store, key(objective)),
         {@form, asked, history} <- read(bytes),
         true <- asked == asked(objective) do
      History |> struct!(history) |> History.resize(Objective.windows(objective))
    else
      _nothing -> nil
    end
  end

  defp read(bytes) do
    :erlang.binary_to_term(bytes)
  rescue
    ArgumentError -> nil
  end

  @spec forget(Store.t() | nil, Objective.t()) :: :ok | {:error, term}
  def forget(nil, _objective), do: :ok
  def forget(store, objective), do: Store.delete(store, key(objective))

  # Another target judges the same counts. Another limit would have counted others.
  defp asked(objective), do: {objective.of, objective.latency}

  defp key(objective), do: {Kantoku.SLO, :history, objective.name}
end

defmodule Kantoku.Api.Timeline do
  # What became of agents, in bounded memory: rings of the newest, for each agent and for all. Knows no event.
  #
  #   {{:row, instance, key, place}, number, at, kind, text, took}   places go round
  #   {{:due, number}, row's key}                                    the oldest first
  #   {{:agent, instance, key}, how many ever}                       while there is a row of it
  #   {:bytes, of all rows}
  #
  # W1. There are never more than `@most_bytes`, which are 20,000 rows at most.
  # W2. There are never more than `@most_of_one` rows of an agent, so that one that crashes all the time leaves room for the others.
  #
  # One process writes. It may be killed between two lines of that, so its successor begins with `take_over/0`.
  @moduledoc false

  @table __MODULE__
  @most_of_one 100
  @most_bytes 8_000_000
  # A row and its place in the line, beside its texts.
  @row_bytes 400

  @typedoc "An agent by its key in the API: what cannot be asked for is not kept."
  @type key :: String.t()
  @type kind :: :transition | :restart | :snapshot | :call
  @type entry :: %{at: float, kind: kind, text: String.t(), took: float | nil}

  @doc "Makes the table, which lives as long as the calling process."
  @spec new_table() :: :ok
  def new_table do
    :ets.new(@table, [:named_table, :public, :ordered_set, read_concurrency: true])
    :ets.insert(@table, {:bytes, 0})
    :ok
  end

  @doc "For who writes from now on: counts anew, and finds the place in the line of each row that has none, and of those that are gone none."
  @spec take_over() :: :ok
  def take_over do
    rows = :ets.select(@table, [{{{:row, :"$1", :"$2", :"$3"}, :"$4", :_, :_, :"$5", :_}, [], [:"$$"]}])
    :ets.match_delete(@table, {{:due, :_}, :_})

    for [instance, key, place, number, _text] <- rows,
        do: :ets.insert(@table, {{:due, number}, {:row, instance, key, place}})

    :ets.insert(@table, {:bytes, rows |> Enum.map(fn [_, key, _, _, text] -> bytes(key, text) end) |> Enum.sum()})
    :ok
  end

  @doc "Enters what became of an agent."
  @spec put(instance :: String.t(), key, entry) :: :ok
  def put(instance, key, %{at: at, kind: kind, text: text, took: took}) do
    number = :erlang.unique_integer([:monotonic, :positive])
    count = :ets.update_counter(@table, {:agent, instance, key}, {2, 1}, {{:agent, instance, key}, 0})
    row = {:row, instance, key, rem(count, @most_of_one)}
    _ = delete(row)
    :ets.insert(@table, [{row, number, at, kind, text, took}, {{:due, number}, row}])
    make_room(:ets.update_counter(@table, :bytes, bytes(key, text)))
  end

  @doc "What became of an agent, the newest first."
  @spec of(instance :: String.t(), key) :: [entry]
  def of(instance, key) do
    @table
    |> :ets.select([{{{:row, instance, key, :_}, :"$1", :"$2", :"$3", :"$4", :"$5"}, [], [:"$$"]}])
    |> Enum.sort(:desc)
    |> Enum.map(fn [_number, at, kind, text, took] -> %{at: at, kind: kind, text: text, took: took} end)
  end

  @doc "Whether anything is kept of an agent."
  @spec known?(instance :: String.t(), key) :: boolean
  def known?(instance, key), do: :ets.member(@table, {:agent, instance, key})

  @doc "Bytes of what is kept."
  @spec bytes() :: non_neg_integer
  def bytes, do: :ets.lookup_element(@table, :bytes, 2)

  defp bytes(key, text), do: @row_bytes + byte_size(key) + byte_size(text)

  defp make_room(bytes) when bytes <= @most_bytes, do: :ok

  defp make_room(_bytes) do
    with {:due, _number} = due <- :ets.next(@table, {:due, 0}) do
      {:row, instance, key, _place} = row = :ets.lookup_element(@table, due, 2)
      :ets.delete(@table, due)
      bytes = delete(row)
      forget(instance, key)
      make_room(bytes)
    end
  end

  # What is left then.
  defp delete({:row, _instance, key, _place} = row) do
    case :ets.take(@table, row) do
      [{_row, number, _at, _kind, text, _took}] ->
        :ets.delete(@table, {:due, number})
        :ets.update_counter(@table, :bytes, -bytes(key, text))

      [] ->
        bytes()
    end
  end

  # An agent of whom nothing is left.
  defp forget(instance, key) do
    unless match?({:row, ^instance, ^key, _place}, :ets.next(@table, {:row, instance, key, -1})),
      do: :ets.delete(@table, {:agent, instance, key})
  end
end

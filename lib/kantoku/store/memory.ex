defmodule Kantoku.Store.Memory do
  @moduledoc """
  Keeps snapshots in an ETS table: the default.

  The table belongs to the process that opens it, the instance's topmost supervisor, so it outlives agents, their domains and
  their servers, and goes with the instance. A write is done when it returns.
  """
  @behaviour Kantoku.Store

  # Rows: {key, incarnation, revision, bytes}; {{:aside, key}, incarnation, revision, bytes}. There are as many as agents: a version in a
  # tuple of its own would cost each 16 bytes.

  @doc "The table for an instance, owned by the calling process."
  @spec new(instance :: atom) :: :ets.tid()
  def new(instance) when is_atom(instance) do
    :ets.new(__MODULE__, [:set, :public, write_concurrency: true])
  end

  @impl true
  def open(instance, []), do: {:ok, new(instance)}

  def open(_instance, opts) do
    raise ArgumentError, "Kantoku.Store.Memory takes no options, got: #{inspect(opts)}"
  end

  # `select_replace/2` compares and replaces one object in one step; `insert_new/2` is the first write. Where neither finds
  # anything to do, something newer is there, or was removed this instant: then the second round writes. Most often what is there is
  # the revision before, and to ask for just that takes half the time.
  @impl true
  def put(table, key, {incarnation, revision} = version, bytes, _reply_ref) do
    row = {key, incarnation, revision, bytes}

    cond do
      replace(table, row, {key, incarnation, revision - 1, :_}, []) -> :ok
      replace(table, row, {key, :"$1", :"$2", :_}, [not_after(version)]) -> :ok
      :ets.insert_new(table, row) -> :ok
      newer?(table, key, version) -> {:error, :stale}
      true -> put(table, key, version, bytes, nil)
    end
  end

  defp replace(table, row, there, conditions),
    do: :ets.select_replace(table, [{there, conditions, [{:const, row}]}]) == 1

  # Of `{_key, :"$1", :"$2", _bytes}`.
  defp not_after({incarnation, revision}) do
    {:orelse, {:<, :"$1", {:const, incarnation}},
     {:andalso, {:"=:=", :"$1", {:const, incarnation}}, {:"=<", :"$2", {:const, revision}}}}
  end

  defp newer?(table, key, version) do
    case get(table, key) do
      {:ok, there, _bytes} -> there > version
      :none -> false
    end
  end

  @impl true
  def get(table, key) do
    case :ets.lookup(table, key) do
      [{_key, incarnation, revision, bytes}] -> {:ok, {incarnation, revision}, bytes}
      [] -> :none
    end
  end

  @impl true
  def delete(table, key, version) do
    :ets.select_delete(table, [{{key, :"$1", :"$2", :_}, [not_after(version)], [true]}])
    :ok
  end

  @impl true
  def set_aside(table, key) do
    for row <- :ets.take(table, key), do: :ets.insert(table, put_elem(row, 0, {:aside, key}))

    :ok
  end

  @impl true
  def keys(table, nil, limit), do: slice(:ets.select(table, all_keys(), limit))
  def keys(_table, continuation, _limit), do: slice(:ets.select(continuation))

  defp all_keys, do: [{{:"$1", :_, :_, :_}, [{:is_binary, :"$1"}], [:"$1"]}]

  defp slice(:"$end_of_table"), do: {[], :done}
  defp slice({keys, continuation}), do: {keys, continuation}

  @impl true
  def flush(_table), do: :ok

  # The table ends with its owner: in a shutdown agents may still write.
  @impl true
  def close(_table), do: :ok

  @impl true
  def durable?, do: false
end

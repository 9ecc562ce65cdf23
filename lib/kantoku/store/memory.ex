defmodule Kantoku.Store.Memory do
  @moduledoc """
  Keeps snapshots in an ETS table: the default.

  The table belongs to the process that opens it, the instance's topmost supervisor, so it outlives agents, their domains and
  their servers, and goes with the instance. A write is done when it returns.
  """
  @behaviour Kantoku.Store

  # Rows: {key, incarnation, revision, bytes}; {{:aside, key}, incarnation, revision, bytes}.

  @doc "The table for an instance, owned by the calling process."
  @spec new(instance :: atom) :: :ets.tid()
  def new(instance) when is_atom(instance) do
    :ets.new(__MODULE__, [:set, :public, read_concurrency: true, write_concurrency: true])
  end

  @impl true
  def open(instance, []), do: {:ok, new(instance)}

  def open(_instance, opts) do
    raise ArgumentError, "Kantoku.Store.Memory takes no options, got: #{inspect(opts)}"
  end

  # `select_replace/2` compares and replaces one object in one step; `insert_new/2` is the first write. Where both find
  # nothing to do, something newer is there, or was removed this instant: then the second round writes.
  @impl true
  def put(table, key, {incarnation, revision} = version, bytes, _reply_ref) do
    row = {key, incarnation, revision, bytes}

    cond do
      :ets.select_replace(table, replacing(row)) == 1 -> :ok
      :ets.insert_new(table, row) -> :ok
      newer?(table, key, version) -> {:error, :stale}
      true -> put(table, key, version, bytes, nil)
    end
  end

  defp replacing({key, incarnation, revision, _bytes} = row) do
    not_older = {:orelse, {:>, incarnation, :"$1"}, {:andalso, {:"=:=", incarnation, :"$1"}, {:>=, revision, :"$2"}}}
    [{{key, :"$1", :"$2", :_}, [not_older], [{:const, row}]}]
  end

  defp newer?(table, key, version) do
    case :ets.lookup(table, key) do
      [{_key, incarnation, revision, _bytes}] -> {incarnation, revision} > version
      [] -> false
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
  def delete(table, key, {incarnation, revision}) do
    not_newer = {:orelse, {:<, :"$1", incarnation}, {:andalso, {:"=:=", :"$1", incarnation}, {:"=<", :"$2", revision}}}
    :ets.select_delete(table, [{{key, :"$1", :"$2", :_}, [not_newer], [true]}])
    :ok
  end

  @impl true
  def set_aside(table, key) do
    for {_key, incarnation, revision, bytes} <- :ets.take(table, key) do
      :ets.insert(table, {{:aside, key}, incarnation, revision, bytes})
    end

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

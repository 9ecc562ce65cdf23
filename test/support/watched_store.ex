defmodule Kantoku.Test.WatchedStore do
  @moduledoc false
  # A memory store that tells a process what is put, and when it is closed.
  @behaviour Kantoku.Store

  alias Kantoku.Store.Memory

  @impl true
  def open(instance, tell: pid), do: {:ok, {Memory.new(instance), pid}}

  @impl true
  def put({table, pid}, key, version, bytes, reply_ref) do
    send(pid, {:put, Kantoku.Store.id(key), version})
    Memory.put(table, key, version, bytes, reply_ref)
  end

  @impl true
  def close({_table, pid}) do
    send(pid, :closed)
    :ok
  end

  @impl true
  def get({table, _pid}, key), do: Memory.get(table, key)

  @impl true
  def delete({table, _pid}, key, version), do: Memory.delete(table, key, version)

  @impl true
  def set_aside({table, _pid}, key), do: Memory.set_aside(table, key)

  @impl true
  def keys({table, _pid}, cursor, limit), do: Memory.keys(table, cursor, limit)

  @impl true
  def flush(_ref), do: :ok

  @impl true
  def durable?, do: false
end

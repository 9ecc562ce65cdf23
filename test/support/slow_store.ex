defmodule Kantoku.Test.SlowStore do
  @moduledoc false
  # A store that writes in the background, when a test says so: each put is sent to the test, which answers it.
  @behaviour Kantoku.Store

  alias Kantoku.Store.Memory

  @impl true
  def open(instance, tell: pid), do: {:ok, {Memory.new(instance), pid}}

  @impl true
  def put({table, pid}, key, version, bytes, reply_ref) do
    send(pid, {:put, {table, self(), key, version, bytes, reply_ref}})
    :pending
  end

  @doc "Lets a put end well, or with an error. Where something newer was put meanwhile, that is as good."
  def finish({table, writer, key, version, bytes, reply_ref}, result \\ :ok) do
    if result == :ok, do: Memory.put(table, key, version, bytes, nil)
    send(writer, {:kantoku_store, reply_ref, result})
    version
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
  def close(_ref), do: :ok

  @impl true
  def durable?, do: false
end

defmodule Kantoku.Native do
  # The stubs that a loaded library replaces. Knows nothing of what is above the engine's contract.
  @moduledoc false
  @behaviour Kantoku.Engine

  @doc "Whether the native library serves."
  @spec loaded?() :: boolean
  def loaded?, do: false

  @impl true
  def open(_instance, _keys, _servers, _listeners), do: {:error, :unavailable}
  @impl true
  def close(_instance), do: :ok
  @impl true
  def seat(_instance, _index, _pid), do: unknown()
  @impl true
  def register(_instance, _key, _value), do: unknown()
  @impl true
  def take_over(_instance, _key, _value, _from), do: unknown()
  @impl true
  def claim(_instance, _key, _pid, _value), do: unknown()
  @impl true
  def disclaim(_instance, _key, _pid), do: unknown()
  @impl true
  def unregister(_instance, _key), do: unknown()
  @impl true
  def unregister(_instance, _key, _incarnations), do: unknown()
  @impl true
  def whereis(_instance, _key), do: unknown()
  @impl true
  def lookup(_instance, _key), do: unknown()
  @impl true
  def keys(_instance, _pid), do: unknown()
  @impl true
  def own(_instance, _key, _pid), do: unknown()
  @impl true
  def put_value(_instance, _key, _incarnation, _value), do: unknown()
  @impl true
  def slice(_instance, _cursor, _limit), do: unknown()
  @impl true
  def count_slice(_instance, _cursor, _limit), do: unknown()
  @impl true
  def describe(_instance, _key, _pid, _expected, _attributes, _facets), do: unknown()
  @impl true
  def entry(_instance, _key), do: unknown()
  @impl true
  def set_load(_instance, _handle, _load), do: unknown()
  @impl true
  def add_load(_instance, _handle, _change), do: unknown()
  @impl true
  def find(_instance, _query), do: unknown()
  @impl true
  def find_pids(_instance, _query), do: unknown()
  @impl true
  def count(_instance, _query), do: unknown()
  @impl true
  def watch(_instance, _query, _pid), do: unknown()
  @impl true
  def unwatch(_instance, _ref), do: unknown()

  # Always :unknown, but nothing that analyses this code may conclude so: a library answers in place of these.
  defp unknown, do: :erlang.element(1, :erlang.make_tuple(1, :unknown))
end

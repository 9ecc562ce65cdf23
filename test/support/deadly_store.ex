defmodule Kantoku.Test.DeadlyStore do
  @moduledoc false
  # A memory store, and a world outside, that count the steps which pass through them and kill the agent at chosen ones.
  @behaviour Kantoku.Store

  alias Kantoku.Store.Memory

  @impl true
  def open(instance, kill_at: steps) do
    {:ok, {Memory.new(instance), :ets.new(:world, [:public]), :counters.new(1, []), steps}}
  end

  @impl true
  def put({table, _world, _count, _steps} = ref, key, version, bytes, reply_ref) do
    step(ref, self())
    result = Memory.put(table, key, version, bytes, reply_ref)
    step(ref, self())
    result
  end

  @impl true
  def get({table, _, _, _}, key), do: Memory.get(table, key)

  @impl true
  def delete({table, _, _, _}, key, version), do: Memory.delete(table, key, version)

  @impl true
  def set_aside({table, _, _, _}, key), do: Memory.set_aside(table, key)

  @impl true
  def keys({table, _, _, _}, cursor, limit), do: Memory.keys(table, cursor, limit)

  @impl true
  def flush(_ref), do: :ok

  @impl true
  def close(_ref), do: :ok

  @impl true
  def durable?, do: false

  @doc "A delivery: the world pays once per id, and counts how often it was asked to."
  def handle_directive({:pay, {{_table, world, _count, _steps} = ref, what}}, id, %{server: server}) do
    step(ref, server)
    :ets.insert_new(world, {{:paid, id}, what})
    :ets.update_counter(world, {:asked, id}, 1, {{:asked, id}, 0})
    step(ref, server)
    {:ok, {:paid, what}}
  end

  @doc "What was paid, and how often in vain."
  def paid({_table, world, _count, _steps}) do
    paid = for {{:paid, _id}, what} <- :ets.tab2list(world), do: what
    {Enum.sort(paid), Enum.sum(for {{:asked, _id}, n} <- :ets.tab2list(world), do: n - 1)}
  end

  @doc "How many steps passed."
  def steps({_table, _world, count, _steps}), do: :counters.get(count, 1)

  # The killed process gets no further than this, be it the server itself or its courier, which dies with it.
  defp step({_table, _world, count, steps}, server) do
    :counters.add(count, 1, 1)

    if :counters.get(count, 1) in steps do
      Process.exit(server, :kill)
      Process.sleep(:infinity)
    end
  end
end

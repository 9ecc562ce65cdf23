defmodule Kantoku.Health.Pulse do
  # What an agent's own loop says of itself, from its own process: one store as a message begins, one as it ends, and none in a process
  # that was not asked to. Who has a pulse also says whom it calls, so that cycles of waiting can be seen. Judges nothing.
  @moduledoc false

  alias Kantoku.Engine

  @key :"$kantoku_pulse"

  @typedoc "The instance, the agent's node in its tree, and the table of who waits for whom."
  @type t :: {instance :: atom, Engine.Health.node_handle(), :ets.tid()}

  @doc "From now on this process says how it is."
  @spec take_up(t) :: :ok
  def take_up(pulse) do
    Process.put(@key, pulse)
    rest()
  end

  @doc "A message begins, which may take `limit` ms; `nil`: nobody knows how long."
  @spec work(pos_integer | nil) :: :ok
  def work(limit) do
    case Process.get(@key) do
      nil -> :ok
      {instance, node, _waits} -> beat(instance, node, limit || 0)
    end
  end

  @doc "The message was dealt with."
  @spec rest() :: :ok
  def rest do
    case Process.get(@key) do
      nil -> :ok
      {instance, node, _waits} -> beat(instance, node, -1)
    end
  end

  defp beat(instance, node, limit) do
    _ok_or_unknown = Engine.Health.health_beat(instance, node, limit)
    :ok
  end

  @doc "Runs `fun`, which waits for something outside for `ms` at most. That time does not count against the limit of the message."
  @spec waiting(pos_integer, (() -> result)) :: result when result: term
  def waiting(ms, fun) do
    case Process.get(@key) do
      nil -> fun.()
      {instance, node, _waits} -> put_off(instance, node, ms, fun)
    end
  end

  defp put_off(instance, node, ms, fun) do
    left = Engine.Health.health_put_off(instance, node, ms)

    try do
      fun.()
    after
      Engine.Health.health_put_off(instance, node, if(is_integer(left), do: left))
    end
  end

  @doc "Runs `fun`, in which this process waits for an answer of `pid`."
  @spec awaiting(pid, (() -> result)) :: result when result: term
  def awaiting(pid, fun) do
    case Process.get(@key) do
      nil -> fun.()
      {_instance, _node, waits} -> note(waits, pid, fun)
    end
  end

  defp note(waits, pid, fun) do
    put(waits, {self(), pid, make_ref()})
    fun.()
  after
    delete(waits)
  end

  # The table may have gone with whoever looks at it.
  defp put(waits, row) do
    :ets.insert(waits, row)
  rescue
    ArgumentError -> false
  end

  defp delete(waits) do
    :ets.delete(waits, self())
  rescue
    ArgumentError -> false
  end
end

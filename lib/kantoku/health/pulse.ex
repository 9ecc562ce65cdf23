defmodule Kantoku.Health.Pulse do
  # What an agent's own loop says of itself, from its own process: one store as a message begins, one as it ends. While it is at a message
  # it also says whom it calls, so that cycles of waiting can be seen; between two it keeps nothing here. Judges nothing.
  @moduledoc false

  alias Kantoku.Engine
  alias Kantoku.Health.Board

  @key :"$kantoku_pulse"

  @typedoc "The instance, and the agent's node in its tree."
  @type t :: {instance :: atom, Engine.Health.node_handle()}

  @doc "From now on this process says how it is."
  @spec take_up(t) :: :ok
  def take_up(pulse), do: beat(pulse, -1)

  @doc "A message begins, which may take `limit` ms; `nil`: nobody knows how long."
  @spec work(t, pos_integer | nil) :: :ok
  def work(pulse, limit) do
    Process.put(@key, pulse)
    beat(pulse, limit || 0)
  end

  @doc "The message was dealt with."
  @spec rest(t) :: :ok
  def rest(pulse) do
    Process.delete(@key)
    beat(pulse, -1)
  end

  defp beat({instance, node}, limit) do
    _ok_or_unknown = Engine.Health.health_beat(instance, node, limit)
    :ok
  end

  @doc "Runs `fun`, which waits for something outside for `ms` at most. That time does not count against the limit of the message."
  @spec waiting(pos_integer, (() -> result)) :: result when result: term
  def waiting(ms, fun) do
    case Process.get(@key) do
      nil -> fun.()
      {instance, node} -> put_off(instance, node, ms, fun)
    end
  end

  defp put_off(instance, node, ms, fun) do
    left = Engine.Health.health_put_off(instance, node, ms)

    try do
      noted({:outside, System.monotonic_time(:millisecond) + ms}, instance, fun)
    after
      Engine.Health.health_put_off(instance, node, if(is_integer(left), do: left))
    end
  end

  @doc "Runs `fun`, in which this process waits for an answer of `pid`."
  @spec awaiting(pid, (() -> result)) :: result when result: term
  def awaiting(pid, fun) do
    case Process.get(@key) do
      nil -> fun.()
      {instance, _node} -> noted(pid, instance, fun)
    end
  end

  defp noted(whom, instance, fun) do
    case Board.reading(instance, &Board.waits/1) do
      nil -> fun.()
      {:error, _not_running} -> fun.()
      waits -> waiting_for(waits, whom, fun)
    end
  end

  # One wait may be within another: then that is what it waits for again.
  defp waiting_for(waits, whom, fun) do
    around = whom_now(waits)
    put(waits, {self(), whom, make_ref()})

    try do
      fun.()
    after
      if around, do: put(waits, around), else: delete(waits)
    end
  end

  defp whom_now(waits) do
    List.first(:ets.lookup(waits, self()))
  rescue
    ArgumentError -> nil
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

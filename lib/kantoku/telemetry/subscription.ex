defmodule Kantoku.Telemetry.Subscription do
  # The credit of one subscriber: a handful of atomics that emitters and the subscriber share. Knows no events.
  @moduledoc false

  # 1. 0 <= outstanding <= buffer, whatever emitters and the subscriber do at the same time; who is paused has no room, and what was
  #    taken before is still given back.
  # 2. An event is sent, or counted as dropped: never both, never neither.
  @outstanding 1
  @dropped 2
  @buffer 3

  @type t :: :atomics.atomics_ref()

  @spec new(pos_integer) :: t
  def new(buffer) do
    ref = :atomics.new(3, signed: false)
    :atomics.put(ref, @buffer, buffer)
    ref
  end

  @doc "Takes one credit, or counts a drop."
  @spec take_credit(t) :: boolean
  def take_credit(ref), do: take_credit(ref, :atomics.get(ref, @outstanding), :atomics.get(ref, @buffer))

  defp take_credit(ref, outstanding, buffer) when outstanding < buffer do
    case :atomics.compare_exchange(ref, @outstanding, outstanding, outstanding + 1) do
      :ok -> true
      actual -> take_credit(ref, actual, buffer)
    end
  end

  defp take_credit(ref, _outstanding, _buffer) do
    :atomics.add(ref, @dropped, 1)
    false
  end

  @doc "Gives credits back, never more than were taken."
  @spec give_back(t, non_neg_integer) :: :ok
  def give_back(ref, count), do: give_back(ref, count, :atomics.get(ref, @outstanding))

  defp give_back(ref, count, outstanding) do
    case :atomics.compare_exchange(ref, @outstanding, outstanding, max(outstanding - count, 0)) do
      :ok -> :ok
      actual -> give_back(ref, count, actual)
    end
  end

  @doc "Takes all room away; whether this call did it."
  @spec pause(t) :: boolean
  def pause(ref), do: :atomics.exchange(ref, @buffer, 0) > 0

  @doc "Gives room again."
  @spec resume(t, pos_integer) :: :ok
  def resume(ref, buffer), do: :atomics.put(ref, @buffer, buffer)

  @spec dropped(t) :: non_neg_integer
  def dropped(ref), do: :atomics.get(ref, @dropped)

  @spec outstanding(t) :: non_neg_integer
  def outstanding(ref), do: :atomics.get(ref, @outstanding)
end

defmodule Kantoku.Trace.Cuts do
  # The spans that agents are in, for the case that they do not come out of them: who is killed says nothing any more. Rows, in a table of
  # the application:
  #
  #   {{instance, id}, pid, span}    at work in it, or cut off in it if the process is dead
  #   {{instance, id}, :over, place, since}    was cut off, and has ended; the next one's first span links to it
  #   {{instance, id, :hand_off}, :over, place, since}    is about to be followed by another, whose first span links to that
  #
  # Only of spans that are recorded; and of those that failed by an exception, as that ends an agent. C1: a span that was cut off is handed
  # in once: by whoever takes its row out of the table.
  @moduledoc false

  import Kantoku.Trace.Open, only: [open: 1, open: 2]
  alias Kantoku.Trace.{Clock, Finished, Open, Underway}

  require Clock

  # So many rows at most; an agent beyond that is not cut off by anybody's account.
  @most 100_000

  @spec new_table() :: :ok
  def new_table do
    :ets.new(__MODULE__, [:named_table, :public, write_concurrency: true])
    :ok
  end

  @doc "This agent is in that span."
  @spec enter(atom, term, Open.t()) :: :ok
  def enter(instance, id, open) do
    if room?(), do: :ets.insert(__MODULE__, {{instance, id}, self(), open(open, outer: nil)})
    :ok
  end

  defp room?, do: :ets.info(__MODULE__, :size) < @most

  @doc "It came out of it."
  @spec leave(atom, term) :: :ok
  def leave(instance, id) do
    :ets.delete(__MODULE__, {instance, id})
    :ok
  end

  @doc "It came out of it by an exception, and so will end."
  @spec over(atom, term, Open.place()) :: :ok
  def over(instance, id, place) do
    key = {instance, id}
    if room?() or :ets.member(__MODULE__, key), do: :ets.insert(__MODULE__, {key, :over, place, Clock.now()})
    :ok
  end

  @doc "It is to hand on what it has, and its successor's first span links there; meanwhile it goes on with its work."
  @spec hand_over(atom, term, Open.place()) :: :ok
  def hand_over(instance, id, place) do
    if room?(), do: :ets.insert(__MODULE__, {{instance, id, :hand_off}, :over, place, Clock.now()})
    :ok
  end

  @doc "It stays after all."
  @spec stay(atom, term) :: :ok
  def stay(instance, id) do
    :ets.delete(__MODULE__, {instance, id, :hand_off})
    :ok
  end

  @doc "What the agent's process before this one was cut off in, if it was, or handed on in; its span has ended then."
  @spec take(atom, term) :: Open.place() | nil
  def take(instance, id) do
    before = cut_off_in(instance, id)
    handed_over(instance, id) || before
  end

  defp handed_over(instance, id) do
    with [{_key, :over, place, _since}] <- :ets.take(__MODULE__, {instance, id, :hand_off}),
         do: place,
         else: ([] -> nil)
  end

  defp cut_off_in(instance, id) do
    case :ets.take(__MODULE__, {instance, id}) do
      [{_key, :over, place, _since}] -> place
      [{_key, pid, open}] -> cut_off(pid, open)
      [] -> nil
    end
  end

  # And what it was in within that.
  defp cut_off(pid, open(place: place) = open) do
    Underway.cut_off(pid)
    Finished.cut_off(open)
    place
  end

  @doc "Ends what the agents of an instance were cut off in, and forgets all of them, as the instance ends: one that has its name later is another."
  @spec close(atom) :: :ok
  def close(instance) do
    for {key, _pid} <- of(instance), do: take(instance, elem(key, 1))
    :ok
  end

  @doc """
  Ends the spans of an instance's agents that died in them and did not come back for so long, and forgets whom nobody came to link to; in
  units of the clock.
  """
  @spec sweep(atom, patience :: integer) :: :ok
  def sweep(instance, patience) do
    long_ago = Clock.now() - patience
    for {key, pid} <- of(instance), gone?(pid), do: give_up(key, long_ago)
    :ok
  end

  # An id of a user's may be anything, so it is compared and never part of a pattern.
  defp of(instance) do
    mine = {:==, {:element, 1, {:element, 1, :"$_"}}, {:const, instance}}
    :ets.select(__MODULE__, [{:_, [mine], [{{{:element, 1, :"$_"}, {:element, 2, :"$_"}}}]}])
  end

  defp gone?(:over), do: true
  defp gone?(pid), do: not Process.alive?(pid)

  defp give_up(key, long_ago) do
    case :ets.lookup(__MODULE__, key) do
      [{_key, :over, _place, since}] when since < long_ago -> :ets.delete(__MODULE__, key)
      [{_key, _pid, open(begun: begun)}] when begun < long_ago -> end_late(key)
      _younger -> :ok
    end
  end

  # Who comes back after all finds where it was cut off.
  defp end_late({instance, id} = key) do
    place = take(instance, id)
    if place, do: :ets.insert_new(__MODULE__, {key, :over, place, Clock.now()})
  end
end

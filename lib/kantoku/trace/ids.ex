defmodule Kantoku.Trace.Ids do
  # New ids, from a generator that each process has for itself. Its own: a test that seeds `:rand` would have all its traces alike.
  #
  # The upper half of a trace's id is random from the system, once for a process. The rest is of a generator of 59 bits (`:rand.mwc59/1`),
  # which takes nanoseconds: ids have to be unique, and their lower bits evenly spread for samplers; nobody is kept out by them.
  @moduledoc false

  import Bitwise

  @key :"$kantoku_trace_ids"

  @doc "A trace and its first span."
  @spec root() :: {{non_neg_integer, non_neg_integer, non_neg_integer}, pos_integer}
  def root do
    {upper, state} = Process.get(@key) || seeded()
    one = :rand.mwc59(state)
    two = :rand.mwc59(one)
    three = :rand.mwc59(two)
    Process.put(@key, {upper, three})
    {{upper, :rand.mwc59_value32(one), :rand.mwc59_value32(two)}, number(three)}
  end

  @doc "Another span."
  @spec span() :: pos_integer
  def span do
    {upper, state} = Process.get(@key) || seeded()
    next = :rand.mwc59(state)
    Process.put(@key, {upper, next})
    number(next)
  end

  # An id of a span is never 0.
  defp number(state), do: :rand.mwc59_value(state) ||| 1 <<< 58

  defp seeded do
    <<upper::64, seed::58, _rest::6>> = :crypto.strong_rand_bytes(16)
    {max(upper, 1), :rand.mwc59_seed(seed)}
  end
end

defmodule Kantoku.Trace.Ids do
  # New ids, from a generator that each process has for itself. Its own: a test that seeds `:rand` would have all its traces alike.
  #
  # The upper half of a trace's id is random from the system, once for a process. The rest is of a generator of 59 bits (`:rand.mwc59/1`),
  # which takes nanoseconds: ids have to be unique, and their lower bits evenly spread for samplers; nobody is kept out by them.
  @moduledoc false

  import Bitwise

  @type trace :: {upper :: non_neg_integer, middle :: non_neg_integer, lower :: non_neg_integer}
  @typedoc "What a process makes its ids of."
  @type source :: {upper :: pos_integer, state :: pos_integer}

  @doc "A process's own source."
  @spec source() :: source
  def source do
    <<upper::64, seed::58, _rest::6>> = :crypto.strong_rand_bytes(16)
    {max(upper, 1), :rand.mwc59_seed(seed)}
  end

  @doc "A trace and its first span, and the source's next state."
  @spec root(source) :: {trace, span :: pos_integer, state :: pos_integer}
  def root({upper, state}) do
    one = :rand.mwc59(state)
    two = :rand.mwc59(one)
    three = :rand.mwc59(two)
    {{upper, :rand.mwc59_value32(one), :rand.mwc59_value32(two)}, number(three), three}
  end

  @doc "Another span, and the source's next state."
  @spec span(source) :: {span :: pos_integer, state :: pos_integer}
  def span({_upper, state}) do
    next = :rand.mwc59(state)
    {number(next), next}
  end

  # An id of a span is never 0.
  defp number(state), do: :rand.mwc59_value(state) ||| 1 <<< 58
end

defmodule Kantoku.Trace.Ids do
  # New ids, from a generator that each process has for itself. Its own: a test that seeds `:rand` would have all its traces alike.
  #
  # The upper half of a trace's id is random from the system, once for a process. The rest is of a generator of 59 bits, OTP's own
  # `:rand.mwc59/1` written out, as two calls of a module are a fifth of what a span costs that is thrown away: ids have to be unique, and
  # their lower bits evenly spread for samplers; nobody is kept out by them.
  @moduledoc false

  import Bitwise

  @compile {:inline, step: 1, spread: 1, number: 1}

  # A multiply-with-carry generator of 59 bits, and two shifts that spread its lower bits over the upper ones: all of it in small integers.
  # https://www.erlang.org/doc/man/rand.html#mwc59-1
  @factor 0x7FA6502
  @bits 59
  @first 4
  @second 27

  @typedoc """
  As `Kantoku.Trace.Context` has it; or, of a trace that began here, the upper half and the state that the lower one is made of where somebody wants it
  (`parts/1`): most traces are thrown away before anybody does.
  """
  @type trace :: parts | {upper :: pos_integer, state :: non_neg_integer}
  @type parts :: {upper :: non_neg_integer, middle :: non_neg_integer, lower :: non_neg_integer}
  @typedoc "What a process makes its ids of."
  @type source :: {upper :: pos_integer, state :: pos_integer}

  @doc "A process's own source."
  @spec source() :: source
  def source do
    <<upper::64, seed::58, _rest::6>> = :crypto.strong_rand_bytes(16)
    {max(upper, 1), :rand.mwc59_seed(seed)}
  end

  @doc "The source for one more span. If a trace begins with that one, this is the trace as well, so that nothing more is made for it."
  @spec next(source) :: source
  def next({upper, state}), do: {upper, step(state)}

  @doc "The span that a trace begins with."
  @spec first(source) :: pos_integer
  def first({_upper, state}), do: number(state)

  @doc "Any other span."
  @spec span(source) :: pos_integer
  def span({_upper, state}), do: number(spread(state))

  @doc """
  A trace's id in its upper 64 bits and twice 32. The lower half of one that began here has its value above and, below that, the value's own uppermost
  bits once more: so both its upper 56 bits and its lower 56, of which samplers take the one or the other, are each made of different bits.
  """
  @spec parts(trace) :: parts
  def parts({_upper, _middle, _lower} = parts), do: parts

  def parts({upper, state}) do
    value = spread(state)
    low = value &&& (1 <<< 27) - 1
    {upper, value >>> 27, low <<< 5 ||| value >>> 54}
  end

  @doc "The upper 56 bits of a trace's lower half."
  @spec share(trace) :: non_neg_integer
  def share({_upper, middle, lower}), do: middle <<< 24 ||| lower >>> 8
  def share({_upper, state}), do: spread(state) >>> 3

  # An id of a span is never 0.
  defp number(value), do: value ||| 1 <<< (@bits - 1)

  defp step(state), do: @factor * (state &&& 0xFFFFFFFF) + (state >>> 32)

  defp spread(state) do
    value = bxor(state, (state &&& (1 <<< (@bits - @first)) - 1) <<< @first)
    bxor(value, (value &&& (1 <<< (@bits - @second)) - 1) <<< @second)
  end
end

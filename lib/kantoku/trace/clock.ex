defmodule Kantoku.Trace.Clock do
  # The time that spans go by: the system's monotonic clock, which is read in a third of the time of the VM's own, and how far it is from
  # the time of day. How far is looked at once in a while and kept in one cell, so that all spans of meanwhile stand in their order.
  @moduledoc false

  @type t :: :atomics.atomics_ref()

  # The places of a clock: how far it is from the time of day, and its units in a second.
  @offset 1
  @units 2

  # The reading that took the least time is the nearest.
  @tries 5

  # Where the clock counts nanoseconds by itself, which it does on Linux, there is nothing to work out, and numbers stay small.
  @nanosecond 1_000_000_000

  # A macro, as every span reads it twice.
  @doc "Now, in units of its own."
  defmacro now, do: quote(do: :os.perf_counter())

  @doc "A clock that is set."
  @spec new() :: t
  def new do
    clock = :atomics.new(2, signed: true)
    :atomics.put(clock, @units, :erlang.convert_time_unit(1, :second, :perf_counter))
    set(clock)
    clock
  end

  @doc "Looks again what time it is."
  @spec set(t) :: :ok
  def set(clock) do
    {_took, offset} = Enum.min(for _ <- 1..@tries, do: look())
    :atomics.put(clock, @offset, offset)
  end

  defp look do
    before = now()
    day = :os.system_time(:nanosecond)
    later = now()
    {later - before, day - ns(before + div(later - before, 2))}
  end

  @doc "Such a time in nanoseconds since 1970."
  @spec unix(t, integer) :: integer
  def unix(clock, at), do: ns(at, :atomics.get(clock, @units)) + :atomics.get(clock, @offset)

  defp ns(at, @nanosecond), do: at
  defp ns(at, _units), do: ns(at)

  @doc "A length of time in the VM's native unit."
  @spec native(integer) :: integer
  def native(length), do: :erlang.convert_time_unit(length, :perf_counter, :native)

  @doc "A length of time in seconds."
  @spec seconds(integer) :: float
  def seconds(length), do: ns(length) / 1.0e9

  @doc "So many ms as a length of time."
  @spec ms(non_neg_integer) :: non_neg_integer
  def ms(ms), do: :erlang.convert_time_unit(ms, :millisecond, :perf_counter)

  defp ns(time), do: :erlang.convert_time_unit(time, :perf_counter, :nanosecond)
end

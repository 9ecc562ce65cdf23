defmodule Kantoku.Migration.Tally do
  # What the two sides of a canary did lately: calls, failures, and a histogram of how long those took that went well. Counters
  # without a process: who made a call counts it, with two or three additions.
  #
  # Two halves of the window, each with both sides. One is written, the other is the half before it; when the time of a half is over the
  # older one is emptied and written from then on. Who still adds to it in that instant is lost or counted a half too late.
  @moduledoc false

  @sub 8
  @octaves 24
  @buckets @sub * (@octaves + 1)

  # Cells of one side in one half: failures, then the histogram.
  @side 1 + @buckets
  @cells 2 + 4 * @side

  @type t :: :atomics.atomics_ref()
  @type side :: Kantoku.Migration.Mode.side()
  @type reading :: %{calls: non_neg_integer, errors: non_neg_integer, buckets: [non_neg_integer]}

  @doc "An empty one; `now` in ms, of a clock that does not go back."
  @spec new(integer) :: t
  def new(now) do
    tally = :atomics.new(@cells, signed: true)
    :atomics.put(tally, 2, now)
    tally
  end

  @doc "Counts a call."
  @spec record(t, side, :ok | :error, microseconds :: non_neg_integer) :: :ok
  def record(tally, side, :error, _duration), do: :atomics.add(tally, base(tally, side), 1)
  def record(tally, side, :ok, duration), do: :atomics.add(tally, base(tally, side) + 1 + bucket(duration), 1)

  defp base(tally, side), do: first(:atomics.get(tally, 1), side)

  defp first(half, :old), do: 3 + half * 2 * @side
  defp first(half, :new), do: 3 + (half * 2 + 1) * @side

  @doc "Goes on to the next half, if it is time. For one process at a time."
  @spec turn(t, integer, pos_integer) :: :ok
  def turn(tally, now, window) do
    if now - :atomics.get(tally, 2) >= div(window, 2) do
      next = 1 - :atomics.get(tally, 1)
      for cell <- 0..(2 * @side - 1), do: :atomics.put(tally, first(next, :old) + cell, 0)
      :atomics.put(tally, 1, next)
      :atomics.put(tally, 2, now)
    end

    :ok
  end

  @doc "Both halves of a side."
  @spec read(t, side) :: reading
  def read(tally, side) do
    [errors | buckets] =
      for cell <- 0..(@side - 1), do: cell(tally, first(0, side) + cell) + cell(tally, first(1, side) + cell)

    %{calls: errors + Enum.sum(buckets), errors: errors, buckets: buckets}
  end

  defp cell(tally, index), do: :atomics.get(tally, index)

  @doc "How long, in microseconds, the call took that is the `rank`th from the quickest; the upper end of its bucket."
  @spec at_rank(reading, pos_integer) :: non_neg_integer
  def at_rank(%{buckets: buckets}, rank) do
    buckets
    |> Enum.with_index()
    |> Enum.reduce_while(0, fn {count, index}, below ->
      if below + count >= rank, do: {:halt, {:at, upper(index)}}, else: {:cont, below + count}
    end)
    |> case do
      {:at, value} -> value
      _fewer -> upper(@buckets - 1)
    end
  end

  # Eight buckets to an octave: what is read is at most an eighth above what was.
  defp bucket(value) when value < @sub, do: max(value, 0)

  defp bucket(value) do
    octave = octave(value, 3)
    min((octave - 2) * @sub + Bitwise.band(Bitwise.bsr(value, octave - 3), @sub - 1), @buckets - 1)
  end

  defp octave(value, octave) when value < 2 * @sub or octave > 60, do: octave
  defp octave(value, octave), do: octave(Bitwise.bsr(value, 1), octave + 1)

  defp upper(index) when index < @sub, do: index
  defp upper(index), do: Bitwise.bsl(@sub + rem(index, @sub) + 1, div(index, @sub) - 1) - 1
end

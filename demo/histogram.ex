defmodule Demo.Histogram do
  # Durations by many processes without a lock, in buckets that grow by an eighth. Knows no clock.
  @moduledoc false

  @eighths 8
  @octaves 40
  @size @eighths * @octaves

  @type t :: :counters.counters_ref()

  @doc "An empty one, for values up to 2^40 (µs: twelve days)."
  @spec new() :: t
  def new, do: :counters.new(@size, [:write_concurrency])

  @doc "Records a value."
  @spec record(t, integer) :: :ok
  def record(histogram, value), do: :counters.add(histogram, bucket(max(value, 1)), 1)

  # The whole part of the logarithm, and the three bits below the leading one.
  defp bucket(value) do
    octave = length(Integer.digits(value, 2)) - 1
    eighth = div(value * @eighths, Bitwise.bsl(1, octave)) - @eighths
    min(octave * @eighths + eighth + 1, @size)
  end

  @doc "How many values there are."
  @spec count(t) :: non_neg_integer
  def count(histogram), do: Enum.sum(counts(histogram))

  @doc "The value that a share of all (0.0 to 1.0) is not above, to an eighth; 0 if there is none."
  @spec quantile(t, float) :: non_neg_integer
  def quantile(histogram, share) do
    counts = counts(histogram)
    counts |> Enum.with_index() |> reach(ceil(Enum.sum(counts) * share))
  end

  defp reach(_counts, 0), do: 0
  defp reach([{count, index} | _], rank) when count >= rank, do: upper(index)
  defp reach([{count, _index} | rest], rank), do: reach(rest, rank - count)

  defp upper(index) do
    octave = div(index, @eighths)
    div(Bitwise.bsl(1, octave) * (@eighths + rem(index, @eighths) + 1), @eighths)
  end

  defp counts(histogram), do: for(index <- 1..@size, do: :counters.get(histogram, index))
end

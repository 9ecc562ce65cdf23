defmodule Kantoku.Metrics.Scale do
  # Where an observation is counted, by the Elixir engine: the buckets of `native/core/src/metrics/scale.rs`, number for number. Each power
  # of two of ticks from 2^10 to 2^42 is cut into 32 buckets of the same width, as in Gil Tene's HdrHistogram.
  @moduledoc false
  import Bitwise

  @lowest 10
  @highest 42
  @parts 5
  @bounded ((@highest - @lowest) <<< @parts) + 1
  @least 1 <<< @lowest

  @type bucket :: non_neg_integer

  @doc "How many buckets have a bound; one more is above them all."
  @spec bounded() :: pos_integer
  def bounded, do: @bounded

  @doc "The bucket of an observation: that with the lowest bound which is not below it."
  @spec bucket(ticks :: non_neg_integer) :: bucket
  def bucket(ticks) when ticks <= @least, do: 0

  def bucket(ticks) do
    below = ticks - 1
    octave = octave(below)

    if octave >= @highest,
      do: @bounded,
      else: 1 + ((octave - @lowest) <<< @parts) + (below >>> (octave - @parts) &&& (1 <<< @parts) - 1)
  end

  # The place of the highest bit, from the length of the bytes on.
  defp octave(number) do
    <<first, rest::binary>> = :binary.encode_unsigned(number)
    byte_size(rest) * 8 + bits(first, 0)
  end

  defp bits(1, places), do: places
  defp bits(byte, places), do: bits(byte >>> 1, places + 1)

  @doc "The highest that a bucket holds."
  @spec bound(bucket) :: pos_integer
  def bound(0), do: @least

  def bound(bucket) do
    octave = @lowest + ((bucket - 1) >>> @parts)
    part = bucket - 1 &&& (1 <<< @parts) - 1
    (1 <<< octave) + ((part + 1) <<< (octave - @parts))
  end

  # Counts -------------------------------------------------------------------------------------------------------------

  @typedoc "Buckets that hold something, ascending, and how many."
  @type counts :: [{bucket, pos_integer}]

  @doc "The ticks that a share of the observations is not above; `nil` of none."
  @spec quantile(counts, number) :: pos_integer | nil
  def quantile([], _share), do: nil

  def quantile(counts, share) do
    total = counts |> Enum.map(&elem(&1, 1)) |> Enum.sum()
    rank = (share |> max(0) |> min(1)) * total
    counts |> reach(max(ceil(rank), 1)) |> middle()
  end

  defp reach([{bucket, _count}], _rank), do: bucket
  defp reach([{bucket, count} | _rest], rank) when count >= rank, do: bucket
  defp reach([{_bucket, count} | rest], rank), do: reach(rest, rank - count)

  defp middle(0), do: @least
  defp middle(@bounded), do: bound(@bounded - 1)
  defp middle(bucket), do: div(bound(bucket - 1) + bound(bucket), 2)

  @doc """
  As `t:Kantoku.Engine.Metrics.spread/0`, in a unit of so many ticks: each bucket after the bound that it begins at, as is what lies above them all.
  """
  @spec spread(counts, sum :: non_neg_integer, ticks :: float) :: Kantoku.Engine.Metrics.spread()
  def spread(counts, sum, ticks) do
    above = for {@bounded, count} <- counts, reduce: 0, do: (above -> above + count)
    count = counts |> Enum.map(&elem(&1, 1)) |> Enum.sum()
    {counts |> between(nil) |> Enum.map(&in_unit(&1, ticks)), above, sum / ticks, count}
  end

  defp between([], _last), do: []
  defp between([{@bounded, _count}], last) when last == @bounded - 1, do: []
  defp between([{@bounded, _count}], _last), do: [{@bounded - 1, 0}]

  defp between([{bucket, count} | rest], last) when bucket == 0 or last == bucket - 1,
    do: [{bucket, count} | between(rest, bucket)]

  defp between([{bucket, count} | rest], _last), do: [{bucket - 1, 0}, {bucket, count} | between(rest, bucket)]

  defp in_unit({bucket, count}, ticks), do: {bound(bucket) / ticks, count}
end

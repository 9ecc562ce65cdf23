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
  As `t:Kantoku.Engine.Metrics.spread/0`, in a unit of so many ticks: from the lowest octave that holds something up, all buckets of those that do, and
  of others the last. So bounds stay the same but where an octave is new, and what several hold can be added up, bound by bound.
  """
  @spec spread(counts, sum :: non_neg_integer, ticks :: float) :: Kantoku.Engine.Metrics.spread()
  def spread(counts, sum, ticks) do
    {bounded, above} = Enum.split_while(counts, fn {bucket, _count} -> bucket < @bounded end)
    told = if bounded == [] and above != [], do: [{@bounded - 1, 0}], else: told(bounded)
    {Enum.map(told, &in_unit(&1, ticks)), held(above), sum / ticks, held(counts)}
  end

  defp held(counts), do: counts |> Enum.map(&elem(&1, 1)) |> Enum.sum()

  defp told([]), do: []

  defp told([{lowest, _count} | _] = counts) do
    first = octave_of(lowest)
    begin = if first > 0, do: [{last(first - 1), 0}], else: []
    by_octave = Enum.group_by(counts, fn {bucket, _count} -> octave_of(bucket) end)
    begin ++ Enum.flat_map(first..octave_of(@bounded - 1)//1, &in_octave(&1, by_octave))
  end

  defp in_octave(octave, by_octave) do
    case by_octave do
      %{^octave => counts} ->
        held = Map.new(counts)
        for bucket <- first(octave)..last(octave), do: {bucket, Map.get(held, bucket, 0)}

      _none ->
        [{last(octave), 0}]
    end
  end

  # The first is that of the lowest bucket alone.
  defp octave_of(0), do: 0
  defp octave_of(bucket), do: ((bucket - 1) >>> @parts) + 1

  defp first(0), do: 0
  defp first(octave), do: last(octave - 1) + 1

  defp last(octave), do: octave <<< @parts

  defp in_unit({bucket, count}, ticks), do: {bound(bucket) / ticks, count}
end

defmodule Bench.Latencies do
  @moduledoc false
  # Counts durations in buckets outside any heap, so that recording makes no garbage for the process that is measured.
  # Buckets are log-linear: exact below 64 ns, within 1.6 % above.

  import Bitwise

  @sub_bits 6
  @sub 64
  @buckets 40 * @sub

  @type t :: :counters.counters_ref()

  @spec new() :: t
  def new, do: :counters.new(@buckets, [:write_concurrency])

  @spec record(t, non_neg_integer) :: :ok
  def record(latencies, nanoseconds), do: :counters.add(latencies, bucket(max(nanoseconds, 0)) + 1, 1)

  @doc "Quantiles in microseconds, under their usual names."
  @spec summary(t, [{String.t(), float}]) :: [{String.t(), float}]
  def summary(latencies, quantiles \\ [{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}]) do
    counts = for index <- 1..@buckets, count = :counters.get(latencies, index), count > 0, do: {index - 1, count}
    total = counts |> Enum.map(&elem(&1, 1)) |> Enum.sum()
    for {label, q} <- quantiles, do: {label, upper(at(counts, ceil(q * total))) / 1000}
  end

  defp at([{bucket, _}], _rank), do: bucket
  defp at([{bucket, count} | _], rank) when count >= rank, do: bucket
  defp at([{_, count} | counts], rank), do: at(counts, rank - count)

  defp bucket(value) when value < @sub, do: value
  defp bucket(value), do: bucket(value, 0)

  defp bucket(value, shift) when value >>> shift < 2 * @sub,
    do: min((shift + 1) * @sub + (value >>> shift) - @sub, @buckets - 1)

  defp bucket(value, shift), do: bucket(value, shift + 1)

  # The greatest duration that falls into a bucket: a quantile is never told too low.
  defp upper(bucket) when bucket < @sub, do: bucket

  defp upper(bucket) do
    shift = (bucket >>> @sub_bits) - 1
    (((bucket &&& @sub - 1) + @sub + 1) <<< shift) - 1
  end
end

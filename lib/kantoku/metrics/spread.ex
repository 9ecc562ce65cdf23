defmodule Kantoku.Metrics.Spread do
  # How observations are spread, as plain data: sums and quantiles of what was read. Knows no scale but that all of a metric have one.
  @moduledoc false

  @type t :: Kantoku.Engine.Metrics.spread()

  @doc "Both together, with the bounds that either has."
  @spec merge(t, t) :: t
  def merge({buckets, above, sum, count}, {more, above_too, sum_too, count_too}),
    do: {both(buckets, more), above + above_too, sum + sum_too, count + count_too}

  defp both([{bound, one} | rest], [{bound, other} | rest_too]), do: [{bound, one + other} | both(rest, rest_too)]
  defp both([{low, _} = first | rest], [{high, _} | _] = more) when low < high, do: [first | both(rest, more)]
  defp both([_ | _] = buckets, [first | rest]), do: [first | both(buckets, rest)]
  defp both(buckets, []), do: buckets
  defp both([], buckets), do: buckets

  @doc "What a share of the observations is not above: the middle of a bucket, or the only bound it has; `nil` of none."
  @spec quantile(t, number) :: float | nil
  def quantile({_buckets, _above, _sum, 0}, _share), do: nil

  def quantile({buckets, _above, _sum, count}, share) do
    rank = (share |> max(0) |> min(1)) * count
    reach(buckets, max(ceil(rank), 1), nil)
  end

  # What is above all bounds is taken for the last of them.
  defp reach([], _rank, last), do: last
  defp reach([{bound, count} | _rest], rank, nil) when count >= rank, do: bound
  defp reach([{bound, count} | _rest], rank, below) when count >= rank, do: (below + bound) / 2
  defp reach([{bound, count} | rest], rank, _below), do: reach(rest, rank - count, bound)
end

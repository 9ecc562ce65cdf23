defmodule Bench.Statistics do
  @moduledoc false
  # Numbers out of numbers. Knows nothing of rounds, sides or units.

  @resamples 4_000

  @spec median([number, ...]) :: number
  def median(values) do
    sorted = Enum.sort(values)
    count = length(sorted)
    middle = div(count, 2)

    if rem(count, 2) == 1,
      do: Enum.at(sorted, middle),
      else: (Enum.at(sorted, middle - 1) + Enum.at(sorted, middle)) / 2
  end

  @doc "The smallest value that at least the share `q` of all is not above (nearest rank)."
  @spec quantile([number, ...], float) :: number
  def quantile(values, q) when q > 0 and q <= 1 do
    sorted = values |> Enum.sort() |> List.to_tuple()
    elem(sorted, rank(tuple_size(sorted), q) - 1)
  end

  @doc """
  The 95 % percentile-bootstrap interval of the median (Efron 1979). The seed is fixed: the same samples give the same
  interval.
  """
  @spec interval([number, ...]) :: {low :: number, high :: number}
  def interval(samples) do
    drawn = List.to_tuple(samples)
    seed = :rand.seed_s(:exsss, 42)
    {medians, _} = Enum.map_reduce(1..@resamples, seed, fn _, seed -> resample(drawn, seed) end)
    {quantile(medians, 0.025), quantile(medians, 0.975)}
  end

  defp resample(drawn, seed) do
    size = tuple_size(drawn)

    {values, seed} =
      Enum.map_reduce(1..size, seed, fn _, seed ->
        {index, seed} = :rand.uniform_s(size, seed)
        {elem(drawn, index - 1), seed}
      end)

    {median(values), seed}
  end

  defp rank(count, q), do: max(1, min(count, ceil(q * count)))
end

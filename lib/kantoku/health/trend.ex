defmodule Kantoku.Health.Trend do
  # Where a series of samples goes, said so that a few odd ones do not matter. Samples are `{time, value}`, newest first. Pure; knows
  # neither what is measured nor how much of it is too much.
  @moduledoc false

  @type sample :: {time :: number, value :: number}

  @doc """
  Value a unit of time: the median of the slopes between all pairs, so up to 29 % of the samples may be anything (Theil, "A rank-invariant
  method of linear and polynomial regression analysis", 1950; Sen, 1968). 0 for fewer than two times.
  """
  @spec slope([sample]) :: number
  def slope(samples) do
    slopes = for {later, earlier} <- pairs(samples), slope = steepness(later, earlier), do: slope
    if slopes == [], do: 0, else: median(slopes)
  end

  defp steepness({at, _}, {at, _}), do: nil
  defp steepness({later, one}, {earlier, other}), do: (one - other) / (later - earlier)

  @doc "What the line of that slope says of a time: the samples lie above it as often as below."
  @spec at([sample, ...], slope :: number, time :: number) :: number
  def at(samples, slope, time), do: median(for {at, value} <- samples, do: value + slope * (time - at))

  @doc """
  How consistently it rises, -1 to 1: pairs of which the later is higher, less those of which it is lower, as a share of all (Kendall's
  tau without a correction for ties, so that what rarely moves has little of it).
  """
  @spec rise([sample]) :: float
  def rise([]), do: 0.0
  def rise([_one]), do: 0.0

  def rise(samples) do
    pairs = pairs(samples)
    Enum.reduce(pairs, 0, fn {{_, later}, {_, earlier}}, sum -> sum + sign(later - earlier) end) / length(pairs)
  end

  defp sign(number) when number > 0, do: 1
  defp sign(number) when number < 0, do: -1
  defp sign(_zero), do: 0

  @doc "How often a sample is higher than all before it."
  @spec records([sample]) :: non_neg_integer
  def records(samples) do
    {_highest, records} =
      samples
      |> Enum.reverse()
      |> Enum.reduce({nil, -1}, fn {_at, value}, {highest, records} ->
        if highest == nil or value > highest, do: {value, records + 1}, else: {highest, records}
      end)

    max(records, 0)
  end

  @doc "The middle one, or the mean of the two in the middle."
  @spec median([number, ...]) :: number
  def median(numbers) do
    sorted = Enum.sort(numbers)
    count = length(sorted)
    middle = Enum.at(sorted, div(count, 2))
    if rem(count, 2) == 1, do: middle, else: (Enum.at(sorted, div(count, 2) - 1) + middle) / 2
  end

  defp pairs([]), do: []
  defp pairs([later | earlier]), do: for(one <- earlier, do: {later, one}) ++ pairs(earlier)
end

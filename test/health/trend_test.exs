defmodule Kantoku.Health.TrendTest do
  use ExUnit.Case, async: true

  alias Kantoku.Health.Trend

  # By the definition, as slowly as it says.
  defp brute_slope(samples) do
    indexed = Enum.with_index(samples)
    slopes = for {{x, a}, i} <- indexed, {{y, b}, j} <- indexed, i < j, x != y, do: (b - a) / (y - x)
    if slopes == [], do: 0, else: brute_median(slopes)
  end

  defp brute_median(numbers) do
    sorted = Enum.sort(numbers)
    half = div(length(sorted), 2)
    {low, high} = {Enum.at(sorted, half - 1), Enum.at(sorted, half)}
    if rem(length(sorted), 2) == 1, do: high, else: (low + high) / 2
  end

  defp brute_rise(samples) do
    indexed = samples |> Enum.reverse() |> Enum.with_index()
    signs = for {{_, a}, i} <- indexed, {{_, b}, j} <- indexed, i < j, do: (b > a && 1) || (b < a && -1) || 0
    if signs == [], do: 0.0, else: Enum.sum(signs) / length(signs)
  end

  defp brute_records(samples) do
    values = samples |> Enum.reverse() |> Enum.map(&elem(&1, 1))
    Enum.count(1..(length(values) - 1)//1, fn at -> Enum.all?(Enum.take(values, at), &(&1 < Enum.at(values, at))) end)
  end

  # Newest first; times may repeat.
  defp samples do
    count = :rand.uniform(17) - 1
    times = for(_ <- 1..count//1, do: :rand.uniform(40)) |> Enum.sort(:desc)
    for time <- times, do: {time, :rand.uniform(30) - 10}
  end

  test "slope, rise and records are what their definitions say, of a thousand random series" do
    for _ <- 1..1_000 do
      samples = samples()
      assert_in_delta Trend.slope(samples), brute_slope(samples), 1.0e-9, inspect(samples)
      assert_in_delta Trend.rise(samples), brute_rise(samples), 1.0e-9, inspect(samples)
      assert Trend.records(samples) == brute_records(samples), inspect(samples)
    end
  end

  test "a line is found again under a quarter of samples that are anything" do
    for _ <- 1..200 do
      {slope, from} = {:rand.uniform(100) / 10, :rand.uniform(1_000)}
      wrong = Enum.take_random(1..16, 4)
      value = fn time -> if time in wrong, do: :rand.uniform(100_000), else: from + slope * time end
      samples = for time <- 16..1//-1, do: {time, value.(time)}
      assert_in_delta Trend.slope(samples), slope, 3 * slope
      assert Trend.slope(samples) > 0
      exact = for time <- 16..1//-1, do: {time, from + slope * time}
      assert_in_delta Trend.slope(exact), slope, 1.0e-6
      assert_in_delta Trend.at(exact, slope, 20), from + slope * 20, 1.0e-6
    end
  end

  test "few samples have no trend" do
    assert Trend.slope([]) == 0
    assert Trend.slope([{1, 5}]) == 0
    assert Trend.slope([{1, 5}, {1, 7}]) == 0
    assert Trend.rise([]) == 0.0
    assert Trend.rise([{1, 5}]) == 0.0
    assert Trend.records([]) == 0
  end
end

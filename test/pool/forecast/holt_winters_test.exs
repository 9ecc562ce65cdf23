defmodule Kantoku.Pool.Forecast.HoltWintersTest do
  use ExUnit.Case, async: true

  alias Kantoku.Pool.Forecast.HoltWinters

  @season 24

  # Level, trend and season as the model has them, without noise.
  defp value(index), do: 100 + 0.1 * index + 20 * :math.sin(2 * :math.pi() * index / @season)

  defp values(range), do: Enum.map(range, &value/1)

  test "a series that is what the model supposes is foretold exactly, any distance ahead" do
    {:ok, model} = HoltWinters.fit(values(0..119), @season)
    for ahead <- 1..60, do: assert_in_delta(HoltWinters.ahead(model, ahead), value(119 + ahead), 0.01)
  end

  test "after more values it foretells what follows those" do
    {:ok, model} = HoltWinters.fit(values(0..119), @season)
    model = Enum.reduce(values(120..200), model, &HoltWinters.next(&2, &1))
    for ahead <- [1, 5, 24, 25, 49], do: assert_in_delta(HoltWinters.ahead(model, ahead), value(200 + ahead), 0.01)
  end

  test "a level that has changed for good is followed" do
    {:ok, model} = HoltWinters.fit(values(0..95) ++ Enum.map(96..143, &(value(&1) + 50)), @season)
    assert_in_delta HoltWinters.ahead(model, 1), value(144) + 50, 5
  end

  test "a season that has changed its form is learnt anew" do
    other = for index <- 72..287, do: 100 + 20 * :math.cos(2 * :math.pi() * index / @season)
    {:ok, model} = HoltWinters.fit(values(0..71) ++ other, @season, 12)
    for ahead <- [6, 12, 18, 24], do: assert_in_delta(HoltWinters.ahead(model, ahead), Enum.at(other, ahead - 1), 4)
  end

  test "missing values are passed over" do
    holes = for index <- 0..119, do: if(rem(index, 5) == 3, do: nil, else: value(index))
    {:ok, model} = HoltWinters.fit(holes, @season)
    for ahead <- 1..30, do: assert_in_delta(HoltWinters.ahead(model, ahead), value(119 + ahead), 1)
  end

  test "a first season with hardly a value is left out, its place in the season not forgotten" do
    late = for index <- 0..119, do: if(index < 20, do: nil, else: value(index))
    {:ok, model} = HoltWinters.fit(late, @season)
    for ahead <- 1..30, do: assert_in_delta(HoltWinters.ahead(model, ahead), value(119 + ahead), 1)
  end

  test "there is no model of less than two seasons, or of seasons that are mostly missing" do
    assert HoltWinters.fit(values(0..46), @season) == {:error, :too_short}
    assert {:ok, _} = HoltWinters.fit(values(0..47), @season)
    assert HoltWinters.fit(List.duplicate(nil, 100), @season) == {:error, :too_sparse}
  end

  test "weights are chosen for the distance that is asked for" do
    # Noise that lasts for some values and comes back the other way: the last value says something of the next, and less than
    # nothing of the sixth.
    lasting = for index <- 0..239, do: if(rem(div(index, 5), 2) == 0, do: 10, else: -10)
    values = Enum.zip_with(values(0..239), lasting, &(&1 + &2))
    {:ok, near} = HoltWinters.fit(values, @season, 1)
    {:ok, far} = HoltWinters.fit(values, @season, 6)
    assert elem(near.weights, 0) > elem(far.weights, 0)
  end
end

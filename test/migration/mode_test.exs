defmodule Kantoku.Migration.ModeTest do
  use ExUnit.Case, async: true
  alias Kantoku.Migration.{Mode, Tally}

  @keys for n <- 1..2_000, key <- [n, "agent-#{n}", {:tenant, n, "x"}], do: key

  defp on_new(percent) do
    gate = {:canary, Mode.limit(percent), Tally.new(0)}
    for key <- @keys, Mode.side(gate, :planner, key) == :new, into: MapSet.new(), do: key
  end

  test "a higher percentage only adds keys, and each key stays where it is" do
    percents = [0, 0.01, 0.5, 1, 1.5, 7, 10, 33.3, 50, 99.99, 100]
    sides = Enum.map(percents, &on_new/1)
    assert Enum.zip(sides, tl(sides)) |> Enum.all?(fn {less, more} -> MapSet.subset?(less, more) end)
    assert sides == Enum.map(percents, &on_new/1)
    assert hd(sides) == MapSet.new()
    assert MapSet.size(List.last(sides)) == length(@keys)
  end

  test "the share of keys is about the percentage" do
    for percent <- [1, 10, 50, 90] do
      expected = length(@keys) * percent / 100
      # Five standard errors of a binomial.
      assert_in_delta MapSet.size(on_new(percent)), expected, 5 * :math.sqrt(expected * (1 - percent / 100))
    end
  end

  test "a key's point is the same on every release" do
    assert for(key <- ["ada", 7, {:tenant, 7}, :bob], do: Mode.point(MyApp.Session, key)) ==
             for(key <- ["ada", 7, {:tenant, 7}, :bob], do: :erlang.phash2({MyApp.Session, key}, 10_000))

    # Written down on OTP 25.
    assert Mode.point(:planner, "ada") == 9924
  end

  test "subjects do not have the same keys first" do
    other = {:canary, Mode.limit(10), Tally.new(0)}
    ours = on_new(10)
    theirs = for key <- @keys, Mode.side(other, :writer, key) == :new, into: MapSet.new(), do: key
    assert MapSet.size(MapSet.intersection(ours, theirs)) < MapSet.size(ours) / 2
  end

  test "off and shadow are the old side, enforce the new one" do
    assert for(gate <- [:off, :shadow, :enforce], do: Mode.side(gate, :any, 1)) == [:old, :old, :new]
  end
end

for name <- ~w(statistics side comparison result latencies figure options check),
    do: Code.require_file("../../bench/elixir/harness/#{name}.ex", __DIR__)

defmodule Bench.HarnessTest do
  use ExUnit.Case, async: true

  alias Bench.{Check, Comparison, Figure, Latencies, Options, Result, Side, Statistics}

  describe "statistics" do
    test "the median of an even number of values lies between the middle two" do
      assert Statistics.median([4, 1, 3, 2]) == 2.5
      assert Statistics.median([9, 1, 5]) == 5
    end

    test "a quantile is the least value that its share of all is not above" do
      assert Statistics.quantile(Enum.to_list(1..100), 0.5) == 50
      assert Statistics.quantile(Enum.to_list(1..100), 0.99) == 99
      assert Statistics.quantile([7], 0.999) == 7
    end

    test "the interval of a median holds it, and is the same each time" do
      samples = Enum.map(1..20, &(1.0 + &1 / 100))
      {low, high} = Statistics.interval(samples)
      assert low < Statistics.median(samples) and Statistics.median(samples) < high
      assert Statistics.interval(samples) == {low, high}
    end

    test "the interval of equal samples is that sample" do
      assert Statistics.interval(List.duplicate(1.05, 20)) == {1.05, 1.05}
    end
  end

  describe "ratios" do
    test "are above one when ours is better, whichever way better is" do
      assert Comparison.ratio(comparison(:higher), 10, 5) == 2.0
      assert Comparison.ratio(comparison(:lower), 10, 5) == 0.5
    end

    test "are taken within each round and told by metric" do
      pairs = [
        {[{"p50", 1}, {"p99", 4}], [{"p50", 2}, {"p99", 2}]},
        {[{"p50", 2}, {"p99", 8}], [{"p50", 6}, {"p99", 8}]}
      ]

      assert [p50, p99] = Result.collect(comparison(:lower), pairs)
      assert {p50.name, p50.ratios} == {"speed.p50", [2.0, 3.0]}
      assert {p99.name, Result.ratio(p99)} == {"speed.p99", {0.75, 0.5, 1.0}}
    end

    test "of a name with several variants are told by the worst" do
      pairs = [{[{"p50", 1}, {"p99", 4}], [{"p50", 2}, {"p99", 2}]}]
      results = Result.collect(comparison(:lower), pairs)
      assert [%Result{name: "speed", ratios: [0.5]}] = Result.worst_of_groups(results)
      assert Result.worst_of_groups(Enum.take(results, 1)) == []
    end

    defp comparison(better) do
      side = %Side{does: "nothing", round: fn _ -> 1 end}
      %Comparison{name: "speed", unit: "ms", better: better, ours: side, theirs: side}
    end
  end

  describe "latencies" do
    test "are exact where they are short" do
      latencies = Latencies.new()
      for nanoseconds <- 1..60, do: Latencies.record(latencies, nanoseconds)
      assert Latencies.summary(latencies, [{"half", 0.5}, {"all", 1.0}]) == [{"half", 0.03}, {"all", 0.06}]
    end

    test "are never told too low, nor more than a sixtieth too high" do
      for nanoseconds <- [64, 127, 128, 999, 10_000, 123_456_789] do
        latencies = Latencies.new()
        Latencies.record(latencies, nanoseconds)
        [{"p50", told}] = Latencies.summary(latencies, [{"p50", 0.5}])
        assert told * 1000 >= nanoseconds
        assert told * 1000 <= nanoseconds * (1 + 1 / 60)
      end
    end

    test "show a rare long one in the tail only" do
      latencies = Latencies.new()
      for _ <- 1..998, do: Latencies.record(latencies, 10)
      for _ <- 1..2, do: Latencies.record(latencies, 5_000)
      assert [{"p50", 0.01}, {"p99", 0.01}, {"p99.9", tail}] = Latencies.summary(latencies)
      assert tail >= 5.0
    end
  end

  describe "a check" do
    test "passes only when all that has to be zero was counted and is zero" do
      check = %Check{name: "left", does: "", run: fn _ -> [] end, zero: ["left"]}
      assert Check.passed?(check, [{"kills", 7}, {"left", 0}])
      refute Check.passed?(check, [{"kills", 7}, {"left", 1}])
      refute Check.passed?(check, [{"kills", 7}])
    end
  end

  describe "options" do
    test "name suites, or mean all of them" do
      assert {:ok, %Options{names: ["a", "b"]}} = Options.parse([], ["a", "b"])
      assert {:ok, %Options{names: ["b"], quick: true}} = Options.parse(["--", "b", "--quick"], ["a", "b"])
    end

    test "that are wrong are refused with what was expected" do
      assert {:error, "there is no \"c\"; expected any of a, b"} = Options.parse(["c"], ["a", "b"])
      assert {:error, "--engine is native or elixir, got \"rust\""} = Options.parse(["--engine", "rust"], ["a"])
      assert {:error, "--only takes a regular expression" <> _} = Options.parse(["--only", "("], ["a"])
      assert {:error, "--rounds cannot be \"x\""} = Options.parse(["--rounds", "x"], ["a"])
      assert {:error, "--fast is not an option here" <> _} = Options.parse(["--fast"], ["a"])
    end
  end

  test "figures are written with thousands apart, ratios without" do
    assert Figure.text(1_234_567) == "1,234,567"
    assert Figure.text(12.345) == "12.3"
    assert Figure.text(-1234.5) == "-1,235"
    assert Figure.ratio(1234.5) == "1234.500"
  end
end

require Kantoku.EachEngine

Kantoku.EachEngine.each_engine Kantoku.Engine.MetricsTest do
  alias Kantoku.Engine.Metrics

  @seconds {:histogram, :seconds, 1.0e9}

  defp open(series \\ 10, bytes \\ 1_000_000), do: Metrics.open(@engine, [{"instance", "Mine"}], series, bytes)

  defp declare(metrics, name, shape, labels \\ []) do
    :ok = Metrics.declare(metrics, name, "Some.", shape, labels)
    metrics
  end

  defp series(metrics, name, values \\ []) do
    {:ok, series} = Metrics.series(metrics, name, values)
    series
  end

  # Of the one series of a metric.
  defp value(metrics, name) do
    [{_labels, value}] = for {^name, _help, _unit, _kind, series} <- Metrics.snapshot(metrics), one <- series, do: one
    value
  end

  test "a counter adds up whole numbers and parts, and takes nothing below 0" do
    metrics = declare(open(), "c", {:counter, nil, 1.0})
    counter = series(metrics, "c")
    for more <- [1, 0, 41, 0.5, 0.25], do: assert(:ok = Metrics.add(counter, more))
    for wrong <- [-1, -0.5], do: assert(:refused = Metrics.add(counter, wrong))
    assert :refused = Metrics.set(counter, 1)
    assert :refused = Metrics.observe(counter, 1)
    assert value(metrics, "c") == 42.75
  end

  test "a gauge says what was set, with what was added since" do
    metrics = declare(open(), "g", {:gauge, nil, 1.0})
    gauge = series(metrics, "g")
    assert :ok = Metrics.set(gauge, 7)
    assert :ok = Metrics.add(gauge, -2.5)
    assert :refused = Metrics.observe(gauge, 1)
    assert value(metrics, "g") == 4.5
  end

  test "a histogram says how observations are spread, and its quantiles are within 3 %" do
    metrics = declare(open(), "h_seconds", @seconds)
    histogram = series(metrics, "h_seconds")
    assert Metrics.quantile(histogram, 0.5) == nil
    for ms <- 1..1_000, do: assert(:ok = Metrics.observe(histogram, ms / 1_000))
    assert :refused = Metrics.observe(histogram, -1)

    for share <- [0.01, 0.5, 0.9, 0.99, 0.999, 1] do
      assert_in_delta Metrics.quantile(histogram, share), share, share * 0.03
    end

    {buckets, 0, sum, 1_000} = value(metrics, "h_seconds")
    assert_in_delta sum, 500.5, 0.001
    {bounds, counts} = Enum.unzip(buckets)
    assert Enum.sum(counts) == 1_000
    assert bounds == Enum.sort(Enum.uniq(bounds))
  end

  test "a histogram's bounds stay but where an octave is new" do
    metrics = declare(open(), "h_seconds", @seconds)
    histogram = series(metrics, "h_seconds")

    bounds = fn seconds ->
      :ok = Metrics.observe(histogram, seconds)
      {buckets, 0, _sum, _count} = value(metrics, "h_seconds")
      for {bound, _count} <- buckets, do: bound
    end

    # From 2^19 to 2^20 ns; the bound below them, their 32, and the ends of 22 above.
    first = bounds.(0.001)
    assert length(first) == 1 + 32 + 22
    assert {Enum.min(first), Enum.max(first)} == {0.000524288, 4_398.046511104}
    assert bounds.(0.0007) == first
    # One end gives way to its 32.
    more = bounds.(0.1)
    assert length(more) == length(first) + 31
    assert first -- more == []
  end

  test "what is out of a histogram's scale is counted at its ends" do
    metrics = declare(open(), "h_seconds", @seconds)
    histogram = series(metrics, "h_seconds")
    for seconds <- [0, 1.0e-9, 10_000, 1.0e300], do: assert(:ok = Metrics.observe(histogram, seconds))
    assert {[{least, 2} | buckets], 2, _sum, 4} = value(metrics, "h_seconds")
    # Of each octave above that the end.
    assert length(buckets) == 32
    assert {[{most, 0}], true} = {Enum.take(buckets, -1), Enum.all?(buckets, &match?({_bound, 0}, &1))}
    assert {least, most} == {1.024e-6, 4_398.046511104}
    assert Metrics.quantile(histogram, 1) == most
    assert Metrics.quantile(metrics, "h_seconds", [], 1) == {:ok, most}
  end

  test "the largest observations do not make the sum fall" do
    metrics = declare(open(), "h_seconds", @seconds)
    histogram = series(metrics, "h_seconds")

    for _ <- 1..3, seconds <- [1.0e300, 1.7e308], reduce: 0.0 do
      last ->
        assert :ok = Metrics.observe(histogram, seconds)
        {_buckets, _above, sum, _count} = value(metrics, "h_seconds")
        assert sum > last
        sum
    end

    assert {_buckets, 6, sum, 6} = value(metrics, "h_seconds")
    assert_in_delta sum, 6 * 2 ** 53 / 1.0e9, 1.0
  end

  test "no sum becomes infinite, and what would make it so is refused" do
    metrics = open() |> declare("c", {:counter, nil, 1.0}) |> declare("g", {:gauge, nil, 1.0})
    {counter, gauge} = {series(metrics, "c"), series(metrics, "g")}
    for one <- [counter, gauge], do: assert(:ok = Metrics.add(one, 1.0e308))
    for one <- [counter, gauge], do: assert(:refused = Metrics.add(one, 1.0e308))
    assert value(metrics, "c") == 1.0e308
    assert value(metrics, "g") == 1.0e308
    beyond = 2 ** 64
    for one <- [counter, gauge], do: assert(:refused = Metrics.add(one, beyond))
    assert :refused = Metrics.set(gauge, beyond)
  end

  test "whole numbers of any size add up, and never fall" do
    metrics = declare(open(), "c", {:counter, nil, 1.0})
    counter = series(metrics, "c")
    for _ <- 1..100, do: assert(:ok = Metrics.add(counter, 2 ** 62))
    assert_in_delta value(metrics, "c"), 100 * 2.0 ** 62, 2.0 ** 40
  end

  test "more than a thousand of the largest that are whole as floats have room" do
    metrics = declare(open(), "c", {:counter, nil, 1.0})
    counter = series(metrics, "c")
    for _ <- 1..1_500, do: assert(:ok = Metrics.add(counter, 2 ** 53))
    assert value(metrics, "c") == 1_500 * 2.0 ** 53
  end

  test "the same family and values are the same series, whoever asks" do
    metrics = declare(open(), "c", {:counter, nil, 1.0}, ["who"])

    1..8
    |> Enum.map(fn _ ->
      Task.async(fn -> for n <- 1..200, do: Metrics.add(series(metrics, "c", ["#{rem(n, 5)}"]), 1) end)
    end)
    |> Task.await_many()

    [{"c", "Some.", nil, :counter, series}] = Metrics.snapshot(metrics)
    assert Enum.map(series, &elem(&1, 1)) == List.duplicate(320.0, 5)
    for {labels, _value} <- series, do: assert([{"instance", "Mine"}, {"who", _}] = labels)
  end

  test "beyond its limit a family has one series for all others, which is counted" do
    metrics = declare(open(3), "c", {:counter, nil, 1.0}, ["who", "why"])
    for n <- 1..3, do: assert({:ok, _} = Metrics.series(metrics, "c", ["#{n}", "x"]))
    for n <- 4..7, {:other, series} = Metrics.series(metrics, "c", ["#{n}", "y"]), do: Metrics.add(series, 1)
    assert {:ok, _known} = Metrics.series(metrics, "c", ["3", "x"])
    [{"c", _, _, _, series}, folded] = Metrics.snapshot(metrics)
    assert List.last(series) == {[{"instance", "Mine"}, {"who", "other"}, {"why", "other"}], 4.0}
    assert length(series) == 4

    assert {"kantoku_metrics_folded", _, nil, :counter, [{[{"instance", "Mine"}, {"metric", "c"}], 4.0}]} = folded
  end

  test "of many who ask at once for series no more are made than may be" do
    metrics = declare(open(5), "c", {:counter, nil, 1.0}, ["who"])

    1..8
    |> Enum.map(fn _ ->
      Task.async(fn ->
        for n <- Enum.shuffle(1..40) do
          {_own_or_other, series} = Metrics.series(metrics, "c", ["#{n}"])
          Metrics.add(series, 1)
        end
      end)
    end)
    |> Task.await_many()

    [{"c", _, _, _, series} | _folded] = Metrics.snapshot(metrics)
    assert length(series) == 6
    assert series |> Enum.map(&elem(&1, 1)) |> Enum.sum() == 320.0
  end

  test "beyond the limit of bytes nothing more is kept, and that is said" do
    metrics = declare(open(100, 30_000), "h_seconds", @seconds, ["who"])
    answers = for n <- 1..6, do: Metrics.series(metrics, "h_seconds", ["#{n}"])
    assert {:ok, _} = hd(answers)
    assert {:error, {:limit, 30_000}} = List.last(answers)
    assert Metrics.bytes(metrics) < 32_000
    assert {:ok, _} = Metrics.series(metrics, "h_seconds", ["1"])
  end

  test "a family stays what it was declared as" do
    metrics = declare(open(), "c", {:counter, nil, 1.0}, ["who"])
    assert :ok = Metrics.declare(metrics, "c", "In other words.", {:counter, nil, 1.0}, ["who"])
    assert {:error, {:different, :counter, ["who"]}} = Metrics.declare(metrics, "c", "", {:gauge, nil, 1.0}, ["who"])
    assert {:error, {:different, :counter, ["who"]}} = Metrics.declare(metrics, "c", "", {:counter, nil, 1.0}, [])
    assert {:error, {:labels, 1}} = Metrics.series(metrics, "c", [])
    assert {:error, :unknown} = Metrics.series(metrics, "d", [])
  end

  test "a reading is made when somebody looks, and left out where it cannot be" do
    metrics = declare(open(), "depth", {:gauge, nil, 1.0}, ["pool"])
    assert :ok = Metrics.bind(metrics, "depth", ["gone"], {:pool, :nobody, :none, :queue})
    assert :ok = Metrics.bind(metrics, "depth", ["gone"], {:pool, :nobody, :none, :ready})
    assert Metrics.snapshot(metrics) == []
    assert {:error, :unknown} = Metrics.bind(metrics, "height", ["gone"], {:pool, :nobody, :none, :queue})
  end

  test "nothing is recorded where something is read" do
    metrics = declare(open(), "depth", {:gauge, nil, 1.0}, ["pool"])
    :ok = Metrics.bind(metrics, "depth", ["one"], {:pool, :nobody, :none, :queue})
    assert {:error, :bound} = Metrics.series(metrics, "depth", ["one"])
    assert {:ok, _another} = Metrics.series(metrics, "depth", ["two"])
  end

  test "quantiles are there by name, of others where there is no place, and enter nothing" do
    metrics = declare(open(1), "h_seconds", @seconds, ["who"])
    assert Metrics.quantile(metrics, "h_seconds", ["a"], 0.5) == {:ok, nil}
    assert Metrics.snapshot(metrics) == []

    for {who, seconds} <- [{"a", 1}, {"b", 100}],
        {_, one} = Metrics.series(metrics, "h_seconds", [who]),
        do: Metrics.observe(one, seconds)

    assert {:ok, own} = Metrics.quantile(metrics, "h_seconds", ["a"], 0.5)
    assert_in_delta own, 1, 0.03
    assert {:ok, others} = Metrics.quantile(metrics, "h_seconds", ["c"], 0.5)
    assert_in_delta others, 100, 3
    assert {:error, {:labels, 1}} = Metrics.quantile(metrics, "h_seconds", [], 0.5)
    assert {:error, :unknown} = Metrics.quantile(metrics, "w_seconds", ["a"], 0.5)
  end

  test "a place that is left is another's, and what had none is part of the others" do
    metrics = declare(open(2), "depth", {:gauge, nil, 1.0}, ["pool"])
    reading = &{:pool, :nobody, &1, :queue}
    for pool <- [:a, :b], do: assert(:ok = Metrics.bind(metrics, "depth", ["#{pool}"], reading.(pool)))
    for pool <- [:c, :d], do: assert(:other = Metrics.bind(metrics, "depth", ["#{pool}"], reading.(pool)))
    assert {:error, :unknown} = Metrics.unbind(metrics, "depth", ["e"], reading.(:e))
    assert :ok = Metrics.unbind(metrics, "depth", ["a"], reading.(:a))
    assert {:error, :unknown} = Metrics.unbind(metrics, "depth", ["a"], reading.(:a))
    assert :ok = Metrics.bind(metrics, "depth", ["c"], reading.(:c))
    assert :other = Metrics.bind(metrics, "depth", ["a"], reading.(:a))
    for pool <- [:b, :c, :d, :a], do: assert(:ok = Metrics.unbind(metrics, "depth", ["#{pool}"], reading.(pool)))
    bytes = Metrics.bytes(metrics)

    for _ <- 1..500 do
      for pool <- [:a, :b], do: assert(:ok = Metrics.bind(metrics, "depth", ["#{pool}"], reading.(pool)))
      for pool <- [:a, :b], do: assert(:ok = Metrics.unbind(metrics, "depth", ["#{pool}"], reading.(pool)))
    end

    assert Metrics.bytes(metrics) == bytes
  end

  test "a series outlives its collection" do
    series = Task.await(Task.async(fn -> open() |> declare("h_seconds", @seconds) |> series("h_seconds") end))
    assert :ok = Metrics.observe(series, 1)
    assert_in_delta Metrics.quantile(series, 1), 1, 0.03
  end
end

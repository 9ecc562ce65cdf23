defmodule Kantoku.SLO.HistoryTest do
  use ExUnit.Case, async: true

  alias Kantoku.SLO.{History, Objective, Report}

  @minute 60_000
  @hour 60 * @minute
  @day 24 * @hour

  defp counted(history, moments),
    do: Enum.reduce(moments, history, fn {at, good, bad}, h -> History.add(h, at, good, bad) end)

  defp buckets(%{rings: rings}), do: for({_window, {_width, counts}} <- rings, do: map_size(counts))

  test "a window holds what came within it and forgets in steps of a hundredth" do
    history = counted(History.new([100], 1_000), [{1_000, 1, 0}, {1_050, 0, 2}, {1_099, 3, 0}])
    assert History.total(history, 100, 1_099) == {4, 2}
    assert History.total(history, 100, 1_100) == {3, 2}
    assert History.total(history, 100, 1_149) == {3, 2}
    assert History.total(history, 100, 1_150) == {3, 0}
    assert History.total(history, 100, 9_999) == {0, 0}
  end

  test "its memory is bounded, however much comes for however long" do
    history = History.new([5 * @minute, @hour, 30 * @day], 0)
    history = counted(history, for(second <- 1..20_000, do: {second * 3_000, 1, 1}))
    assert Enum.max(buckets(history)) <= 101
    assert :erlang.external_size(history) < 10_000
    {good, bad} = History.total(history, @hour, 60_000_000)
    assert good == bad
    assert good in 1_176..1_200
  end

  test "a clock that is set back makes nothing younger, older or fewer" do
    history = counted(History.new([@hour, @day], 0), [{10 * @hour, 5, 1}, {10 * @hour + 50 * @minute, 2, 0}])
    back = History.add(history, 3 * @hour, 1, 0)
    assert History.total(back, @hour, 3 * @hour) == {8, 1}
    assert History.total(back, @hour, 3 * @hour + 20 * @minute) == {3, 0}
    assert History.total(back, @day, 20 * @hour) == {8, 1}
    assert back.since == history.since - 7 * @hour - 50 * @minute
  end

  test "a clock that trembles is held still" do
    history = History.new([100], 1_000)
    trembling = for(n <- 1..100, do: {1_000 + rem(n, 2), 1, 0})
    assert history |> counted(trembling) |> History.total(100, 1_001) == {100, 0}
  end

  test "a gap in which nobody looked is time in which nothing came" do
    history = counted(History.new([@hour, @day], 0), [{@hour, 9, 1}, {@hour + 2 * @hour, 1, 0}])
    assert History.total(history, @hour, 3 * @hour) == {1, 0}
    assert History.total(history, @day, 3 * @hour) == {10, 1}
  end

  test "a window that was not asked for before is made of what there is" do
    history = counted(History.new([@day], 0), for(hour <- 1..24, do: {hour * @hour, 1, 1}))
    wider = History.resize(history, [@day, 30 * @day, 6 * @hour])
    assert History.total(wider, @day, @day) == History.total(history, @day, @day)
    assert History.total(wider, 30 * @day, @day) == {24, 24}
    {good, _bad} = History.total(wider, 6 * @hour, @day)
    assert good in 6..7
    assert wider |> History.resize([@day]) |> Map.fetch!(:rings) |> Map.keys() == [@day]
  end

  test "a budget is what may be bad of what came, and its course ends at what is left" do
    objective = Objective.new!(name: :o, operation: :o, target: 99, window: @day, burn_rates: [])
    history = counted(History.new(Objective.windows(objective), 0), [{@hour, 98, 0}, {2 * @hour, 400, 2}])
    report = Report.of(objective, history, 3 * @hour)
    assert %{good: 498, bad: 2, budget: %{allowed: 5.0, spent: 0.4, left: 0.6}} = report
    assert_in_delta report.ratio, 99.6, 1.0e-9
    assert List.last(report.history).left == report.budget.left
    assert Enum.sum(Enum.map(report.history, & &1.bad)) == 2
  end

  test "the workbook's table: a burn rate is too high over both of its windows, and ends soon after" do
    objective = Objective.new!(name: :o, operation: :o, target: 99.9)
    fine = for(minute <- 1..(24 * 60), do: {minute * @minute, 1_000, 0})
    # One in fifty fails: a burn rate of 20.
    failing = for(minute <- 1_441..1_500, do: {minute * @minute, 980, 20})
    history = counted(History.new(Objective.windows(objective), 0), fine ++ failing)
    [fast, slow, slowest] = Report.of(objective, history, 1_500 * @minute).burn_rates
    assert %{rate: 14.4, severity: :page, burning: true} = fast
    assert_in_delta fast.long_rate, 20.0, 0.5
    assert_in_delta fast.short_rate, 20.0, 0.001
    # An hour of it is 3.3 of six hours, and 0.8 of a day.
    assert %{rate: 6, burning: false} = slow
    assert_in_delta slow.long_rate, 3.33, 0.1
    assert %{rate: 1, severity: :ticket, burning: false} = slowest

    recovered = counted(history, for(minute <- 1_501..1_506, do: {minute * @minute, 1_000, 0}))

    assert [%{burning: false, short_rate: short, long_rate: long} | _] =
             Report.of(objective, recovered, 1_506 * @minute).burn_rates

    assert short == 0.0 and long > 14.4
  end

  test "where little comes, a few failures are no alarm until there are as many calls as asked for" do
    opts = [name: :o, operation: :o, burn_rates: [[rate: 10, long: @hour, short: @minute, severity: :page]]]

    burning? = fn opts, moments ->
      objective = Objective.new!(opts)
      history = counted(History.new(Objective.windows(objective), 0), moments)
      [%{burning: burning}] = Report.of(objective, history, @hour).burn_rates
      burning
    end

    assert burning?.(opts, [{@hour, 0, 1}])
    refute burning?.(opts ++ [minimum: 10], [{@hour, 0, 1}])
    assert burning?.(opts ++ [minimum: 10], [{@hour, 9, 1}])
  end

  test "a bad option is told by its name, with what was expected" do
    for {opts, message} <- [
          {[pool: :p], ~r/option :name is required/},
          {[name: :o], ~r/expected one of the options :pool, :type and :operation, got: \[\]/},
          {[name: :o, pool: :p, operation: 1], ~r/got: \[pool: :p, operation: 1\]/},
          {[name: :o, pool: :p, target: 100],
           ~r/objective :o, option :target: expected a percentage above 0 and below 100/},
          {[name: :o, pool: :p, latency: 0], ~r/option :latency: expected a positive integer/},
          {[name: :o, pool: :p, window: 10, burn_rates: [[rate: 1, long: 20, short: 5, severity: :page]]],
           ~r/option :burn_rates: expected :short up to :long and :long up to the window of 10 ms/},
          {[name: :o, pool: :p, burn_rates: [[rate: 0]]], ~r/option :rate: expected a positive number/},
          {[name: :o, pool: :p, targets: 1], ~r/unknown option :targets/}
        ] do
      assert_raise ArgumentError, message, fn -> Objective.new!(opts) end
    end
  end

  test "burn rates that do not fit into a short window are left out" do
    assert [%{rate: 14.4}] = Objective.new!(name: :o, operation: :o, window: 2 * @hour).burn_rates
    assert Objective.new!(name: :o, operation: :o, window: @minute).burn_rates == []
  end
end

defmodule Kantoku.Pool.SimulationTest do
  use ExUnit.Case, async: true

  alias Kantoku.Pool.{Forecast, Scaler, Simulation}
  alias Kantoku.Pool.Scaler.{Decision, Policy}
  alias Kantoku.Pool.Simulation.Trace

  doctest Simulation
  doctest Trace

  defp fixed(size), do: Policy.new!(min: size, max: size, forecast: :off)

  describe "queueing" do
    test "a request that finds a worker does not wait, the next one waits until it is free" do
      result = Simulation.run(Trace.singles([{100, 300}, {150, 300}], 1_000), fixed(1))
      assert {result.totals.wait_p50, result.totals.wait_max} == {0, 250}
    end

    test "beyond the queue's length requests are rejected, beyond their time they go" do
      burst = Trace.singles(Enum.map(1..10, &{&1, 5_000}), 1_000)
      assert %{rejected: 6, served: 1} = Simulation.run(burst, fixed(1), max_queue: 3).totals
      late = Trace.singles([{1, 5_000}, {2, 5_000}, {4_000, 10}, {9_000, 10}])
      assert %{expired: 1, served: 3} = Simulation.run(late, fixed(1), max_wait: 3_000).totals
    end

    test "waits are those of an M/M/c queue's cousin: many random arrivals at seven tenths of capacity wait little" do
      trace = Trace.rates([{0, 7.0, 1_000}], 3_600_000, {:poisson, 1})
      totals = Simulation.run(trace, fixed(10)).totals
      assert totals.wait_p50 == 0
      assert_in_delta totals.wait_p99, 500, 400
      assert_in_delta totals.arrivals, 25_200, 500
    end

    test "nothing gets lost: who came was served, was refused, went, or is still there" do
      trace = Trace.sine(low: 1, high: 30, period: 600_000, periods: 2, arrivals: {:poisson, 4})
      totals = Simulation.run(trace, Policy.new!(max: 20, forecast: :off), max_queue: 20, max_wait: 1_000).totals
      assert totals.rejected + totals.expired > 0
      assert (totals.arrivals - totals.served - totals.rejected - totals.expired) in 0..20
    end

    test "new workers are ready after their time to start" do
      trace = Trace.rates([{0, 1.0, 900}, {60_000, 5.0, 900}], 180_000)

      [quick, slow] =
        for start_time <- [1_000, 30_000],
            do: Simulation.run(trace, Policy.new!(max: 20), start_time: start_time).totals

      assert quick.wait_max < slow.wait_max
    end
  end

  test "the rows have what the table and the picture need, and cover the trace" do
    result = Simulation.run(Trace.ramp(period: 600_000, periods: 1), Policy.new!(max: 40), bucket: 60_000)
    assert length(result.rows) == 10
    assert Enum.map(result.rows, &{&1.at, &1.until}) == Enum.map(0..9, &{&1 * 60_000, (&1 + 1) * 60_000})
    assert Enum.sum(Enum.map(result.rows, & &1.arrivals)) == result.totals.arrivals
    assert [first | _] = result.rows
    assert_in_delta first.load, 2.9, 0.5
  end

  test "the same trace gives the same result" do
    run = fn ->
      Simulation.run(Trace.daily(period: 600_000, periods: 2, arrivals: {:poisson, 3}), Policy.new!(max: 40))
    end

    assert run.() == run.()
  end

  describe "calm" do
    # Light at five workers' worth, heavy at twenty-five; a pool that had time to fit the load before the first period.
    defp turns(shape, period, arrivals, more \\ []) do
      trace =
        apply(Trace, shape, [[low: 2.5, high: 12.5, service: 2_000, period: period, periods: 10, arrivals: arrivals]])

      policy = Policy.new!([max: 200, forecast: :off] ++ more)
      Simulation.run(trace, policy, size: 8).totals.direction_changes
    end

    for shape <- [:step, :ramp, :sine, :square], minutes <- [1, 5, 10, 30] do
      test "over ten periods of a #{shape} of #{minutes} min the size turns at most twice in each" do
        assert turns(unquote(shape), unquote(minutes) * 60_000, :even) <= 20
      end
    end

    for shape <- [:step, :ramp, :sine, :square] do
      test "so it does if requests come at random, over 10 min of a #{shape}" do
        assert turns(unquote(shape), 600_000, {:poisson, 11}) <= 20
      end

      test "and over half an hour of a #{shape}, with a wider tolerance for shrinking" do
        assert turns(unquote(shape), 1_800_000, {:poisson, 11}, scale_down: [tolerance: 0.5]) <= 20
      end
    end
  end

  describe "the clock" do
    # Sizes by time, of a pool whose load is a function of time, decided upon every so many ms.
    defp sizes(tick, load, until, policy) do
      {sizes, _} =
        Enum.map_reduce(0..div(until, tick), {Scaler.new(), 4}, fn step, {state, size} ->
          now = step * tick

          {decision, state} =
            Scaler.decide(state, policy, %{size: size, ready: size, metrics: %{ongoing: load.(now)}}, now)

          {{now, decision.wanted}, {state, decision.wanted}}
        end)

      Map.new(sizes)
    end

    @hour 3_600_000

    for {name, shape} <- [sine: :sine, ramp: :ramp, triangle: :triangle] do
      test "sizes are within one of each other whether asked ten times a second or every seven seconds (#{name})" do
        load = load(unquote(shape))
        policy = Policy.new!(max: 50, forecast: :off)
        [fast, slow] = for tick <- [100, 7_000], do: sizes(tick, load, 2 * @hour, policy)
        apart = for {now, size} <- slow, abs(size - fast[now]) > 1, do: {now, size, fast[now]}
        assert apart == []
      end
    end

    test "and after a step they come to the same size, no later than by a tick and a period" do
      policy = Policy.new!(max: 50, forecast: :off)
      load = fn now -> if rem(now, @hour) < 1_200_000, do: 2.0, else: 9.0 end
      [fast, slow] = for tick <- [100, 7_000], do: sizes(tick, load, 2 * @hour, policy)
      settled = fn now -> rem(rem(now, @hour) + @hour - 1_200_000, 1_200_000) > 340_000 end
      for {now, size} <- slow, settled.(now), do: assert(abs(size - fast[now]) <= 1, "at #{now}: #{size}, #{fast[now]}")
    end

    test "a load beyond what the pool can serve is answered within a second, at ten ticks a second and the default policy" do
      policy = Policy.new!(max: 50, forecast: :off)

      for {low, high} <- [{1, 3}, {2, 4}, {10, 16}, {1, 64}] do
        sizes = sizes(100, fn now -> if now < 600_000, do: low, else: high end, 601_000, policy)
        assert sizes[601_000] > sizes[599_900], "from #{low} to #{high}"
      end
    end

    defp load(:sine), do: fn now -> 4.5 - 2.5 * :math.cos(2 * :math.pi() * now / @hour) end
    defp load(:ramp), do: fn now -> 2 + 5 * now / (2 * @hour) end
    defp load(:triangle), do: fn now -> 2 + 5 * (1 - abs(1 - rem(now, @hour) * 2 / @hour)) end
  end

  describe "a day" do
    # A day in two hours; workers need a minute.
    @day 7_200_000

    defp day(days, forecast) do
      trace = Trace.daily(low: 1, high: 30, period: @day, periods: days, arrivals: {:poisson, 3}, seed: 5)
      policy = Policy.new!(max: 200, forecast: forecast)
      Simulation.run(trace, policy, start_time: 60_000, max_wait: 5_000)
    end

    test "after three of them the forecast is active, fewer are refused and fewer wait than without it" do
      reactive = day(6, :off)
      assisted = day(6, lead: 60_000, bucket: div(@day, 288), season: @day)
      assert assisted.forecast.mode == :active
      assert lost(assisted) < 0.75 * lost(reactive)
      assert assisted.totals.wait_p99 < reactive.totals.wait_p99
      assert assisted.totals.worker_seconds < 1.1 * reactive.totals.worker_seconds
    end

    test "a history that is given goes on where it ended" do
      options = [lead: 60_000, bucket: div(@day, 288), season: @day]
      history = day(3, options).history
      later = shifted(day_trace(), 3 * @day)
      result = Simulation.run(later, Policy.new!(max: 200, forecast: options), history: history, start_time: 60_000)
      assert result.forecast.mode == :active
      assert Enum.any?(result.decisions, &(:forecast in Decision.limited_by(&1)))
      assert Forecast.History.last(result.history) > Forecast.History.last(history)
    end

    defp day_trace, do: Trace.daily(low: 1, high: 30, period: @day, periods: 1, seed: 6)

    defp shifted(trace, by) do
      rates = for {from, rate, service} <- trace.rates, do: {from + by, rate, service}
      Trace.rates(rates, trace.until + by)
    end

    defp lost(result), do: result.totals.rejected + result.totals.expired
  end
end

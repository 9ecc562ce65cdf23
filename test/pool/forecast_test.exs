defmodule Kantoku.Pool.ForecastTest do
  use ExUnit.Case, async: true

  alias Kantoku.Pool.Forecast
  alias Kantoku.Pool.Forecast.{Backtest, History, HoltWinters}
  alias Kantoku.Pool.Scaler.Policy

  doctest Forecast
  doctest History
  doctest HoltWinters
  doctest Backtest

  # A day of 48 buckets of 5 minutes, so that the scaler's windows are what they are in a real one.
  @bucket 300_000
  @day 48

  defp policy(forecast \\ []) do
    Policy.new!(max: 200, forecast: Keyword.merge([bucket: @bucket, season: @bucket * @day, lead: 180_000], forecast))
  end

  defp history(values, policy) do
    # Twice a bucket; one more bucket closes the last.
    values
    |> Enum.with_index()
    |> Enum.flat_map(fn {value, index} -> [{index * @bucket, value}, {index * @bucket + div(@bucket, 2), value}] end)
    |> Kernel.++([{length(values) * @bucket, 0}])
    |> Enum.reduce(History.new(policy.forecast), fn {now, value}, history -> History.record(history, now, value) end)
  end

  # Quiet, then within two buckets busy, then quiet again; each value off by noise.
  defp days(count, noise, seed) do
    values(count * @day, seed, fn index, normal ->
      base = if rem(index, @day) in 16..35, do: 40, else: 8
      max(0.0, base * (1 + noise * normal))
    end)
  end

  defp values(count, seed, value) do
    {values, _} =
      Enum.map_reduce(0..(count - 1), :rand.seed_s(:exsss, seed), fn index, rand ->
        {normal, rand} = :rand.normal_s(rand)
        {value.(index, normal), rand}
      end)

    values
  end

  defp walk(count, seed) do
    {values, _} =
      Enum.map_reduce(values(count, seed, fn _, normal -> normal end), 30.0, fn step, at ->
        {max(0.0, at + step), max(0.0, at + step)}
      end)

    values
  end

  describe "the start" do
    test "is without a forecast before two seasons, and without a say before three" do
      policy = policy()
      two = Forecast.review(history(days(2, 0.05, 1), policy) |> Map.update!(:closed, &tl/1), policy)
      assert {two.model, two.mode, Forecast.needs(two, 2 * @day * @bucket)} == {nil, :shadow, nil}

      three = Forecast.review(history(Enum.drop(days(3, 0.05, 1), -1), policy), policy)
      assert {three.mode, three.backtest.reason} == {:shadow, :too_short}
      assert is_float(Forecast.needs(three, 3 * @day * @bucket))

      assert Forecast.review(history(days(3, 0.05, 1), policy), policy).mode == :active
    end

    test "is without one for a policy that wants none, or other buckets" do
      policy = policy()
      history = history(days(3, 0.05, 1), policy)
      assert Forecast.review(history, %{policy | forecast: :off}) == nil
      assert Forecast.review(history, policy(bucket: 2 * @bucket)) == nil
    end
  end

  describe "the backtest" do
    test "is passed by days that are alike, whatever the noise's seed, and far less is short" do
      for seed <- 1..5 do
        backtest = Forecast.backtest(history(days(6, 0.1, seed), policy()), policy())
        assert backtest.reason == :better
        assert backtest.assisted.short < 0.6 * backtest.reactive.short
        assert backtest.error.forecast < 0.8 * min(backtest.error.last, backtest.error.mean)
        assert Backtest.explain(backtest) =~ "active: better"
      end
    end

    test "is not passed by white noise" do
      for seed <- 1..10 do
        noise = values(8 * @day, seed, fn _, normal -> max(0.0, 30 + 6 * normal) end)
        forecast = Forecast.review(history(noise, policy()), policy())
        assert {forecast.mode, forecast.backtest.reason} == {:shadow, :no_skill}
        assert Backtest.explain(forecast.backtest) =~ "in shadow"
      end
    end

    test "is not passed by a random walk, which is best foretold by where it is" do
      for seed <- 1..10 do
        assert Forecast.backtest(history(walk(8 * @day, seed), policy()), policy()).reason == :no_skill
      end
    end

    test "is not passed where workers are quick and the load slow, as there is nothing to win" do
      slow =
        values(6 * @day, 3, fn index, normal -> 40 - 20 * :math.cos(2 * :math.pi() * index / @day) + 0.1 * normal end)

      policy = policy(lead: 1_000)
      backtest = Forecast.backtest(history(slow, policy), policy)
      assert {backtest.reason, backtest.reactive.short < 1} == {:no_gain, true}
    end

    test "is not passed by a forecast that keeps many idle to save a little" do
      slow =
        values(6 * @day, 3, fn index, normal ->
          (40 - 20 * :math.cos(2 * :math.pi() * index / @day)) * (1 + 0.03 * normal)
        end)

      policy = policy(lead: 60_000)
      backtest = Forecast.backtest(history(slow, policy), policy)
      assert backtest.reason == :too_dear

      assert Backtest.explain(backtest) =~
               "in shadow: what it saves costs too many idle workers; short 42 worker-seconds"
    end

    test "keeps both scores" do
      backtest = Forecast.backtest(history(days(4, 0.05, 1), policy()), policy())
      assert %{reactive: %{short: short, excess: _}, assisted: %{short: less, excess: _}} = backtest
      assert less < short
      assert backtest.seconds == 2 * @day * @bucket / 1_000
    end
  end

  describe "what is missing" do
    test "does no harm: a day with holes and a day without any history" do
      policy = policy()

      holes =
        days(6, 0.05, 1) |> Enum.with_index() |> Enum.map(fn {value, index} -> if rem(index, 7) != 0, do: value end)

      gone = holes |> Enum.with_index() |> Enum.map(fn {value, index} -> if div(index, @day) != 3, do: value end)

      for values <- [holes, gone] do
        forecast = Forecast.review(history(values, policy), policy)
        assert forecast.mode == :active
        assert_in_delta Forecast.needs(forecast, (6 * @day + 20) * @bucket), 40, 6
      end
    end

    test "may be too much to learn from" do
      policy = policy()

      sparse =
        days(6, 0.05, 1) |> Enum.with_index() |> Enum.map(fn {value, index} -> if rem(index, 3) == 0, do: value end)

      forecast = Forecast.review(history(sparse, policy), policy)
      assert {forecast.model, forecast.backtest.reason} == {nil, :too_sparse}
    end

    test "since more than a season, nothing is foretold any more" do
      policy = policy()
      forecast = Forecast.review(history(days(4, 0.05, 1), policy), policy)
      assert is_float(Forecast.needs(forecast, 4 * @day * @bucket))
      assert Forecast.needs(forecast, 6 * @day * @bucket) == nil
    end
  end

  test "following the history comes to what a review with the same weights would have seen" do
    policy = policy()
    days = days(5, 0.05, 1)
    forecast = Forecast.review(history(Enum.take(days, 4 * @day), policy), policy)
    followed = Forecast.follow(forecast, history(days, policy))
    assert followed.last == 5 * @day - 1
    assert_in_delta Forecast.needs(followed, (5 * @day + 16) * @bucket), 40, 5
    assert Forecast.follow(followed, history(days, policy)) == followed
  end

  test "a forecast looks as far ahead as a worker needs to start" do
    early = policy(lead: 20 * 60_000)
    history = history(days(4, 0.02, 1), early)
    # Half an hour and a quarter of an hour before it gets busy.
    [far, near] =
      for minutes <- [30, 15],
          do: Forecast.needs(Forecast.review(history, early), (4 * @day + 16) * @bucket - minutes * 60_000)

    assert_in_delta far, 8, 2
    assert_in_delta near, 40, 4
  end

  test "the same history gives the same forecast" do
    policy = policy()
    history = history(days(4, 0.1, 9), policy)
    assert Forecast.review(history, policy) == Forecast.review(history, policy)
  end

  describe "a history" do
    test "is bounded" do
      policy = policy(seasons: 3)
      history = history(days(10, 0.1, 1), policy)
      assert length(history.closed) in (3 * @day)..(3 * @day + 1)
    end

    test "outlives its scaler as a plain value" do
      policy = policy()
      history = history(days(3, 0.1, 1), policy)

      assert history |> :erlang.term_to_binary() |> :erlang.binary_to_term() |> Forecast.review(policy) ==
               Forecast.review(history, policy)
    end

    test "takes nothing from before its open bucket, and any clock" do
      policy = policy()
      history = Enum.reduce([-600_001, -300_000, -900_000, 1], History.new(policy.forecast), &History.record(&2, &1, 5))

      assert History.values(history) == {-3, [5.0, nil, 5.0] |> List.delete(nil)} or
               History.values(history) == {-3, [5.0, nil, 5.0]}
    end
  end
end

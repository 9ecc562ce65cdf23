# Envoy's documented fields, one after the other, on the core of the Elixir engine, with a clock that is a number. The native engine's
# are asked the same by `rust_tests/tests/pool_ejection.rs`.
defmodule Kantoku.Engine.PoolEjectionCoreTest do
  use ExUnit.Case, async: true

  alias Kantoku.Engine.Elixir.Pool.{Core, Ejection, Report, SlowStart, Standing, Ticket, Toll, Workers}
  alias Kantoku.TestPool

  @ms 1_000_000
  @s 1_000 * @ms

  # Workers are named by their numbers.
  defp pool(workers, ejection \\ [], opts \\ []) do
    opts = [strategy: :round_robin, max_ongoing: 4, ejection: TestPool.ejection(ejection)] ++ opts
    config = TestPool.config(Keyword.merge([healthy_panic_threshold: 50], opts))
    start = %{first: 0, random: :rand.seed_s(:exsss, {1, 2, 3}), alive?: fn _pid -> true end}
    state = Core.new(:pool, :foreman, config, start, 0)
    Process.put(:now, 0)
    for member <- 0..(workers - 1), reduce: state, do: (state -> done(Core.join(state, member, member, 0)))
  end

  defp done({_answer, effects, state}) do
    told = for {:send, :foreman, {:kantoku_pool, :pool, what}} <- effects, do: what
    Process.put(:told, Process.get(:told, []) ++ told)
    state
  end

  defp told, do: Process.delete(:told) || []

  # So many requests of a worker, each of so long.
  defp work(state, worker, count, outcome, took \\ 0) do
    for _ <- 1..count//1, reduce: state do
      state ->
        now = Process.get(:now)

        ticket = %Ticket{
          kind: :checkout,
          owner: :me,
          tag: :tag,
          request: nil,
          tenant: nil,
          priority: 1,
          cost: 1,
          wait: 0,
          route: {:worker, worker}
        }

        {{:granted, number, ^worker}, _effects, state} = Core.request(state, ticket, now)
        done(Core.checkin(state, :me, number, outcome, now + took))
    end
  end

  defp pass(state, time) do
    Process.put(:now, Process.get(:now) + time)
    done(Core.tick(state, Process.get(:now)))
  end

  defp of(state, member), do: List.keyfind(Standing.list(state, Process.get(:now)), member, 0)
  defp cause(state, member), do: with({_, _, cause, _, _, _, _} <- of(state, member), do: cause)
  defp left(state, member), do: with({_, _, _, _, left, _, _} <- of(state, member), do: left)

  defp rates(state, others, count, failures) do
    state = for member <- 0..(others - 1), reduce: state, do: (state -> work(state, member, count, :ok))
    state |> work(others, count - failures, :ok) |> work(others, failures, :error) |> pass(10 * @s)
  end

  defp latencies(ejection, usual, other) do
    state = for member <- 0..3, reduce: pool(5, ejection), do: (state -> work(state, member, 10, :ok, usual))
    state |> work(4, 9, :ok, other) |> work(4, 1, :ok, other) |> pass(10 * @s)
  end

  describe "consecutive_5xx, here consecutive_failures" do
    test "is 5, in a row" do
      state = pool(10) |> work(3, 4, :error) |> work(3, 1, :ok) |> work(3, 4, :error)
      assert of(state, 3) == nil
      state = work(state, 3, 1, :error)
      assert {cause(state, 3), left(state, 3)} == {{:consecutive_failures, 5}, 30_000}
      assert told() == [{:ejected, 3, 3}]
    end

    test "of 0 is never reached" do
      assert pool(10, consecutive_failures: 0) |> work(0, 50, :error) |> of(0) == nil
    end
  end

  describe "success_rate_stdev_factor, _minimum_hosts and _request_volume" do
    test "1900 is 1.9 deviations below the mean, as Envoy documents its own" do
      state = pool(10, consecutive_failures: 0) |> rates(9, 100, 20)
      assert cause(state, 9) == {:success_rate, 800_000, 866_000, 10}
      assert pool(5, consecutive_failures: 0) |> rates(4, 100, 20) |> cause(4) == {:success_rate, 800_000, 808_000, 5}
    end

    test "a bigger factor, fewer workers or fewer requests eject nobody" do
      off = [consecutive_failures: 0]
      assert pool(5, [success_rate_stdev_factor: 2_001] ++ off) |> rates(4, 100, 20) |> of(4) == nil
      assert pool(10, [success_rate_stdev_factor: 0] ++ off) |> rates(9, 100, 100) |> of(9) == nil
      assert pool(4, off) |> rates(3, 100, 100) |> of(3) == nil
      assert pool(10, off) |> rates(9, 99, 99) |> of(9) == nil
    end
  end

  describe "latency_multiple, _floor, _minimum_hosts and _request_volume" do
    test "who takes six times as long as the median is ejected, not who was slow once" do
      assert {:latency, mean, median, 5} = [] |> latencies(100 * @ms, 600 * @ms) |> cause(4)
      assert mean in 590_000..610_000 and median in 99_000..101_000

      once = for member <- 0..4, reduce: pool(5), do: (state -> work(state, member, 9, :ok, 100 * @ms))
      once = for member <- 0..3, reduce: once, do: (state -> work(state, member, 1, :ok, 100 * @ms))
      assert once |> work(4, 1, :ok, 3_600 * @s) |> pass(10 * @s) |> of(4) == nil
    end

    test "within any limit nobody is" do
      assert [] |> latencies(@ms, 99 * @ms) |> of(4) == nil
      assert [] |> latencies(100 * @ms, 450 * @ms) |> of(4) == nil

      for off <- [[latency_multiple: 0], [latency_request_volume: 11], [latency_minimum_hosts: 6]],
          do: assert(off |> latencies(100 * @ms, @s) |> of(4) == nil)
    end
  end

  test "base_ejection_time is times the ejections, max_ejection_time the most; healthy intervals take one back each" do
    state =
      for expected <- [30_000, 60_000, 80_000, 80_000], reduce: pool(10, max_ejection_time: 80_000) do
        state ->
          state = work(state, 0, 5, :error)
          assert left(state, 0) == expected
          state = pass(state, expected * @ms)
          assert told() == [{:ejected, 0, 0}, {:returned, 0}]
          state
      end

    state = for _ <- 1..3, reduce: state, do: (state -> pass(state, 10 * @s))
    assert state |> work(0, 5, :error) |> left(0) == 60_000
    assert Ejection.length(TestPool.ejection(max_ejection_time: 1), 1) == 30_000
  end

  test "max_ejection_time_jitter is added at random" do
    lengths =
      for seed <- 1..10 do
        state = pool(10, max_ejection_time_jitter: 10_000)
        state = %{state | workers: %{state.workers | random: :rand.seed_s(:exsss, seed)}}
        state |> work(0, 5, :error) |> left(0)
      end

    assert Enum.all?(lengths, &(&1 in 30_000..40_000)) and Enum.uniq(lengths) != [hd(lengths)]
  end

  test "max_ejection_percent is the most, but one may be, and one alone never" do
    for {workers, percent, most} <- [{1, 100, 0}, {2, 10, 1}, {9, 10, 1}, {20, 10, 2}, {29, 10, 2}, {10, 50, 5}] do
      state = pool(workers, [max_ejection_percent: percent], healthy_panic_threshold: 0)
      state = for member <- 0..(workers - 1), reduce: state, do: (state -> work(state, member, 5, :error))
      assert %{ejected: ^most, held_back: held_back} = Report.status(state)
      assert held_back == workers - most
    end
  end

  test "enforcing_* of 0, here enforced: false, only tells" do
    state = pool(10, enforced: false) |> work(0, 5, :error)
    assert %{ejected: 0, ready: 10} = Report.status(state)
    assert {0, :observed, _, _, 30_000, 1, 100} = of(state, 0)
    pass(state, 30 * @s)
    assert told() == [{:ejected, 0, 0}, {:returned, 0}]
  end

  test "healthy_panic_threshold: below it, and not at it, all are given work" do
    state = pool(4)
    shut = fn state, worker -> done(Core.shut(state, worker, 0)) end
    state = state |> shut.(0) |> shut.(1)
    assert %{ready: 2, panic: 0} = Report.status(state)
    state = shut.(state, 2)
    assert {%{ready: 4, panic: 1}, [{:panic, true}]} = {Report.status(state), told()}
    assert %{ready: 2, panic: 0} = state |> Core.join(0, 0, 0) |> done() |> Report.status()
  end

  test "slow_start_window and min_weight_percent: the time by the window, and never less than the least" do
    rule = %{slow_start_window: 10_000, min_weight_percent: 10, fresh: false}
    workers = %{Workers.new(TestPool.config(slow_start: rule), :rand.seed_s(:exsss, 1)) | workers: %{}}
    part = fn ms -> SlowStart.part(workers, %{grows: 0}, ms * @ms) end

    assert for(ms <- [0, 999, 1_000, 5_000, 9_999, 10_000, 11_000], do: part.(ms)) == [
             0.1,
             0.1,
             0.1,
             0.5,
             0.9999,
             1.0,
             1.0
           ]
  end

  test "a mean of times is within 6 percent of the geometric one" do
    for {times, expected} <- [{[1_000], 1}, {[1_000, 1_000_000, 1_000_000_000], 1_000}, {[3_000_000, 5_000_000], 3_873}] do
      toll = Enum.reduce(times, %Toll{}, &Toll.took(&2, &1))
      assert_in_delta Toll.mean(toll), expected, expected * 0.06
    end
  end
end

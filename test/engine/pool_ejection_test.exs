import Kantoku.EachEngine

alias Kantoku.TestPool

each_engine Kantoku.Engine.PoolEjectionTest do
  import TestPool, only: [hear: 1]

  defp open(members, opts) do
    ejection = with opts when is_list(opts) <- Keyword.get(opts, :ejection, []), do: TestPool.ejection(opts)
    opts = Keyword.merge([max_ongoing: 4, healthy_panic_threshold: 50], Keyword.put(opts, :ejection, ejection))
    pool = TestPool.open(@engine, opts)
    {pool, for(member <- members, do: TestPool.worker(pool, member))}
  end

  # So many requests of one worker end so.
  defp work(pool, pid, count, outcome) do
    for _ <- 1..count do
      {:granted, ticket, ^pid} = TestPool.checkout(pool, :work, route: pid)
      :ok = TestPool.checkin(pool, ticket, outcome)
    end
  end

  defp state(pool, member), do: pool |> TestPool.workers() |> List.keyfind!(member, 1) |> elem(2)

  test "failures in a row eject at once, and the foreman hears of it" do
    {pool, [zero | _]} = open(0..9, max_ongoing: 10)
    work(pool, zero, 4, :error)
    work(pool, zero, 1, :ok)
    work(pool, zero, 4, :abandoned)
    assert TestPool.ejections(pool) == []
    work(pool, zero, 1, :error)
    hear({:kantoku_pool, :pool, {:ejected, ^zero, 0}})
    assert [{0, :ejected, {:consecutive_failures, 5}, since, left, 1, 100}] = TestPool.ejections(pool)
    assert since < 30_000 and left in 1..30_000
    assert state(pool, 0) == :ejected
    assert %{ejected: 1, ready: 9, workers: 10, panic: 0, free: 90} = TestPool.status(pool)
  end

  test "a call that is given up has failed, and its late answer is none; a reply is a success" do
    {pool, [zero, _one]} = open(0..1, ejection: [consecutive_failures: 2], max_ongoing: 1)

    give_up = fn ->
      {:sent, ticket, ^zero} = TestPool.call(pool, :given_up, route: zero)
      :abandoned = TestPool.cancel(pool, ticket)
      :ok = TestPool.answered(pool, ticket)
    end

    give_up.()
    work(pool, zero, 1, :ok)
    give_up.()
    assert TestPool.ejections(pool) == []
    give_up.()
    assert [{0, :ejected, {:consecutive_failures, 2}, _, _, 1, 100}] = TestPool.ejections(pool)
  end

  test "who is ejected finishes what it has, and its permits are free when it is let in" do
    {pool, [zero, one]} = open(0..1, max_ongoing: 1)
    {:granted, held, ^zero} = TestPool.checkout(pool, :held, route: zero)
    :ok = TestPool.eject(pool, 0, :infinity)
    {:granted, _, ^one} = TestPool.checkout(pool, :other)
    {:queued, _} = TestPool.call(pool, :waits)
    :ok = TestPool.checkin(pool, held)
    assert %{queue: 1, free: 0, ongoing: 1} = TestPool.status(pool)
    assert TestPool.readmit(pool, 0) == :ok
    hear({:at, ^zero, {:"$gen_call", _from, :waits}})
    assert TestPool.readmit(pool, 0) == :none
    assert TestPool.eject(pool, 7, 10) == :none
  end

  test "a successor inherits; of who is told to leave nothing is kept" do
    {pool, [zero | _]} = open(0..3, [])
    :ok = TestPool.eject(pool, 0, :infinity)
    Process.exit(zero, :kill)
    hear({:kantoku_pool, :pool, {:down, ^zero}})
    heir = TestPool.worker(pool, 0)
    assert state(pool, 0) == :ejected
    :ok = TestPool.leave(pool, heir)
    TestPool.worker(pool, 0)
    assert {state(pool, 0), TestPool.ejections(pool)} == {:ready, []}
  end

  test "a death is a failure of each request that somebody waits for" do
    {pool, [zero | _]} = open(0..3, ejection: [consecutive_failures: 3])
    for n <- 1..2, do: {:sent, _, ^zero} = TestPool.call(pool, n, route: zero)
    {:granted, _, ^zero} = TestPool.checkout(pool, :held, route: zero)
    Process.exit(zero, :kill)
    hear({:kantoku_pool, :pool, {:down, ^zero}})
    TestPool.worker(pool, 0)
    assert [{0, :ejected, {:consecutive_failures, 3}, _, _, 1, 100}] = TestPool.ejections(pool)
  end

  test "the end of its time is seen by a tick, and other rules let in who was ejected by them" do
    {pool, [zero, one]} = open(0..1, ejection: [base_ejection_time: 1, max_ejection_percent: 100])
    work(pool, zero, 5, :error)
    TestPool.ticking(pool, fn -> state(pool, 0) == :ready end)
    hear({:kantoku_pool, :pool, {:returned, 0}})

    :ok = TestPool.reopen(pool, ejection: TestPool.ejection(), max_ongoing: 4)
    work(pool, zero, 5, :error)
    work(pool, one, 5, :error)
    assert %{ejected: 1, held_back: 1} = TestPool.status(pool)
    :ok = TestPool.reopen(pool, ejection: nil, max_ongoing: 4)
    assert %{ejected: 0, ready: 2} = TestPool.status(pool)
  end

  test "where it is only observed the worker works" do
    {pool, [zero | _]} = open(0..3, ejection: [enforced: false])
    work(pool, zero, 5, :error)
    assert [{0, :observed, {:consecutive_failures, 5}, _, _, 1, 100}] = TestPool.ejections(pool)
    assert %{ejected: 0, ready: 4} = TestPool.status(pool)
    work(pool, zero, 1, :ok)
  end

  test "rates are compared when an interval is over" do
    {pool, workers} = open(0..9, ejection: [interval: 1, success_rate_request_volume: 10, consecutive_failures: 0])

    # Within one interval, as none ends without a tick.
    for pid <- tl(workers), do: work(pool, pid, 10, :ok)
    work(pool, hd(workers), 8, :ok)
    work(pool, hd(workers), 2, :error)
    TestPool.ticking(pool, fn -> state(pool, 0) == :ejected end)

    assert [{0, :ejected, {:success_rate, 800_000, 866_000, 10}, _, _, 1, 100}] = TestPool.ejections(pool)
  end

  test "under the threshold all that live are given work, and a probe is obeyed again after it" do
    {pool, workers} = open(0..3, max_ongoing: 1)
    [zero, one, two, _three] = workers
    for pid <- [zero, one], do: :ok = TestPool.shut(pool, pid)
    assert %{ready: 2, not_ready: 2, panic: 0} = TestPool.status(pool)
    assert state(pool, 0) == :not_ready
    :ok = TestPool.eject(pool, 2, :infinity)
    hear({:kantoku_pool, :pool, {:panic, true}})
    assert %{ready: 4, ejected: 1, panic: 1} = TestPool.status(pool)
    taken = for _ <- 1..4, do: {:granted, _, _} = TestPool.checkout(pool, :taken)
    assert taken |> Enum.map(&elem(&1, 2)) |> Enum.sort() == Enum.sort(workers)
    for {:granted, ticket, _} <- taken, do: :ok = TestPool.checkin(pool, ticket)

    Process.exit(two, :kill)
    hear({:kantoku_pool, :pool, {:down, ^two}})
    assert TestPool.status(pool).panic == 1
    :ok = TestPool.join(pool, zero, 0)
    hear({:kantoku_pool, :pool, {:panic, false}})
    assert %{ready: 2, workers: 3} = TestPool.status(pool)
    assert TestPool.shut(pool, self()) == :none
  end

  test "a panic serves who waits, whatever brought it" do
    {pool, [zero, one]} = open(0..1, max_ongoing: 1, healthy_panic_threshold: 60)
    {:granted, _, ^one} = TestPool.checkout(pool, :other, route: one)
    {:granted, held, ^zero} = TestPool.checkout(pool, :held, route: zero)
    {:queued, _} = TestPool.call(pool, :waits)
    :ok = TestPool.reopen(pool, healthy_panic_threshold: 0)
    :ok = TestPool.shut(pool, zero)
    :ok = TestPool.checkin(pool, held)
    assert TestPool.status(pool).queue == 1
    :ok = TestPool.reopen(pool, healthy_panic_threshold: 60)
    hear({:at, ^zero, {:"$gen_call", _from, :waits}})
  end

  test "one alone is never ejected by what is counted, nor given work that its probe forbids" do
    {pool, [only]} = open([0], max_ongoing: 1)
    work(pool, only, 9, :error)
    assert %{ejected: 0, held_back: 5} = TestPool.status(pool)
    :ok = TestPool.shut(pool, only)
    assert {:error, :queue_full, _} = TestPool.checkout(pool, :none, wait: 0)
  end

  for strategy <- [:round_robin, :random, :least_loaded, :power_of_two, :peak_ewma, :lifo] do
    test "a worker comes back with a part of its share under #{strategy}, and nobody waits for that" do
      slow = %{slow_start_window: 3_600_000, min_weight_percent: 20, fresh: false}
      # A machine that halts in the middle makes a worker look slow, which is forgotten after a moment.
      options = [strategy: unquote(strategy), slow_start: slow, max_ongoing: 1, decay_time: 1]
      {pool, [zero | _]} = open(0..3, options)
      :ok = TestPool.eject(pool, 0, :infinity)
      :ok = TestPool.readmit(pool, 0)
      assert [{0, :growing, :by_hand, _, nil, 0, 20}] = TestPool.ejections(pool)

      taken =
        for _ <- 1..1_000 do
          {:granted, ticket, pid} = TestPool.checkout(pool, :taken)
          :ok = TestPool.checkin(pool, ticket)
          pid
        end

      # A fifth of a quarter, with some room for chance; under lifo a fifth of all, until another has become free later.
      assert Enum.count(taken, &(&1 == zero)) in if(unquote(strategy) == :lifo, do: 0..300, else: 8..150)
      all = for _ <- 1..4, do: {:granted, _, _} = TestPool.checkout(pool, :taken)
      assert length(all) == 4
    end
  end

  test "a fresh worker begins with a part where that is wanted, and its time is over at a tick" do
    slow = %{slow_start_window: 1, min_weight_percent: 10, fresh: true}
    {pool, _workers} = open(0..3, slow_start: slow)
    TestPool.ticking(pool, fn -> TestPool.status(pool).growing == 0 end)
    {pool, _workers} = open(0..3, slow_start: %{slow | fresh: false})
    assert TestPool.status(pool).growing == 0
  end

  test "rules of another shape are ArgumentErrors" do
    {pool, _workers} = open([], [])

    bad = [
      [ejection: true],
      [ejection: TestPool.ejection(enforced: 1)],
      [ejection: TestPool.ejection(interval: 0)],
      [ejection: TestPool.ejection(max_ejection_percent: 101)],
      [ejection: Map.delete(TestPool.ejection(), :latency_floor)],
      [slow_start: %{slow_start_window: 0, min_weight_percent: 10, fresh: true}],
      [slow_start: %{slow_start_window: 1, min_weight_percent: 0, fresh: true}],
      [healthy_panic_threshold: 101],
      [healthy_panic_threshold: nil]
    ]

    for changes <- bad, do: assert_raise(ArgumentError, fn -> TestPool.reopen(pool, changes) end)
    assert_raise ArgumentError, fn -> TestPool.shut(pool, :worker) end
    assert_raise ArgumentError, fn -> TestPool.eject(pool, -1, 1) end
    assert_raise ArgumentError, fn -> TestPool.eject(pool, 0, 0) end
    assert_raise ArgumentError, fn -> TestPool.readmit(pool, :worker) end
  end
end

import Kantoku.EachEngine

alias Kantoku.{TestOwner, TestPool}

each_engine Kantoku.Engine.PoolCreditsTest do
  import TestPool, only: [hear: 1]

  setup context, do: %{pool: TestPool.open(@engine, Map.get(context, :pool, codel: false, max_queue: 10))}

  describe "the room of a tenant" do
    test "is what is free, and its share of the queue", %{pool: pool} do
      assert TestPool.room(pool) == 0
      for member <- 0..2, do: TestPool.worker(pool, member)
      assert TestPool.room(pool) == 13
      for n <- 1..4, do: TestPool.call(pool, n, tenant: :a)
      # One of them waits, and is one of two tenants.
      assert {TestPool.room(pool, :a), TestPool.room(pool, :b)} == {9, 5}
      TestPool.reopen(pool, codel: false, max_queue: 12, weights: [b: 3])
      assert {TestPool.room(pool, :a), TestPool.room(pool, :b), TestPool.room(pool, :c)} == {11, 9, 6}
    end

    @tag pool: [queue_target: 100, max_queue: 1_000]
    test "is as much of the queue as is cleared in time", %{pool: pool} do
      TestPool.worker(pool, 0)
      # Nobody knows yet how long a request takes.
      assert TestPool.room(pool) == 2
      {:sent, one, _} = TestPool.call(pool, :one)
      {:queued, _} = TestPool.call(pool, :two)
      Process.sleep(30)
      :ok = TestPool.checkin(pool, one)
      assert TestPool.room(pool) in 0..3
      TestPool.reopen(pool, queue_target: 1_000_000, max_queue: 5)
      assert TestPool.room(pool) == 5
    end

    @tag pool: [codel: false, quotas: [{:each, :tokens, 60, 10}, {:pool, :requests, 60, 4}]]
    test "is no more than quotas let pass", %{pool: pool} do
      TestPool.worker(pool, 0)
      assert {TestPool.room(pool, :a, 1), TestPool.room(pool, :a, 3), TestPool.room(pool, :a, 99)} == {4, 3, 1}
      {:sent, _, _} = TestPool.call(pool, :one, tenant: :a, cost: 10)
      assert {TestPool.room(pool, :a), TestPool.room(pool, :b)} == {0, 3}
      2 = TestPool.deal(pool, TestPool.lend(pool, :b, tenant: :b), :ask, 2)
      assert TestPool.room(pool, :c) == 1
    end

    test "is none while the pool drains, or is closed", %{pool: pool} do
      TestPool.worker(pool, 0)
      TestPool.reopen(pool, codel: false, draining: true)
      assert TestPool.room(pool) == 0
      TestPool.close(pool)
      assert TestPool.room(pool) == :unknown
    end

    @tag pool: [queue_target: 1, queue_interval: 20]
    test "is none under overload", %{pool: pool} do
      TestPool.worker(pool, 0)
      {:sent, first, _} = TestPool.call(pool, :first)
      {:queued, _} = TestPool.call(pool, :second)
      TestPool.ticking(pool, fn -> TestPool.status(pool).overloaded == 1 end)
      :ok = TestPool.checkin(pool, first)
      assert TestPool.room(pool) == 0
    end

    test "raises for what is none", %{pool: pool} do
      for {tenant, cost} <- [{1.5, 1}, {nil, 0}, {nil, :one}] do
        assert_raise ArgumentError, fn -> TestPool.room(pool, tenant, cost) end
      end
    end

    test "does not count workers that leave", %{pool: pool} do
      [one, _two] = for member <- 0..1, do: TestPool.worker(pool, member)
      {:sent, _, _} = TestPool.call(pool, :one)
      {:sent, _, _} = TestPool.call(pool, :two)
      :ok = TestPool.leave(pool, one)
      assert TestPool.room(pool) == 10
      {:queued, _} = TestPool.call(pool, :three)
      assert TestPool.room(pool) == 9
      :ok = TestPool.join(pool, one, 0)
      assert TestPool.room(pool) == 9
    end
  end

  describe "credits" do
    @tag pool: [max_queue: 0]
    test "are granted as there is room, at once or later", %{pool: pool} do
      worker = TestPool.worker(pool, 0)
      loan = TestPool.lend(pool, :mine)
      assert TestPool.deal(pool, loan, :ask, 3) == 1
      assert %{credits: 1, wishes: 1} = TestPool.status(pool)
      assert TestPool.room(pool) == 0
      assert TestPool.deal(pool, loan, :take, 1) == 1
      {:sent, one, ^worker} = TestPool.call(pool, :one)
      refute_received {:kantoku_pool, :mine, _}
      :ok = TestPool.checkin(pool, one)
      hear({:kantoku_pool, :mine, {:credits, 1}})
      TestPool.worker(pool, 1)
      hear({:kantoku_pool, :mine, {:credits, 1}})
      assert %{credits: 2, wishes: 0} = TestPool.status(pool)
      TestPool.worker(pool, 2)
      assert TestPool.room(pool) == 1
      assert TestPool.deal(pool, loan, :take, 9) == 2
      assert TestPool.deal(pool, loan, :take, 9) == 0
    end

    @tag pool: [max_queue: 0]
    test "go to all who wish, in turn", %{pool: pool} do
      loans = for n <- 1..3, do: {n, TestPool.lend(pool, n)}
      for {_n, loan} <- loans, do: 0 = TestPool.deal(pool, loan, :ask, 10)
      for member <- 0..5, do: TestPool.worker(pool, member)
      for _ <- 1..2, n <- 1..3, do: hear({:kantoku_pool, ^n, {:credits, 1}})
      TestPool.reopen(pool, max_queue: 0, max_ongoing: 3)
      for n <- 1..3, do: hear({:kantoku_pool, ^n, {:credits, 4}})
      assert TestPool.status(pool).credits == 18
    end

    @tag pool: [max_queue: 0]
    test "go back when they are given back, or their loan is closed", %{pool: pool} do
      for member <- 0..3, do: TestPool.worker(pool, member)
      [one, two] = for n <- 1..2, do: TestPool.lend(pool, n)
      4 = TestPool.deal(pool, one, :ask, 4)
      0 = TestPool.deal(pool, two, :ask, 4)
      assert TestPool.deal(pool, one, :give_back, 1) == 1
      hear({:kantoku_pool, 2, {:credits, 1}})
      assert TestPool.deal(pool, one, :close) == 3
      hear({:kantoku_pool, 2, {:credits, 3}})
      for dealing <- [:ask, :take, :give_back, :close], do: assert(TestPool.deal(pool, one, dealing, 1) == :gone)
    end

    @tag pool: [max_queue: 0]
    test "lapse when they are not taken in time, and others get them at a tick", %{pool: pool} do
      TestPool.worker(pool, 0)
      [one, two] = for {n, ttl} <- [{1, 20}, {2, 60_000}], do: TestPool.lend(pool, n, ttl: ttl)
      1 = TestPool.deal(pool, one, :ask, 1)
      0 = TestPool.deal(pool, two, :ask, 1)

      TestPool.ticking(pool, fn -> TestPool.status(pool).wishes == 0 end)
      hear({:kantoku_pool, 2, {:credits, 1}})
      assert {TestPool.deal(pool, one, :take, 1), TestPool.deal(pool, two, :take, 1)} == {0, 1}
    end

    @tag pool: [max_queue: 0]
    test "go back when their holder dies", %{pool: pool} do
      TestPool.worker(pool, 0)
      holder = TestOwner.start()
      loan = TestOwner.run(holder, fn -> TestPool.lend(pool, :theirs) end)
      1 = TestOwner.run(holder, fn -> TestPool.deal(pool, loan, :ask, 5) end)
      for dealing <- [:ask, :give_back, :close], do: {:error, :foreign} = TestPool.deal(pool, loan, dealing, 1)
      mine = TestPool.lend(pool, :mine)
      0 = TestPool.deal(pool, mine, :ask, 1)
      TestOwner.kill(holder)
      TestPool.ticking(pool, fn -> match?(%{wishes: 0, credits: 1}, TestPool.status(pool)) end)
      hear({:kantoku_pool, :mine, {:credits, 1}})
      assert TestPool.deal(pool, loan, :take, 1) == :gone
    end

    test "are for nobody in a pool that is closed, who is told", %{pool: pool} do
      [wishes, idle] = for n <- [:wishes, :idle], do: TestPool.lend(pool, n)
      0 = TestPool.deal(pool, wishes, :ask, 1)
      TestPool.close(pool)
      hear({:kantoku_pool, :wishes, {:refused, :closed, 0}})
      refute_received {:kantoku_pool, :idle, _}
      assert TestPool.deal(pool, idle, :ask, 1) == :unknown
    end

    @tag pool: [max_queue: 0, quotas: [{:pool, :requests, 6_000, 1}]]
    test "come with what quotas let through, at ticks", %{pool: pool} do
      for member <- 0..9, do: TestPool.worker(pool, member)
      loan = TestPool.lend(pool, :mine)
      1 = TestPool.deal(pool, loan, :ask, 2)
      1 = TestPool.deal(pool, loan, :take, 1)
      {:sent, _, _} = TestPool.call(pool, :one)
      TestPool.ticking(pool, fn -> TestPool.status(pool).wishes == 0 end)
      hear({:kantoku_pool, :mine, {:credits, 1}})
    end

    test "are asked for in words that are known", %{pool: pool} do
      loan = TestPool.lend(pool, :mine)

      for {dealing, count} <- [{:steal, 1}, {:ask, -1}, {:ask, 0x100000000}, {"ask", 1}] do
        assert_raise ArgumentError, fn -> TestPool.deal(pool, loan, dealing, count) end
      end

      for terms <- [[ttl: 0], [cost: 0], [tenant: {:a}]] do
        assert_raise ArgumentError, fn -> TestPool.lend(pool, :other, terms) end
      end
    end
  end
end

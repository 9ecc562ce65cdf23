import Kantoku.EachEngine

alias Kantoku.{Engine, TestOwner, TestPool}
alias Kantoku.Engine.Pools

each_engine Kantoku.Engine.PoolTest do
  import TestPool, only: [hear: 1]

  describe "a pool" do
    test "is unknown before it is opened and after it was closed" do
      pool = TestPool.open(@engine)
      worker = TestPool.worker(pool, 0)
      assert TestPool.close(pool) == :ok

      for unknown <- [pool, %{pool | name: :other}, %{pool | instance: :"#{pool.instance}_other"}] do
        answers = [
          TestPool.close(unknown),
          TestPool.join(unknown, worker, 0),
          TestPool.leave(unknown, worker),
          TestPool.call(unknown, :hello),
          TestPool.checkout(unknown, :tag),
          TestPool.cast(unknown, :hello),
          TestPool.checkin(unknown, 1),
          TestPool.cancel(unknown, 1),
          TestPool.answered(unknown, 1),
          TestPool.abandoned(unknown),
          TestPool.tick(unknown),
          TestPool.status(unknown),
          TestPool.workers(unknown)
        ]

        assert Enum.uniq(answers) == [:unknown]
      end
    end

    test "is unknown where its instance is not open" do
      pool = TestPool.open(@engine)
      assert TestPool.reopen(%{pool | instance: :"#{pool.instance}_other"}, []) == :unknown
      :ok = Engine.close(pool.instance)
      assert TestPool.reopen(pool, []) == :unknown
      assert TestPool.status(pool) == :unknown
    end

    test "has nothing to do with one of other name" do
      pool = TestPool.open(@engine)
      other = %{pool | name: :other}
      :ok = TestPool.reopen(other, [])
      worker = TestPool.worker(pool, 0)
      assert {:sent, _ticket, ^worker} = TestPool.call(pool, :one)
      assert {:queued, _ticket} = TestPool.call(other, :two)
      assert {0, 1} = {TestPool.status(pool).queue, TestPool.status(other).queue}
    end

    test "ends with its instance, and who waits is told" do
      pool = TestPool.open(@engine)
      worker = TestPool.worker(pool, 0)
      {:sent, _ticket, ^worker} = TestPool.call(pool, :served)
      {:queued, _ticket} = TestPool.call(pool, :waiting)
      Engine.close(pool.instance)
      hear({:kantoku_pool, :served, {:refused, :closed, 0}})
      hear({:kantoku_pool, :waiting, {:refused, :closed, 0}})
    end

    test "starts anew where an instance of the same name does" do
      pool = TestPool.open(@engine)
      TestPool.worker(pool, 0)
      Engine.close(pool.instance)
      :ok = Engine.open(pool.instance, :unique, 1, [], @engine)
      assert TestPool.status(pool) == :unknown
      assert TestPool.reopen(pool, []) == :ok
      assert TestPool.workers(pool) == []
    end

    test "refuses on closing who waits, and whose call a worker has; check-outs and casts are not told" do
      pool = TestPool.open(@engine, max_ongoing: 3)
      TestPool.worker(pool, 0)
      {:sent, _, _} = TestPool.call(pool, :served)
      {:granted, ticket, _} = TestPool.checkout(pool, :held)
      {:sent, _} = TestPool.cast(pool, :cast)
      {:queued, _} = TestPool.call(pool, :waits)
      {:queued, _} = TestPool.checkout(pool, :waits_too)
      :queued = TestPool.cast(pool, :cast)
      assert TestPool.close(pool) == :ok
      for tag <- [:served, :waits, :waits_too], do: hear({:kantoku_pool, ^tag, {:refused, :closed, 0}})
      refute_received {:kantoku_pool, :held, _}
      refute_received {:kantoku_pool, :cast, _}
      assert TestPool.checkin(pool, ticket) == :unknown
    end

    test "knows nothing of the tickets of one before it" do
      pool = TestPool.open(@engine)
      TestPool.worker(pool, 0)
      {:sent, old, _} = TestPool.call(pool, :one)
      TestPool.close(pool)
      TestPool.reopen(pool, [])
      TestPool.worker(pool, 0)
      {:sent, ticket, _} = TestPool.call(pool, :two)
      assert {TestPool.checkin(pool, old), TestPool.cancel(pool, old)} == {:gone, :gone}
      assert TestPool.checkin(pool, ticket) == :ok
    end

    test "tells the foreman that it was given last" do
      pool = TestPool.open(@engine)
      worker = TestPool.worker(pool, 0)
      {:sent, ticket, _} = TestPool.call(pool, :one)
      foreman = TestPool.relay()
      assert TestPool.reopen(pool, [], foreman) == :ok
      :abandoned = TestPool.cancel(pool, ticket)
      hear({:at, ^foreman, {:kantoku_pool, :pool, {:abandoned, ^ticket, ^worker}}})
      refute_received {:kantoku_pool, :pool, {:abandoned, _, _}}
    end

    test "serves who waits when it is opened again with more permits" do
      pool = TestPool.open(@engine)
      worker = TestPool.worker(pool, 0)
      {:sent, _, _} = TestPool.call(pool, :one)
      TestPool.queue(pool, [:two, :three])
      TestPool.reopen(pool, max_ongoing: 2)
      hear({:at, ^worker, {:"$gen_call", _, :two}})
      assert %{queue: 1, ongoing: 2, free: 0} = TestPool.status(pool)
    end

    test "takes no permit away when it is opened again with fewer, and gives none until they are back" do
      pool = TestPool.open(@engine, max_ongoing: 3)
      worker = TestPool.worker(pool, 0)
      tickets = for n <- 1..3, do: pool |> TestPool.call(n) |> elem(1)
      TestPool.reopen(pool, max_ongoing: 1)
      assert %{ongoing: 3, free: 0} = TestPool.status(pool)
      {:queued, _} = TestPool.call(pool, 4)
      [one, two, three] = tickets
      for ticket <- [one, two], do: :ok = TestPool.checkin(pool, ticket)
      assert %{ongoing: 1, free: 0, queue: 1} = TestPool.status(pool)
      :ok = TestPool.checkin(pool, three)
      hear({:at, ^worker, {:"$gen_call", _, 4}})
    end

    test "that drains takes nobody in and serves those who wait" do
      pool = TestPool.open(@engine)
      worker = TestPool.worker(pool, 0)
      {:sent, ticket, _} = TestPool.call(pool, :one)
      waiting = TestPool.queue(pool, [:two])
      TestPool.reopen(pool, draining: true)
      assert TestPool.call(pool, :three) == {:error, :draining, 0}
      assert TestPool.checkout(pool, :three) == {:error, :draining, 0}
      assert TestPool.cast(pool, :three) == {:error, :draining, 0}
      :ok = TestPool.checkin(pool, ticket)
      hear({:at, ^worker, {:"$gen_call", _, :one}})
      assert TestPool.serve(pool, worker, waiting) == [:two]
      assert TestPool.call(pool, :four) == {:error, :draining, 0}
      TestPool.reopen(pool, [])
      assert {:sent, _, ^worker} = TestPool.call(pool, :five)
    end
  end

  describe "a worker" do
    test "that is dead cannot join" do
      pool = TestPool.open(@engine)
      worker = TestPool.relay()
      TestOwner.kill(worker)
      assert TestPool.join(pool, worker, 0) == {:error, :noproc}
      assert TestPool.workers(pool) == []
    end

    test "that joins serves those who wait" do
      pool = TestPool.open(@engine)
      {:queued, ticket} = TestPool.call(pool, :one)
      assert %{workers: 0, free: 0, queue: 1} = TestPool.status(pool)
      worker = TestPool.worker(pool, 0)
      hear({:at, ^worker, {:"$gen_call", _, :one}})
      assert TestPool.checkin(pool, ticket) == :ok
    end

    test "that joins twice is there once" do
      pool = TestPool.open(@engine)
      worker = TestPool.worker(pool, 3)
      assert TestPool.join(pool, worker, 3) == :ok
      assert [{^worker, 3, :ready, 0, 0, 0}] = TestPool.workers(pool)
    end

    test "does not get the place of one that lives" do
      pool = TestPool.open(@engine)
      worker = TestPool.worker(pool, 0)
      assert TestPool.join(pool, TestPool.relay(), 0) == {:error, {:taken, worker}}
    end

    test "gets the place of a dead one, of whose death the foreman hears once" do
      pool = TestPool.open(@engine)
      old = TestPool.worker(pool, 0)
      TestOwner.kill(old)
      new = TestPool.worker(pool, 0)
      assert [{^new, 0, :ready, 0, 0, 0}] = TestPool.workers(pool)
      hear({:kantoku_pool, :pool, {:down, ^old}})
      TestPool.status(pool)
      refute_received {:kantoku_pool, :pool, {:down, ^old}}
    end

    test "that leaves idle has left" do
      pool = TestPool.open(@engine)
      worker = TestPool.worker(pool, 0)
      assert TestPool.leave(pool, worker) == :ok
      hear({:kantoku_pool, :pool, {:left, ^worker}})
      assert TestPool.workers(pool) == []
      assert TestPool.leave(pool, worker) == :none
      assert {:queued, _} = TestPool.call(pool, :one)
    end

    test "that leaves busy gets nothing new, and has left with its last ticket" do
      pool = TestPool.open(@engine, max_ongoing: 3)
      worker = TestPool.worker(pool, 0)
      {:sent, one, _} = TestPool.call(pool, :one)
      {:granted, two, _} = TestPool.checkout(pool, :two)
      assert TestPool.leave(pool, worker) == :ok
      assert TestPool.leave(pool, worker) == :ok
      assert {:queued, _} = TestPool.call(pool, :three)
      assert [{^worker, 0, :leaving, 2, _, 2}] = TestPool.workers(pool)
      assert %{workers: 1, ready: 0, leaving: 1, free: 0, ongoing: 2} = TestPool.status(pool)
      :ok = TestPool.checkin(pool, one)
      refute_received {:kantoku_pool, :pool, {:left, _}}
      :ok = TestPool.checkin(pool, two)
      hear({:kantoku_pool, :pool, {:left, ^worker}})
      assert %{workers: 0, queue: 1} = TestPool.status(pool)
    end

    test "that leaves with an abandoned ticket has left when that is answered" do
      pool = TestPool.open(@engine)
      worker = TestPool.worker(pool, 0)
      {:sent, ticket, _} = TestPool.call(pool, :one)
      :abandoned = TestPool.cancel(pool, ticket)
      :ok = TestPool.leave(pool, worker)
      refute_received {:kantoku_pool, :pool, {:left, _}}
      :ok = TestPool.answered(pool, ticket)
      hear({:kantoku_pool, :pool, {:left, ^worker}})
    end

    test "that leaves and joins again takes work again" do
      pool = TestPool.open(@engine, max_ongoing: 2)
      worker = TestPool.worker(pool, 0)
      {:sent, ticket, _} = TestPool.call(pool, :one)
      :ok = TestPool.leave(pool, worker)
      {:queued, _} = TestPool.call(pool, :two)
      assert TestPool.join(pool, worker, 0) == :ok
      hear({:at, ^worker, {:"$gen_call", _, :two}})
      :ok = TestPool.checkin(pool, ticket)
      refute_received {:kantoku_pool, :pool, {:left, _}}
    end

    test "that leaves gives its place up to another, and goes on with what it has" do
      pool = TestPool.open(@engine)
      old = TestPool.worker(pool, 0)
      {:sent, ticket, _} = TestPool.call(pool, :one)
      :ok = TestPool.leave(pool, old)
      new = TestPool.worker(pool, 0)
      assert TestPool.join(pool, old, 0) == {:error, {:taken, new}}
      assert {:sent, _, ^new} = TestPool.call(pool, :two)
      assert %{workers: 2, ready: 1, leaving: 1} = TestPool.status(pool)
      :ok = TestPool.checkin(pool, ticket)
      hear({:kantoku_pool, :pool, {:left, ^old}})
      assert [{^new, 0, :busy, 1, _, 1}] = TestPool.workers(pool)
      assert TestPool.join(pool, TestPool.relay(), 0) == {:error, {:taken, new}}
    end

    test "that stays after all has its place again, whoever had it meanwhile" do
      pool = TestPool.open(@engine)
      old = TestPool.worker(pool, 0)
      {:sent, _, ^old} = TestPool.call(pool, :one)
      :ok = TestPool.leave(pool, old)
      heir = TestPool.worker(pool, 0)
      TestOwner.kill(heir)
      hear({:kantoku_pool, :pool, {:down, ^heir}})
      assert TestPool.join(pool, old, 0) == :ok
      assert TestPool.join(pool, TestPool.relay(), 0) == {:error, {:taken, old}}
    end

    test "that stays after all takes its place back from one that leaves, too" do
      pool = TestPool.open(@engine)
      old = TestPool.worker(pool, 0)
      {:sent, _, ^old} = TestPool.call(pool, :one)
      :ok = TestPool.leave(pool, old)
      heir = TestPool.worker(pool, 0)
      {:sent, _, ^heir} = TestPool.call(pool, :two)
      :ok = TestPool.leave(pool, heir)
      assert TestPool.join(pool, old, 0) == :ok
      assert TestPool.join(pool, heir, 0) == {:error, {:taken, old}}
    end

    test "that dies while it leaves is down, not left" do
      pool = TestPool.open(@engine)
      worker = TestPool.worker(pool, 0)
      {:sent, _, _} = TestPool.call(pool, :one)
      :ok = TestPool.leave(pool, worker)
      TestOwner.kill(worker)
      hear({:kantoku_pool, :pool, {:down, ^worker}})
      assert TestPool.workers(pool) == []
      refute_received {:kantoku_pool, :pool, {:left, _}}
    end

    test "is listed by member, with what it does and how it did" do
      pool = TestPool.open(@engine, max_ongoing: 2)
      [five, two] = for member <- [5, 2], do: TestPool.worker(pool, member)
      {:sent, one, ^two} = TestPool.call(pool, 1)
      {:sent, _, ^five} = TestPool.call(pool, 2)
      {:sent, _, ^two} = TestPool.call(pool, 3)
      assert [{^two, 2, :busy, 2, 0, 2}, {^five, 5, :ready, 1, 0, 1}] = TestPool.workers(pool)
      Process.sleep(2)
      :ok = TestPool.checkin(pool, one)
      assert [{^two, 2, :ready, 1, latency, 2}, {^five, 5, :ready, 1, 0, 1}] = TestPool.workers(pool)
      assert latency >= 2_000
    end
  end

  describe "arguments of another shape" do
    test "are ArgumentErrors" do
      pool = TestPool.open(@engine)
      {instance, name, config} = {pool.instance, pool.name, TestPool.config()}

      for changes <- [
            [strategy: :best],
            [max_ongoing: 0],
            [max_queue: -1],
            [queue_target: 0],
            [queue_interval: 0],
            [decay_time: :long],
            [codel: 1],
            [draining: nil],
            [direct: nil],
            [weights: [{:a, 0}]],
            [weights: [{:a, 1_000_001}]],
            [weights: [{{:a}, 1}]],
            [quotas: [{:all, :requests, 1, 1}]],
            [quotas: [{:pool, :bytes, 1, 1}]],
            [quotas: [{:pool, :requests, 0, 1}]],
            [quotas: [{{:tenant, 1.0}, :requests, 1, 1}]]
          ] do
        assert_raise ArgumentError, fn -> Pools.pool_open(instance, name, self(), TestPool.config(changes)) end
      end

      for key <- Map.keys(config) do
        assert_raise ArgumentError, fn -> Pools.pool_open(instance, name, self(), Map.delete(config, key)) end
      end

      for params <- [
            {},
            :none,
            {1.5, 1, 1, :infinity, nil},
            {String.duplicate("t", 256), 1, 1, :infinity, nil},
            {nil, 3, 1, :infinity, nil},
            {nil, 1, 0, :infinity, nil},
            {nil, 1, 1_000_001, :infinity, nil},
            {nil, 1, 1, -1, nil},
            {nil, 1, 1, :never, nil},
            {nil, 1, 1, :infinity, 0x100000000},
            {nil, 1, 1, :infinity, "key"}
          ] do
        assert_raise ArgumentError, fn -> Pools.pool_call(instance, name, :tag, :request, params) end
        assert_raise ArgumentError, fn -> Pools.pool_checkout(instance, name, :tag, params) end
        assert_raise ArgumentError, fn -> Pools.pool_cast(instance, name, :request, params) end
      end

      assert_raise ArgumentError, fn -> Pools.pool_open(instance, name, :foreman, config) end
      assert_raise ArgumentError, fn -> Pools.pool_open(instance, name, self(), []) end
      assert_raise ArgumentError, fn -> Pools.pool_join(instance, name, :worker, 0) end
      assert_raise ArgumentError, fn -> Pools.pool_join(instance, name, self(), -1) end
      assert_raise ArgumentError, fn -> Pools.pool_leave(instance, name, :worker) end
      assert_raise ArgumentError, fn -> Pools.pool_checkin(instance, name, :ticket, :ok) end
      assert_raise ArgumentError, fn -> Pools.pool_checkin(instance, name, 1, :fine) end
      assert_raise ArgumentError, fn -> Pools.pool_cancel(instance, name, -1) end
      assert_raise ArgumentError, fn -> Pools.pool_answered(instance, name, nil) end
    end
  end
end

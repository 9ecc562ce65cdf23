import Kantoku.EachEngine

alias Kantoku.{TestOwner, TestPool}
alias Kantoku.Engine.Pools

each_engine Kantoku.Engine.PoolReplyTest do
  import TestPool, only: [hear: 1]

  setup context do
    pool = TestPool.open(@engine, Map.get(context, :pool, []))
    worker = TestOwner.start()
    :ok = TestPool.join(pool, worker, 0)
    %{pool: pool, worker: worker}
  end

  defp reply(pool, worker, tag, reply),
    do: TestOwner.run(worker, fn -> Pools.pool_reply(pool.instance, pool.name, tag, reply) end)

  defp mailbox(worker), do: TestOwner.run(worker, fn -> self() |> Process.info(:messages) |> elem(1) end)

  test "a worker that answers ends the call, and who waits gets its permit in the same step", %{
    pool: pool,
    worker: worker
  } do
    me = self()
    {:sent, one, ^worker} = TestPool.call(pool, :one)
    {:queued, two} = TestPool.call(pool, :two)
    assert reply(pool, worker, :one, {:done, 1}) == :ok
    assert_received {:kantoku_pool, :one, {:reply, {:done, 1}}}
    assert {:"$gen_call", {^me, :two}, :two} = worker |> mailbox() |> List.last()
    assert %{ongoing: 1, queue: 0, served: 2} = TestPool.status(pool)
    assert TestPool.checkin(pool, one) == :gone
    assert reply(pool, worker, :two, :ok) == :ok
    assert TestPool.cancel(pool, two) == :gone
    assert_received {:kantoku_pool, :two, {:reply, :ok}}
    assert %{ongoing: 0, free: 1} = TestPool.status(pool)
  end

  test "a call that was given up is answered by nobody, and ended by its foreman alone", %{pool: pool, worker: worker} do
    {:sent, one, ^worker} = TestPool.call(pool, :one)
    assert TestPool.cancel(pool, one) == :abandoned
    {:queued, _two} = TestPool.call(pool, :two)
    assert reply(pool, worker, :one, :late) == :late
    assert %{ongoing: 1, abandoned: 1, queue: 1} = TestPool.status(pool)
    assert TestPool.answered(pool, one) == :ok
    assert %{ongoing: 1, abandoned: 0, queue: 0} = TestPool.status(pool)
    refute_received {:kantoku_pool, :one, _}
  end

  test "so is one whose caller died", %{pool: pool, worker: worker} do
    caller = TestOwner.start()
    {:sent, _one, ^worker} = TestOwner.run(caller, fn -> TestPool.call(pool, :one) end)
    TestOwner.kill(caller)
    hear({:kantoku_pool, :pool, {:abandoned, ticket, ^worker}})
    assert reply(pool, worker, :one, :late) == :late
    assert TestPool.answered(pool, ticket) == :ok
    assert %{ongoing: 0, free: 1} = TestPool.status(pool)
  end

  test "only the worker that has a call answers it, once, and by its tag", %{pool: pool, worker: worker} do
    other = TestOwner.start()
    {:sent, _one, ^worker} = TestPool.call(pool, {:tag, 1})
    assert Pools.pool_reply(pool.instance, pool.name, {:tag, 1}, :no) == :none
    :ok = TestPool.join(pool, other, 1)
    assert reply(pool, other, {:tag, 1}, :no) == :none
    assert reply(pool, worker, {:tag, 2}, :no) == :none
    assert reply(pool, worker, {:tag, 1}, :yes) == :ok
    assert reply(pool, worker, {:tag, 1}, :again) == :none
    assert_received {:kantoku_pool, {:tag, 1}, {:reply, :yes}}
    refute_received {:kantoku_pool, {:tag, 1}, _}
    assert TestPool.status(pool).free == 2
  end

  test "neither a check-out nor a cast is answered so", %{pool: pool, worker: worker} do
    {:granted, lease, ^worker} = TestPool.checkout(pool, :lent)
    assert reply(pool, worker, :lent, :no) == :none
    :ok = TestPool.checkin(pool, lease)
    {:sent, ^worker} = TestPool.cast(pool, :noted)
    assert reply(pool, worker, nil, :no) == :none
    assert %{ongoing: 1, abandoned: 1} = TestPool.status(pool)
  end

  @tag pool: [max_ongoing: 3]
  test "a shared worker answers in whatever order", %{pool: pool, worker: worker} do
    for n <- 1..3, do: {:sent, _ticket, ^worker} = TestPool.call(pool, n)

    for n <- [2, 3, 1] do
      assert reply(pool, worker, n, {:done, n}) == :ok
      assert_received {:kantoku_pool, ^n, {:reply, {:done, ^n}}}
      assert %{free: free} = TestPool.status(pool)
      assert free == %{2 => 1, 3 => 2, 1 => 3}[n]
    end
  end

  test "who is dead or too late is passed over at the hand-over, too", %{pool: pool, worker: worker} do
    {:sent, _one, ^worker} = TestPool.call(pool, :one)
    dead = TestOwner.start()
    {:queued, _} = TestOwner.run(dead, fn -> TestPool.call(pool, :dead) end)
    {:queued, _} = TestPool.call(pool, :late, wait: 1)
    {:queued, _} = TestPool.call(pool, :two)
    TestOwner.kill(dead)
    started = System.monotonic_time(:millisecond)
    TestOwner.eventually(fn -> System.monotonic_time(:millisecond) > started + 2 end)
    assert reply(pool, worker, :one, :ok) == :ok
    hear({:kantoku_pool, :late, {:refused, :deadline, 0}})
    assert {:"$gen_call", _from, :two} = worker |> mailbox() |> List.last()
    assert %{served: 2, expired: 1, cancelled: 1} = TestPool.status(pool)
  end

  test "a worker that leaves is gone with its last answer", %{pool: pool, worker: worker} do
    {:sent, _one, ^worker} = TestPool.call(pool, :one)
    :ok = TestPool.leave(pool, worker)
    {:queued, _two} = TestPool.call(pool, :two)
    assert reply(pool, worker, :one, :ok) == :ok
    hear({:kantoku_pool, :pool, {:left, ^worker}})
    assert %{workers: 0, queue: 1} = TestPool.status(pool)
  end

  test "where there is no such pool, that is said", %{pool: pool} do
    assert Pools.pool_reply(pool.instance, :none, :tag, :reply) == :unknown
    assert Pools.pool_reply(:no_instance, :pool, :tag, :reply) == :unknown
  end
end

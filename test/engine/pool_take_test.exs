import Kantoku.EachEngine

alias Kantoku.{TestOwner, TestPool}

each_engine Kantoku.Engine.PoolTakeTest do
  import TestPool, only: [hear: 1]

  # The native engine watches who asked before, and then has a short way; the other has none.
  defp known(pool) do
    {:granted, ticket, _worker} = TestPool.checkout(pool, :known)
    :ok = TestPool.checkin(pool, ticket)
  end

  test "a worker that is free is the caller's as by a check-out, or it is to be asked for" do
    pool = TestPool.open(@engine)
    worker = TestPool.worker(pool, 0)
    known(pool)

    case TestPool.take(pool) do
      [ticket | ^worker] ->
        assert %{ongoing: 1, free: 0, served: 2, arrived: 2} = TestPool.status(pool)
        assert Task.await(Task.async(fn -> TestPool.checkin(pool, ticket) end)) == {:error, :foreign}
        assert TestPool.checkin(pool, ticket) == :ok
        assert TestPool.checkin(pool, ticket) == :gone

      :ask ->
        assert to_string(@engine) == "elixir"
        assert %{ongoing: 0, arrived: 1} = TestPool.status(pool)
    end
  end

  test "who dies with a worker that it took leaves it to the foreman" do
    pool = TestPool.open(@engine)
    worker = TestPool.worker(pool, 0)
    holder = TestOwner.start()
    TestOwner.run(holder, fn -> known(pool) end)

    case TestOwner.run(holder, fn -> TestPool.take(pool) end) do
      [ticket | ^worker] ->
        Process.exit(holder, :kill)
        hear({:kantoku_pool, :pool, {:abandoned, ^ticket, ^worker}})
        assert TestPool.answered(pool, ticket) == :ok

      :ask ->
        assert to_string(@engine) == "elixir"
    end

    assert %{ongoing: 0, free: 1} = TestPool.status(pool)
  end

  test "nothing is given at once where somebody else has a say, or nothing may be had" do
    pool = TestPool.open(@engine)
    TestPool.worker(pool, 0)
    known(pool)

    for opts <- [[direct: false], [draining: true], [over_quota: true], [quotas: [{:pool, :requests, 60, 9}]]] do
      TestPool.reopen(pool, opts)
      assert TestPool.take(pool) == :ask
    end

    TestPool.reopen(pool, [])
    {:granted, _ticket, _worker} = TestPool.checkout(pool, :held)
    assert TestPool.take(pool) == :ask
    assert %{arrived: 2, refused: 0, queue: 0} = TestPool.status(pool)
  end

  test "nobody who waits is passed, and a worker found dead is given to nobody" do
    pool = TestPool.open(@engine)
    worker = TestPool.worker(pool, 0)
    {:granted, ticket, ^worker} = TestPool.checkout(pool, :held)
    {:queued, waiting} = TestPool.checkout(pool, :waits)
    :ok = TestPool.checkin(pool, ticket)
    assert TestPool.take(pool) == :ask
    hear({:kantoku_pool, :waits, {:granted, ^worker}})
    :ok = TestPool.checkin(pool, waiting)
    Process.exit(worker, :kill)
    TestOwner.eventually(fn -> not Process.alive?(worker) end)
    assert TestPool.take(pool) == :ask
  end

  test "a pool or an instance that is not open is unknown" do
    pool = TestPool.open(@engine)
    assert TestPool.take(%{pool | name: :other}) == :unknown
    assert TestPool.take(%{pool | instance: :"#{pool.instance}_other"}) == :unknown
    TestPool.close(pool)
    assert TestPool.take(pool) == :unknown
  end
end

defmodule Kantoku.Pool.LeaseTest do
  import Kantoku.PoolCase

  pools_on_each_engine Kantoku.Pool.LeaseTest do
    test "a worker that is checked out is nobody else's until it is handed in" do
      pool = pool!(@engine)
      assert {:ok, %Pool.Lease{pid: worker, pool: ^pool} = lease} = Pool.checkout(pool)
      next = Task.async(fn -> Pool.run(pool, & &1) end)
      until(pool, queue: 1, ongoing: 1)
      assert :ok = Pool.checkin(lease)
      assert {:ok, ^worker} = Task.await(next)
      settled(pool, 1)
    end

    test "a lease is handed in once, and by who took it" do
      pool = pool!(@engine)
      {:ok, lease} = Pool.checkout(pool)
      foreign = Task.await(Task.async(fn -> Pool.checkin(lease) end))
      assert {:error, %Error{reason: :not_owner, details: %{pool: ^pool}}} = foreign
      assert :ok = Pool.checkin(lease, :error)
      assert {:error, %Error{reason: :not_held} = error} = Pool.checkin(lease)
      assert Exception.message(error) =~ "check out again"

      assert_raise ArgumentError, ~r/expected :ok, :error or :abandoned, got: :done/, fn ->
        Pool.checkin(lease, :done)
      end

      settled(pool, 1)
    end

    test "a lease of a worker that died is not held any more, and its place has a successor" do
      pool = pool!(@engine)
      {:ok, %{pid: worker} = lease} = Pool.checkout(pool)
      kill(worker)
      until(pool, ready: 1, free: 1)
      assert {:error, %Error{reason: :not_held}} = Pool.checkin(lease)
      assert {:ok, %{pid: other}} = Pool.checkout(pool)
      assert other != worker
    end

    test "the death of a holder gives its worker back" do
      pool = pool!(@engine)
      holder = TestOwner.start(fn -> Pool.checkout(pool) end)
      assert %{free: 0} = status(pool)
      kill(holder)
      settled(pool, 1)
    end

    test "run answers what its function does" do
      pool = pool!(@engine)
      assert {:ok, {:ok, worker}} = Pool.run(pool, &{:ok, GenServer.call(&1, :pid)})
      assert [^worker] = pids(pool)
      settled(pool, 1)
    end

    test "what leaves run by an exception, exit or throw passes through, and the worker is looked at before it goes on" do
      pool = pool!(@engine)
      assert_raise RuntimeError, "as told", fn -> Pool.run(pool, fn _ -> raise "as told" end) end
      settled(pool, 1)
      assert catch_throw(Pool.run(pool, fn _ -> throw(:ball) end)) == :ball
      settled(pool, 1)
      {ref, request} = hold()
      assert {:timeout, _} = catch_exit(Pool.run(pool, &GenServer.call(&1, request, 20)))
      worker = begun(ref)
      assert %{abandoned: 1, free: 0} = status(pool)
      release(worker, ref)
      settled(pool, 1)
    end

    test "a check-out that times out leaves neither a worker taken nor a message" do
      pool = pool!(@engine)
      {:ok, lease} = Pool.checkout(pool)

      Task.await(
        Task.async(fn ->
          for _ <- 1..20 do
            assert {:error, %Error{reason: reason}} = Pool.checkout(pool, timeout: 1)
            assert reason in [:timeout, :deadline]
          end

          assert Process.info(self(), :messages) == {:messages, []}
        end)
      )

      Pool.checkin(lease)
      settled(pool, 1)
    end

    test "grants that cross a time-out are returned" do
      pool = pool!(@engine)

      tasks =
        for _ <- 1..8 do
          Task.async(fn ->
            for _ <- 1..100, match?({:ok, _}, Pool.run(pool, fn _ -> :erlang.yield() end, timeout: 0)), do: :ok
            Process.info(self(), :messages)
          end)
        end

      assert Enum.uniq(Task.await_many(tasks, 60_000)) == [{:messages, []}]
      settled(pool, 1)
    end

    test "a worker with several permits is shared" do
      pool = pool!(@engine, max_ongoing: 3)
      leases = for _ <- 1..3, do: elem(Pool.checkout(pool), 1)
      assert [_one] = Enum.uniq(Enum.map(leases, & &1.pid))
      assert {:error, %Error{}} = Pool.checkout(pool, timeout: 5)
      Enum.each(leases, &Pool.checkin/1)
      settled(pool, 1, 3)
    end
  end
end

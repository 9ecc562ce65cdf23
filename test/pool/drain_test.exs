defmodule Kantoku.Pool.DrainTest do
  import Kantoku.PoolCase

  pools_on_each_engine Kantoku.Pool.DrainTest do
    test "while its instance drains a pool refuses what is new and finishes what it has" do
      pool = {instance, _} = pool!(@engine)
      {ref, request} = hold()
      task = call_async(pool, request)
      worker = begun(ref)
      waiting = for _ <- 1..3, do: call_async(pool, :pid)
      until(pool, queue: 3)
      drain = Task.async(fn -> Kantoku.drain(instance, 30_000) end)
      until(pool, draining: true)

      eventually(fn ->
        match?({:error, %Error{reason: :draining, details: %{retry_in: 0}}}, Pool.call(pool, :pid, timeout: 20))
      end)

      assert {:error, %Error{reason: :draining}} = Pool.checkout(pool)
      assert {:error, %Error{reason: :draining}} = Pool.cast(pool, :pid)
      assert {:error, %Error{reason: :draining}} = Pool.start(instance, options(name: :more))
      release(worker, ref)
      assert {:ok, ^ref} = Task.await(task)
      assert Enum.uniq(Task.await_many(waiting)) == [{:ok, worker}]
      assert {:ok, %{cut_off: [], agents: 1, stopped: 1}} = Task.await(drain, 30_000)
      refute Process.alive?(worker)
      assert {:error, %Error{reason: :draining}} = Pool.call(pool, :pid)
    end

    test "what a drain has to cut off is told to who waits" do
      pool = {instance, _} = pool!(@engine)
      {ref, request} = hold()
      task = call_async(pool, request, timeout: :infinity)
      _worker = begun(ref)
      waiting = call_async(pool, :pid, timeout: :infinity)
      until(pool, queue: 1)
      assert {:ok, %{cut_off: cut_off}} = Kantoku.drain(instance, 30)
      assert {:pool, :workers} in cut_off and {:pool, :workers, 0} in cut_off
      assert {:error, %Error{reason: :closed}} = Task.await(waiting)
      assert {:error, %Error{reason: reason}} = Task.await(task)
      assert reason in [:closed, :crashed]
    end

    test "a foreman that is killed during a drain goes on refusing" do
      pool = {instance, _} = pool!(@engine)
      {ref, request} = hold()
      task = call_async(pool, request)
      worker = begun(ref)
      drain = Task.async(fn -> Kantoku.drain(instance, 30_000) end)
      eventually(fn -> match?({:error, %Error{reason: :draining}}, Pool.call(pool, :pid, timeout: 20)) end)
      old = foreman(pool)
      kill(old)
      eventually(fn -> foreman(pool) != old end)
      assert {:error, %Error{reason: :draining}} = Pool.call(pool, :pid)
      release(worker, ref)
      assert {:ok, _} = Task.await(task)
      assert {:ok, %{cut_off: []}} = Task.await(drain, 30_000)
    end

    test "stopping a pool lets it finish, up to a deadline" do
      pool = pool!(@engine)
      {ref, request} = hold()
      task = call_async(pool, request)
      worker = begun(ref)
      stop = Task.async(fn -> Pool.stop(pool, 30_000) end)
      eventually(fn -> match?({:error, %Error{reason: :draining}}, Pool.call(pool, :pid, timeout: 20)) end)
      release(worker, ref)
      assert {:ok, ^ref} = Task.await(task)
      assert {:ok, %{cut_off: []}} = Task.await(stop, 30_000)
      assert {:error, %Error{reason: :not_found}} = Pool.call(pool, :pid)
    end

    test "an orderly shutdown of the instance waits for what its pools have" do
      pool = {instance, _} = pool!(@engine)
      {ref, request} = hold()
      task = call_async(pool, request)
      worker = begun(ref)
      refused = fn -> match?({:error, %Error{reason: :draining}}, Pool.call(pool, :pid, timeout: 20)) end
      releaser = Task.async(fn -> eventually(refused) && release(worker, ref) end)
      :ok = stop_supervised(instance)
      Task.await(releaser)
      assert {:ok, ^ref} = Task.await(task)
      assert {:error, %Error{reason: :not_running}} = Pool.call(pool, :pid)
    end
  end
end

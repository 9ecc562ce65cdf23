defmodule Kantoku.Pool.ResizeTest do
  import Kantoku.PoolCase

  pools_on_each_engine Kantoku.Pool.ResizeTest do
    alias Kantoku.Telemetry

    test "2 -> 64 -> 2 under load fails no call" do
      pool = pool!(@engine, target: 2, queue_target: 60_000)
      callers = for _ <- 1..16, do: Task.async(fn -> loop(pool, 0) end)

      for size <- [64, 2, 33, 2] do
        :ok = Pool.update(pool, target: size)
        until(pool, ready: size, leaving: 0, workers: size)
      end

      for %{pid: pid} <- callers, do: send(pid, :enough)
      assert Enum.all?(Task.await_many(callers, 30_000), &(&1 > 0))
      settled(pool, 2)
      eventually(fn -> numbers(pool) == [0, 1] end)
    end

    test "a worker that is to go finishes what it has, and gets nothing new" do
      pool = pool!(@engine, target: 2, min: 1)
      holds = for _ <- 1..2, do: hold()
      tasks = for {_ref, request} <- holds, do: call_async(pool, request)
      served = for {ref, _} <- holds, do: {begun(ref), ref}
      :ok = Pool.update(pool, target: 1)
      until(pool, leaving: 1, ready: 1)
      {:ok, workers} = Pool.workers(pool)
      %{pid: leaving} = Enum.find(workers, &(&1.state == :leaving))
      {^leaving, its_ref} = List.keyfind(served, leaving, 0)
      next = call_async(pool, :pid)
      until(pool, queue: 1)
      release(leaving, its_ref)
      eventually(fn -> not Process.alive?(leaving) end)
      assert %{queue: 1} = status(pool)
      for {worker, ref} <- served, do: release(worker, ref)
      assert {:ok, stayed} = Task.await(next)
      assert stayed != leaving
      assert Enum.all?(Task.await_many(tasks), &match?({:ok, _}, &1))
    end

    test "workers beyond the target come while requests wait, and go when nobody has for a while" do
      pool = pool!(@engine, target: 1, max_overflow: 2, overflow_linger: 60)
      {:ok, events} = Telemetry.subscribe(elem(pool, 0), events: [[:pool, :resized]])
      holds = for _ <- 1..4, do: hold()
      tasks = for {_ref, request} <- holds, do: call_async(pool, request)
      until(pool, workers: 3, wanted: 3, overflow: 2, queue: 1)
      release_all(holds)
      assert Enum.all?(Task.await_many(tasks), &match?({:ok, _}, &1))
      until(pool, workers: 1, wanted: 1, overflow: 0)
      assert %{reason: :pressed} = resized(events)
    end

    test "idle workers go down to the minimum, and come back when somebody waits" do
      pool = pool!(@engine, target: 4, min: 1, idle_timeout: 40)
      until(pool, workers: 1, wanted: 1)
      holds = for _ <- 1..3, do: hold()
      tasks = for {_ref, request} <- holds, do: call_async(pool, request)
      release_all(holds)
      assert Enum.all?(Task.await_many(tasks), &match?({:ok, _}, &1))
      until(pool, workers: 1)
    end

    test "a worker that is old is succeeded by another, which comes first" do
      pool = pool!(@engine, target: 2, max_lifetime: 80)
      [first, second] = pids(pool)
      caller = Task.async(fn -> loop(pool, 0) end)
      eventually(fn -> not Process.alive?(first) and not Process.alive?(second) and status(pool).ready >= 2 end)
      send(caller.pid, :enough)
      assert Task.await(caller) > 0
    end

    test "other options change live, too" do
      pool = pool!(@engine, target: 1)
      {ref, request} = hold()
      task = call_async(pool, request)
      worker = begun(ref)
      :ok = Pool.update(pool, max_queue: 0)
      assert {:error, %Error{reason: :queue_full}} = Pool.call(pool, :pid)
      :ok = Pool.update(pool, max_ongoing: 2, max_queue: 10)
      assert {:ok, lease} = Pool.checkout(pool)
      assert lease.pid == worker
      :ok = Pool.checkin(lease)
      release(worker, ref)
      Task.await(task)
      :ok = Pool.update(pool, domain: [budget: [crashes: 77]])
      assert {:ok, %{budget: %{crashes: 77}}} = Kantoku.Domain.options(elem(pool, 0), {:pool, :workers})
      settled(pool, 1, 2)
      assert_raise ArgumentError, ~r/pool :workers, option :max_ongoing/, fn -> Pool.update(pool, max_ongoing: 0) end

      assert_raise ArgumentError, ~r/expected a module, an adapter's tuple or a child spec/, fn ->
        Pool.update(pool, worker: 5)
      end

      foreman = foreman(pool)
      assert foreman == foreman(pool) and Process.alive?(foreman)
    end

    test "a pool may be empty, and a request waits until it is not" do
      pool = pool!(@engine, target: 0)
      task = call_async(pool, :pid)
      until(pool, queue: 1)
      :ok = Pool.update(pool, target: 1)
      assert {:ok, _} = Task.await(task)
    end

    defp numbers({instance, _name}) do
      {:ok, agents} = Kantoku.agents(instance)
      Enum.sort(for %{id: {:pool, :workers, number}} <- agents, do: number)
    end

    defp loop(pool, served) do
      receive do
        :enough -> served
      after
        0 ->
          {:ok, _} = Pool.call(pool, {:run, fn -> :erlang.yield() end}, timeout: :infinity)
          loop(pool, served + 1)
      end
    end

    # As they begin, in whatever order.
    defp release_all(holds) do
      for _ <- holds do
        receive do: ({:begun, ref, worker} -> release(worker, ref))
      end
    end

    defp resized(events) do
      receive do: ({:kantoku_event, ^events, _name, _measurements, metadata} -> metadata)
    end
  end
end

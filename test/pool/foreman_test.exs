defmodule Kantoku.Pool.ForemanTest do
  import Kantoku.PoolCase

  pools_on_each_engine Kantoku.Pool.ForemanTest do
    alias Kantoku.{Domain, Telemetry, TestSluggish}

    @forgiving [partitions: 4, backoff: [base: 1, cap: 5], budget: [crashes: :infinity]]

    # Starting and stopping ----------------------------------------------------------------------------------------------

    test "an instance has started when its pools are warm" do
      pool = pool!(@engine, target: 4)
      assert %{ready: 4, workers: 4, wanted: 4, missing: 0, degraded: false, free: 4} = status(pool)
      {instance, name} = pool
      assert {:ok, [^name]} = Pool.names(instance)
      assert {:ok, %{agents: %{up: 4}}} = Domain.status(instance, {:pool, name})
      assert {:ok, [{:pool, ^name}, :default]} = Domain.names(instance) |> sorted()
    end

    test "an instance whose pool does not get warm in time does not start, and says why" do
      cell = :atomics.new(1, [])
      :atomics.put(cell, 1, 1_000_000)
      pools = [options([warm_up_timeout: 500, domain: @forgiving], refuse: cell)]
      opts = [name: :"cold_#{@engine}", engine: @engine, pools: pools]
      assert {:error, {{_, {_, _, :warm_pools, error}}, _}} = start_supervised({Kantoku, opts}) |> flattened()

      assert %Error{reason: :start_failed, details: %{pool: {_cold, :workers}, ready: 0, wanted: 1, exit: :refused}} =
               error

      assert Exception.message(error) =~ "lower :warm_up"
    end

    test "a pool starts and stops while its instance runs, once for each name" do
      instance = instance!(@engine)
      pool = {instance, :workers}
      tasks = for _ <- 1..8, do: Task.async(Pool, :start, [instance, options(target: 3)])
      tasks |> Enum.map(& &1.pid) |> Enum.each(&send(&1, :hello))
      answers = Task.await_many(tasks, 30_000)
      assert [{:ok, ^pool}] = for({:ok, _} = started <- answers, do: started)
      assert length(for {:error, {:already_started, pid}} when is_pid(pid) <- answers, do: pid) == 7
      assert {:ok, %{agents: %{up: 3}}} = Domain.status(instance, {:pool, :workers})
      workers = pids(pool)

      assert {:ok, %{stopped: 3, cut_off: []}} = Pool.stop(pool)
      refute Enum.any?(workers, &Process.alive?/1)
      assert {:ok, []} = Pool.names(instance)
      assert {:error, %Error{reason: :not_found}} = Pool.call(pool, :pid)

      assert {:error, %Error{reason: :draining}} =
               Kantoku.start_agent(instance, {TestWorker, []}, id: 1, domain: {:pool, :workers})

      assert {:ok, %{draining: false, domains: domains}} = Kantoku.status(instance)
      assert Map.keys(domains) == [:default]

      assert {:ok, ^pool} = Pool.start(instance, options(target: 1))
      assert {:ok, _} = Pool.call(pool, :pid)
    end

    test "a pool that does not get warm is not started" do
      instance = instance!(@engine)
      cell = :atomics.new(1, [])
      :atomics.put(cell, 1, 1_000_000)
      opts = options([warm_up_timeout: 50, domain: @forgiving], refuse: cell)
      assert {:error, %Error{reason: :start_failed}} = Pool.start(instance, opts)
      assert {:ok, []} = Pool.names(instance)
      assert {:ok, _pool} = Pool.start(instance, Keyword.put(opts, :warm_up, 0))
    end

    test "agents with cmd/2 are workers, too" do
      pool = pool!(@engine, worker: [spec: {Kantoku.TestTally, %{count: 5}}, tags: [:tally]], target: 1)
      assert {:ok, 5} = Pool.call(pool, :read)
      assert {:ok, 7} = Pool.call(pool, {:add, 2})
      assert [{{:pool, :workers, 0}, pid}] = Kantoku.find(elem(pool, 0), tags: [:tally])
      assert [^pid] = pids(pool)
    end

    # Failures ------------------------------------------------------------------------------------------------------------

    test "a worker that died is replaced under its number, with no process of ours in between" do
      pool = pool!(@engine, target: 2)
      [first, second] = pids(pool)
      :sys.suspend(foreman(pool))
      kill(first)
      eventually(fn -> match?([pid, ^second] when pid != first, pids(pool)) end)
      :sys.resume(foreman(pool))
      settled(pool, 2)
    end

    test "what does not start again is parked, and the pool goes on with the rest and says so" do
      cell = :atomics.new(1, [])
      domain = [partitions: 2, backoff: [base: 1, cap: 2], budget: [crashes: 2], unpark: :never]
      pool = pool!(@engine, [target: 2, domain: domain], refuse: cell)
      {instance, _name} = pool
      {:ok, events} = Telemetry.subscribe(instance, events: [[:pool]])
      :atomics.put(cell, 1, 1_000_000)
      [first, second] = pids(pool)
      kill(first)
      until(pool, degraded: true, ready: 1, reason: :refused, missing: 1)
      eventually(fn -> match?({:ok, [%{state: :parked, pid: nil}, %{pid: ^second}]}, Pool.workers(pool)) end)
      assert {:ok, ^second} = Pool.call(pool, :pid)
      assert %{reason: :refused} = event(events, :degraded)

      :atomics.put(cell, 1, 0)
      :ok = Kantoku.unpark(instance, {:pool, :workers, 0})
      until(pool, degraded: false, ready: 2, missing: 0, reason: nil)
      event(events, :recovered)
    end

    test "a start that takes too long is killed, charged, and tried again" do
      cell = :atomics.new(1, [])
      :atomics.put(cell, 1, 2)
      worker = {TestSluggish, tell: self(), cell: cell}
      instance = instance!(@engine)
      {:ok, events} = Telemetry.subscribe(instance, events: [[:pool]])
      opts = options(worker: worker, target: 2, start_timeout: 40, domain: @forgiving)
      assert {:ok, pool} = Pool.start(instance, opts)
      assert %{reason: :start_timeout} = event(events, :replaced)
      assert {:ok, _} = Pool.call(pool, :pid)
      settled(pool, 2)
      assert {:ok, agents} = Kantoku.agents(instance)
      assert Enum.sum(for %{restarts: restarts} <- agents, do: restarts) == 2
    end

    test "a pool that is opened again behind its foreman has started once" do
      instance = instance!(@engine)
      {:ok, events} = Telemetry.subscribe(instance, events: [[:pool, :started], [:pool, :stopped]])
      {:ok, pool} = Pool.start(instance, options(target: 2))
      # As a drain does that cuts off who still waits; the next tick is what finds out.
      :ok = Engine.Pools.pool_close(instance, :workers)
      settled(pool, 2)
      {:ok, _} = Pool.stop(pool)
      told = for {_, _, [:kantoku, :pool, name], _, _} <- Telemetry.take(events, 100), do: name
      assert told == [:started, :stopped]
    end

    test "events tell of a pool's life in its order" do
      instance = instance!(@engine)
      {:ok, events} = Telemetry.subscribe(instance, events: [[:pool]])
      {:ok, pool} = Pool.start(instance, options())
      [first] = pids(pool)
      kill(first)
      settled(pool, 1)
      [second] = pids(pool)
      :ok = Pool.update(pool, target: 2)
      settled(pool, 2)
      :ok = Pool.update(pool, target: 1)
      settled(pool, 1)
      eventually(fn -> length(pids(pool)) == 1 end)
      {:ok, _} = Pool.stop(pool)

      told =
        for {_, _, [:kantoku, :pool, name], measured, about} <- Telemetry.take(events, 100), do: {name, measured, about}

      assert Enum.all?(told, fn {_, _, about} -> about.pool == :workers and about.instance == instance end)
      names = for {name, _, _} <- told, name not in [:degraded, :recovered], do: name
      assert [:started | later] = names
      assert List.last(names) == :stopped
      refute :started in later
      assert MapSet.new(names) == MapSet.new([:started, :worker_joined, :worker_left, :resized, :stopped])
      assert for({:resized, %{from: from, to: to}, _} <- told, do: {from, to}) == [{0, 1}, {1, 2}, {2, 1}]
      joined = for {:worker_joined, _, m} <- told, do: {m.pid, m.member}
      left = for {:worker_left, _, m} <- told, do: {m.pid, m.member, m.reason}
      assert [{^first, 0} | _] = joined
      assert {second, 0} in joined and Enum.any?(joined, &match?({_, 1}, &1))
      assert [{^first, 0, :down} | _] = left
      assert Enum.any?(left, &match?({_, 1, :retired}, &1))
    end

    # Foremen -------------------------------------------------------------------------------------------------------------

    test "a foreman that is killed loses nothing: neither workers, nor calls, nor who waits" do
      pool = pool!(@engine, target: 2)
      workers = pids(pool)
      holds = for _ <- 1..2, do: hold()
      tasks = for {_ref, request} <- holds, do: call_async(pool, request)
      served = for {ref, _} <- holds, do: {begun(ref), ref}
      waiting = for _ <- 1..3, do: call_async(pool, :pid)
      until(pool, queue: 3)
      kill_foreman(pool)
      assert pids(pool) == workers
      for {worker, ref} <- served, do: release(worker, ref)
      assert Enum.all?(Task.await_many(tasks ++ waiting), &match?({:ok, _}, &1))
      settled(pool, 2)
      assert pids(pool) == workers
    end

    test "what was abandoned while no foreman was there is asked for by the next" do
      pool = pool!(@engine)
      {ref, request} = hold()
      :sys.suspend(foreman(pool))
      assert {:error, %Error{reason: :timeout}} = Pool.call(pool, request, timeout: 20)
      worker = begun(ref)
      kill_foreman(pool)
      assert %{abandoned: 1} = status(pool)
      release(worker, ref)
      settled(pool, 1)
    end

    test "a foreman that is killed while workers start, stop or leave ends up with as many as are wanted" do
      pool = pool!(@engine, [target: 2], slow: 5)
      {instance, _name} = pool

      for size <- [12, 3, 9, 1, 7, 2] do
        :ok = Pool.update(pool, target: size)
        for _ <- 1..3, do: kill_foreman(pool)
        settled(pool, size)
      end

      assert {:ok, %{agents: %{up: 2}, places: 2}} =
               eventually(fn ->
                 case Domain.status(instance, {:pool, :workers}) do
                   {:ok, %{agents: %{up: 2}, places: 2}} = ok -> ok
                   _ -> nil
                 end
               end)

      assert living_workers() == 2
    end

    test "a worker that left while no foreman was there is stopped by the next" do
      pool = pool!(@engine, target: 2, min: 1, max: 2)
      holds = for _ <- 1..2, do: hold()
      tasks = for {_ref, request} <- holds, do: call_async(pool, request)
      served = for {ref, _} <- holds, do: {begun(ref), ref}
      :ok = Pool.update(pool, target: 1)
      until(pool, leaving: 1)
      :sys.suspend(foreman(pool))
      for {worker, ref} <- served, do: release(worker, ref)
      Task.await_many(tasks)
      kill_foreman(pool)
      settled(pool, 1)
      eventually(fn -> living_workers() == 1 end)
    end

    test "the engine's part of a pool may be lost and comes back" do
      pool = pool!(@engine, target: 2)
      {instance, name} = pool
      Engine.Pools.pool_close(instance, name)
      eventually(fn -> match?({:ok, _}, Pool.call(pool, :pid)) end)
      settled(pool, 2)
    end

    test "the supervisors of foremen and of domains may be killed" do
      pool = pool!(@engine, target: 3, domain: @forgiving)
      {:ok, {_rows, book}} = Kantoku.Instances.tables(elem(pool, 0))

      for place <- [:foremen, :domains] do
        pid = with {pid, _epoch} <- Domain.Book.seated(book, place), do: pid
        kill(pid)
        eventually(fn -> match?({:ok, _}, Pool.call(pool, :pid, timeout: 100)) end)
        settled(pool, 3)
        eventually(fn -> living_workers() == 3 end)
      end
    end

    test "the registry of the instance may be killed, and with it all that the engine knew" do
      pool = {instance, _} = pool!(@engine, target: 3, domain: @forgiving)
      kill(Process.whereis(instance))
      eventually(fn -> match?({:ok, _}, Pool.call(pool, :pid, timeout: 100)) end)
      settled(pool, 3)
      eventually(fn -> living_workers() == 3 end)
    end

    test "options of the domain that were changed beside the pool stay" do
      pool = {instance, name} = pool!(@engine)
      :ok = Domain.update(instance, {:pool, name}, budget: [crashes: 77])
      :ok = Pool.update(pool, max_queue: 5)
      :ok = Pool.update(pool, domain: [backoff: [cap: 9]])
      assert {:ok, %{budget: %{crashes: 77}, backoff: %{cap: 9}}} = Domain.options(instance, {:pool, name})
    end

    test "who is killed while it starts or stops a pool leaves no half of one" do
      instance = instance!(@engine)
      pool = {instance, :workers}

      for n <- 1..20 do
        starter = spawn(fn -> Pool.start(instance, options(target: 2)) end)
        if rem(n, 2) == 0, do: Process.sleep(1)
        kill(starter)

        eventually(fn ->
          match?({:ok, _}, Pool.start(instance, options(target: 2))) or match?({:ok, _}, Pool.call(pool, :pid))
        end)

        settled(pool, 2)
        stopper = spawn(fn -> Pool.stop(pool) end)
        if rem(n, 2) == 0, do: Process.sleep(1)
        kill(stopper)
        eventually(fn -> match?({:ok, []}, Pool.names(instance)) or match?({:ok, _}, Pool.stop(pool)) end)
        eventually(fn -> match?({:error, %Error{reason: :not_found}}, Pool.call(pool, :pid)) end)
      end
    end

    defp kill_foreman(pool) do
      old = foreman(pool)
      kill(old)
      eventually(fn -> foreman(pool) != old and Process.alive?(foreman(pool)) end)
    end

    defp event(subscription, name) do
      receive do
        {:kantoku_event, ^subscription, [:kantoku, :pool, ^name], _measurements, metadata} -> metadata
      after
        5_000 -> raise "no event #{name}"
      end
    end

    defp sorted({:ok, names}), do: {:ok, Enum.sort_by(names, &inspect/1) |> Enum.sort_by(&is_atom/1)}

    defp flattened({:error, {{:shutdown, {:failed_to_start_child, child, error}}, spec}}),
      do: {:error, {{:shutdown, {:a, :b, child, error}}, spec}}

    defp flattened(other), do: other
  end
end

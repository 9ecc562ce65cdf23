import Kantoku.PoolCase

pools_on_each_engine Kantoku.BackpressureTest do
  alias Kantoku.Backpressure

  # All that the queue holds counts as room.
  @plain [codel: false, max_queue: 10]

  describe "what is available" do
    test "is what is free and what may wait, for a tenant and a cost" do
      pool = pool!(@engine, [target: 2, quotas: [{{:tenant, "trial"}, tokens: 60, burst: 4}]] ++ @plain)
      assert Backpressure.available(pool) == {:ok, 12}
      assert Backpressure.available(pool, tenant: "trial", cost: 2) == {:ok, 2}
      {held, request} = hold()
      call = call_async(pool, request)
      worker = begun(held)
      assert Backpressure.available(pool) == {:ok, 11}
      release(worker, held)
      Task.await(call)
    end

    test "is told of no pool" do
      instance = instance!(@engine)
      assert {:error, %Error{reason: :not_found}} = Backpressure.available({instance, :none})
      assert {:error, %Error{reason: :not_found}} = Backpressure.request({instance, :none}, 1, [])
      assert {:error, %Error{reason: :not_running}} = Backpressure.subscribe({:nobody, :none})
    end

    test "raises for options that it does not know" do
      for opts <- [[tenant: {:a}], [cost: 0], [ttl: 0], [priority: :high], :nothing] do
        assert_raise ArgumentError, fn -> Backpressure.available({:i, :p}, opts) end
      end

      for own <- [[ordered: 1], [max_in_flight: 0], [on_refusal: :drop], [timeout: -1], [ttl: :long]] do
        assert_raise ArgumentError, fn -> Backpressure.stream({:i, :p}, [], & &1, own) end
      end
    end
  end

  describe "credits" do
    test "are granted at once as far as there is room, and told of when there is more" do
      pool = pool!(@engine, target: 1, codel: false, max_queue: 0)
      {:ok, %{ref: ref} = credits, 1} = Backpressure.request(pool, 3, tenant: "import")
      assert {:ok, 1} = Backpressure.take(credits)
      {held, request} = hold()
      call = call_async(pool, request)
      worker = begun(held)
      assert Backpressure.available(pool) == {:ok, 0}
      release(worker, held)
      Task.await(call)
      assert_receive {:kantoku_pool, ^ref, {:credits, 1}}
      assert {:ok, 1} = Backpressure.give_back(credits, 5)
      assert_receive {:kantoku_pool, ^ref, {:credits, 1}}
      assert :ok = Backpressure.cancel(credits)
      assert {:error, %Error{reason: :not_held}} = Backpressure.take(credits)
      assert %{credits: 0, wishes: 0} = status(pool)
    end

    test "are one process's, and taken by whoever sends" do
      pool = pool!(@engine, @plain)
      {:ok, credits, 1} = Backpressure.request(pool, 1, [])
      elsewhere = fn fun -> Task.await(Task.async(fn -> fun.(credits) end)) end
      assert {:error, %Error{reason: :not_owner} = error} = elsewhere.(&Backpressure.request(&1, 1))
      assert Exception.message(error) =~ "belong to another process"
      assert {:error, %Error{reason: :not_owner}} = elsewhere.(&Backpressure.cancel/1)
      assert {:ok, 1} = elsewhere.(&Backpressure.take/1)
    end

    test "are kept for so long as was said, by a pool that does nothing else" do
      pool = pool!(@engine, target: 1, codel: false, max_queue: 0)
      {:ok, _slow, 1} = Backpressure.request(pool, 1, ttl: 50)
      {:ok, %{ref: ref}, 0} = Backpressure.request(pool, 1, [])
      assert_receive {:kantoku_pool, ^ref, {:credits, 1}}
    end

    test "are not granted while the pool drains, and not at all when it is stopped" do
      pool = pool!(@engine, target: 1, codel: false)
      {held, request} = hold()
      call = call_async(pool, request)
      worker = begun(held)
      stop = Task.async(fn -> Pool.stop(pool, 5_000) end)
      eventually(fn -> Backpressure.available(pool) == {:ok, 0} end)
      {:ok, %{ref: ref}, 0} = Backpressure.request(pool, 1, [])
      release(worker, held)
      assert {:ok, _held} = Task.await(call)
      assert {:ok, %{cut_off: []}} = Task.await(stop)
      assert_receive {:kantoku_pool, ^ref, {:refused, :closed, 0}}
    end
  end

  describe "a stream" do
    test "calls the pool for each element, in order, and is not refused" do
      pool = pool!(@engine, target: 4)
      results = Backpressure.stream(pool, 1..200, fn n -> {:run, fn -> n * n end} end)
      assert Enum.to_list(results) == for(n <- 1..200, do: {:ok, n * n})
      settled(pool, 4)
      assert %{refused: refused, credits: 0, wishes: 0} = status(pool)
      assert refused < 5
    end

    test "is as wide as the pool, which may grow and shrink meanwhile" do
      pool = pool!(@engine, target: 2, max_queue: 0, codel: false)
      busy = :counters.new(2, [])

      work = fn n ->
        {:run,
         fn ->
           :counters.add(busy, 1, 1)
           if :counters.get(busy, 1) > :counters.get(busy, 2), do: :counters.put(busy, 2, :counters.get(busy, 1))
           Process.sleep(2)
           :counters.sub(busy, 1, 1)
           n
         end}
      end

      stream = Backpressure.stream(pool, 1..150, work, ordered: false)

      seen =
        for {{:ok, n}, at} <- Stream.with_index(stream) do
          if at == 20, do: :ok = Pool.update(pool, target: 6)
          if at == 100, do: :ok = Pool.update(pool, target: 1)
          n
        end

      assert Enum.sort(seen) == Enum.to_list(1..150)
      assert :counters.get(busy, 2) in 3..6
      settled(pool, 1)
      # What nobody refused was not sent in vain: with no queue, each found a worker.
      assert status(pool).served >= 150
    end

    test "draws no more than it has a place for, and ends what is under way when its reader stops" do
      pool = pool!(@engine, [target: 2] ++ @plain)
      drawn = :counters.new(1, [])
      elements = Stream.map(Stream.iterate(1, &(&1 + 1)), fn n -> :counters.add(drawn, 1, 1) && n end)
      stream = Backpressure.stream(pool, elements, fn n -> {:run, fn -> n end} end, max_in_flight: 4)
      assert Enum.take(stream, 3) == [ok: 1, ok: 2, ok: 3]
      assert :counters.get(drawn, 1) <= 12
      settled(pool, 2)
      assert %{credits: 0, wishes: 0} = status(pool)
      assert {:messages, messages} = Process.info(self(), :messages)
      assert [] == for(message <- messages, elem(message, 0) != :started, do: message)
    end

    test "gives each element one result when workers crash" do
      pool = pool!(@engine, target: 3, domain: [partitions: 2, max_restarts: 1_000, backoff: [base: 1, cap: 10]])
      work = fn n -> if rem(n, 10) == 0, do: {:exit, :boom}, else: {:run, fn -> n end} end
      results = Enum.to_list(Backpressure.stream(pool, 1..100, work))
      assert length(results) == 100

      for {result, n} <- Enum.with_index(results, 1) do
        if rem(n, 10) == 0,
          do: assert({:error, %Error{reason: :crashed}} = result),
          else: assert({:ok, ^n} = result)
      end
    end

    test "sends again what a quota refused, and keeps to it" do
      pool = pool!(@engine, target: 2, quotas: [{:each, requests: 6_000, burst: 5}])
      stream = Backpressure.stream(pool, 1..15, fn n -> {:run, fn -> n end} end)
      assert Enum.to_list(stream) == for(n <- 1..15, do: {:ok, n})
    end

    test "does not try what a quota would refuse" do
      pool = pool!(@engine, target: 1, quotas: [{{:tenant, "b"}, requests: 60, burst: 1}])
      work = fn n -> {:run, fn -> n end} end
      assert {:ok, 1} = Pool.call(pool, work.(1), tenant: "b")
      task = Task.async(fn -> Enum.to_list(Backpressure.stream(pool, [1], work, tenant: "b")) end)
      until(pool, wishes: 1)
      Task.shutdown(task, :brutal_kill)
      until(pool, wishes: 0, refused: 0)
    end

    test "sends again what is refused as too much, or returns it" do
      pool = pool!(@engine, target: 1, quotas: [{{:tenant, "b"}, requests: 60, burst: 1}])
      # Uses up the quota between the credit and the call.
      spoilt = fn _n ->
        {:ok, _} = Pool.call(pool, :pid, tenant: "b")
        :pid
      end

      once = :counters.new(1, [])

      spoilt_once = fn n ->
        :counters.add(once, 1, 1)
        if :counters.get(once, 1) == 1, do: spoilt.(n), else: :pid
      end

      assert [ok: _pid] = Enum.to_list(Backpressure.stream(pool, [1], spoilt_once, tenant: "b"))
      assert :counters.get(once, 1) > 1
      eventually(fn -> Backpressure.available(pool, tenant: "b") == {:ok, 1} end)
      opts = [tenant: "b", on_refusal: :return]
      assert [error: %Error{reason: :quota}] = Enum.to_list(Backpressure.stream(pool, [1], spoilt, opts))
    end

    test "shares the pool with another" do
      pool = pool!(@engine, target: 2, max_queue: 4, codel: false)
      work = fn _ -> {:sleep, 1} end

      times =
        for tenant <- [:a, :b] do
          Task.async(fn ->
            for {:ok, :ok} <- Backpressure.stream(pool, 1..100, work, tenant: tenant), do: :ok
            System.monotonic_time(:millisecond)
          end)
        end
        |> Task.await_many(20_000)

      assert length(times) == 2
      settled(pool, 2)

      # Refused is what comes between a credit and its call: one now and then of a pool with so small a queue, more on a busy machine. Whoever
      # asked without a credit would be refused thousands of times.
      assert %{credits: 0, wishes: 0, refused: refused} = status(pool)
      assert refused < 1_000
    end

    test "says of each element that there is no pool any more" do
      pool = pool!(@engine, target: 1)
      {:ok, _report} = Pool.stop(pool, 1_000)

      assert [error: %Error{reason: :not_found}, error: %Error{reason: :not_found}] =
               Enum.to_list(Backpressure.stream(pool, [1, 2], & &1))
    end

    test "goes on when its pool is stopped under it" do
      pool = pool!(@engine, target: 1, codel: false, max_queue: 2)
      stopper = Task.async(fn -> receive(do: (:stop -> Pool.stop(pool, 1_000))) end)

      stream =
        Backpressure.stream(pool, 1..20, fn n ->
          if n == 4, do: send(stopper.pid, :stop)
          {:sleep, 5}
        end)

      results = Enum.to_list(stream)
      Task.await(stopper)
      assert length(results) == 20
      assert {:error, %Error{reason: reason}} = List.last(results)
      assert reason in [:draining, :closed, :not_found]
    end

    test "dies of what its function raises, and takes its calls along when its reader is killed" do
      pool = pool!(@engine, target: 2)
      {reader, monitor} = spawn_monitor(fn -> Enum.to_list(Backpressure.stream(pool, [1], fn _ -> raise "bad" end)) end)
      assert_receive {:DOWN, ^monitor, :process, ^reader, {%RuntimeError{message: "bad"}, _}}

      {held, request} = hold()
      {reader, monitor} = spawn_monitor(fn -> Enum.to_list(Backpressure.stream(pool, [1], fn _ -> request end)) end)
      worker = begun(held)
      Process.exit(reader, :kill)
      assert_receive {:DOWN, ^monitor, :process, _, :killed}
      until(pool, abandoned: 1)
      release(worker, held)
      settled(pool, 2)
    end

    test "gives an exit as a result to who traps them" do
      pool = pool!(@engine, target: 1)

      task =
        Task.async(fn ->
          Process.flag(:trap_exit, true)
          results = Enum.to_list(Backpressure.stream(pool, [1, 2], fn n -> if n == 1, do: exit(:odd), else: :pid end))
          {results, Process.info(self(), :messages)}
        end)

      assert {[{:exit, :odd}, {:ok, _pid}], {:messages, [{:EXIT, _, :odd}]}} = Task.await(task)
    end
  end
end

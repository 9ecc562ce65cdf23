defmodule Kantoku.Pool.CallTest do
  import Kantoku.PoolCase

  pools_on_each_engine Kantoku.Pool.CallTest do
    test "a call is answered by a worker, as GenServer.call is" do
      pool = pool!(@engine, target: 3)
      assert {:ok, first} = Pool.call(pool, :pid)
      assert {:ok, second} = Pool.call(pool, {:run, fn -> self() end}, replies: :fast, timeout: :infinity)
      assert first in pids(pool) and second in pids(pool)
      settled(pool, 3)
    end

    test "who finds no free worker waits for one" do
      pool = pool!(@engine)
      {ref, request} = hold()
      task = call_async(pool, request)
      worker = begun(ref)
      waiting = for _ <- 1..3, do: call_async(pool, :pid)
      until(pool, queue: 3)
      release(worker, ref)
      assert {:ok, ^ref} = Task.await(task)
      assert Enum.uniq(Task.await_many(waiting)) == [{:ok, worker}]
      settled(pool, 1)
    end

    for replies <- [:strict, :fast] do
      @replies replies
      test "a time-out while waiting sends nothing and takes no permit (#{replies})" do
        pool = pool!(@engine)
        {ref, request} = hold()
        task = call_async(pool, request)
        worker = begun(ref)
        test = self()
        late = {:run, fn -> send(test, :served) end}

        assert {:error, %Error{reason: reason} = error} = Pool.call(pool, late, timeout: 20, replies: @replies)
        # Who is first to see it, the caller or the pool.
        assert reason in [:timeout, :deadline]
        if reason == :timeout, do: assert(error.details == %{pool: pool, timeout: 20, begun: false})
        release(worker, ref)
        Task.await(task)
        settled(pool, 1)
        refute_received :served
      end

      test "a time-out while a worker is at it keeps that worker from others until it is done (#{replies})" do
        pool = pool!(@engine)
        {ref, request} = hold()

        assert {:error, %Error{reason: :timeout, details: %{begun: true}}} =
                 Pool.call(pool, request, timeout: 20, replies: @replies)

        worker = begun(ref)
        until(pool, abandoned: 1, free: 0)
        next = call_async(pool, :pid)
        until(pool, queue: 1, abandoned: 1)
        release(worker, ref)
        assert {:ok, ^worker} = Task.await(next)
        settled(pool, 1)
      end

      test "a worker's death reaches the caller at once, as that (#{replies})" do
        pool = pool!(@engine)

        assert {:error, %Error{reason: :crashed} = error} =
                 Pool.call(pool, {:run, fn -> Process.exit(self(), :kill) end}, timeout: :infinity, replies: @replies)

        assert error.details == %{pool: pool}
        assert Exception.message(error) =~ "pool :workers"
        settled(pool, 1)
        refute_received {:kantoku_pool, _, _}
      end
    end

    test "a late reply never arrives" do
      pool = pool!(@engine)
      {ref, request} = hold()
      assert {:error, %Error{reason: :timeout}} = Pool.call(pool, request, timeout: 20)
      release(begun(ref), ref)
      settled(pool, 1)
      flush_starts()
      assert Process.info(self(), :messages) == {:messages, []}
    end

    test "a call after a late one has its own answer, and nothing else ever comes" do
      pool = pool!(@engine, target: 2, max: 2, ejection: false)

      for n <- 1..20 do
        {ref, request} = hold()
        assert {:error, %Error{reason: :timeout}} = Pool.call(pool, request, timeout: 5)
        worker = begun(ref)
        assert {:ok, other} = Pool.call(pool, :pid, timeout: if(rem(n, 2) == 0, do: :infinity, else: 5_000))
        assert other != worker
        release(worker, ref)
        settled(pool, 2)
      end

      flush_starts()
      assert Process.info(self(), :messages) == {:messages, []}
    end

    test "a process that was given another's dictionary has its own answers" do
      pool = pool!(@engine)
      assert {:ok, _} = Pool.call(pool, :pid)
      dictionary = Process.get()

      task =
        Task.async(fn ->
          for {key, value} <- dictionary, do: Process.put(key, value)
          Pool.call(pool, :pid)
        end)

      assert {:ok, _} = Task.await(task)
      flush_starts()
      assert Process.info(self(), :messages) == {:messages, []}
    end

    test "a fast late reply arrives as GenServer.call's did, and nothing else does" do
      pool = pool!(@engine)
      {ref, request} = hold()
      assert {:error, %Error{reason: :timeout}} = Pool.call(pool, request, timeout: 20, replies: :fast)
      release(begun(ref), ref)
      assert_receive {tag, ^ref} when is_reference(tag)
      settled(pool, 1)
      flush_starts()
      assert Process.info(self(), :messages) == {:messages, []}
    end

    test "a worker that dies after its answer costs the caller nothing" do
      pool = pool!(@engine, domain: [partitions: 2, budget: [crashes: :infinity], backoff: [base: 1, cap: 1]])

      for _ <- 1..50 do
        # Read after the answer was sent.
        parting = fn -> GenServer.cast(self(), {:stop, :shutdown}) && :parting end
        [worker] = pids(pool)
        assert {:ok, :parting} = Pool.call(pool, {:run, parting})
        # Else the next call may be given to who has read the last.
        eventually(fn -> match?([other] when other != worker, pids(pool)) end)
      end

      settled(pool, 1)
      refute_received {:kantoku_pool, _, _}
    end

    test "a caller with a long mailbox pays nothing for it" do
      pool = pool!(@engine)
      for replies <- [:strict, :fast], do: Pool.call(pool, :pid, replies: replies)
      short = for replies <- [:strict, :fast], do: reductions(pool, replies)
      for n <- 1..20_000, do: send(self(), {:junk, n})
      long = for replies <- [:strict, :fast], do: reductions(pool, replies)
      # To pass over a message costs a reduction, or more: once for each call that would be a million.
      assert Enum.zip_with(long, short, &(&1 - &2)) |> Enum.all?(&(&1 < 100_000))
    end

    test "a cast is served, and holds its worker until it is" do
      pool = pool!(@engine)
      {ref, {:run, fun}} = hold()
      assert :ok = Pool.cast(pool, {:run, fun})
      worker = begun(ref)
      assert %{ongoing: 1, free: 0} = status(pool)
      test = self()
      assert :ok = Pool.cast(pool, {:run, fn -> send(test, :second) end})
      until(pool, queue: 1)
      release(worker, ref)
      assert_receive :second
      settled(pool, 1)
    end

    test "who is refused is told why, and when to come back" do
      pool = pool!(@engine, max_queue: 0, quotas: [{{:tenant, "thrifty"}, requests: 1, burst: 1}])
      assert {:ok, _} = Pool.call(pool, :pid, tenant: "thrifty")

      assert {:error, %Error{reason: :quota, details: %{retry_in: ms, pool: ^pool}}} =
               Pool.call(pool, :pid, tenant: "thrifty")

      assert ms in 1..60_000
      {ref, request} = hold()
      task = call_async(pool, request)
      worker = begun(ref)
      assert {:error, %Error{reason: :queue_full, details: %{retry_in: ms}} = error} = Pool.call(pool, :pid)
      assert ms >= 1
      assert Exception.message(error) =~ "max_queue"
      assert {:error, %Error{reason: :queue_full}} = Pool.cast(pool, :pid)
      assert {:error, %Error{reason: :queue_full}} = Pool.checkout(pool)
      release(worker, ref)
      Task.await(task)
    end

    test "what there is not is told as that" do
      instance = instance!(@engine)

      for answer <- [
            Pool.call({instance, :none}, :pid),
            Pool.cast({instance, :none}, :pid),
            Pool.checkout({instance, :none}),
            Pool.run({instance, :none}, & &1),
            Pool.status({instance, :none}),
            Pool.workers({instance, :none}),
            Pool.update({instance, :none}, target: 1),
            Pool.stop({instance, :none})
          ] do
        assert {:error, %Error{reason: :not_found, details: %{pool: {^instance, :none}}} = error} = answer
        assert Exception.message(error) =~ "Kantoku.Pool.start/2"
      end

      assert {:error, %Error{reason: :not_running}} = Pool.call({:no_such_instance, :none}, :pid)
      assert {:error, %Error{reason: :not_running}} = Pool.status({:no_such_instance, :none})
    end

    test "a bad option of a request is refused with its name, its value and what was expected" do
      pool = pool!(@engine)

      for {opts, message} <- [
            {[timeout: -1], ~r/option :timeout: expected ms or :infinity, got: -1/},
            {[tenant: 1.5], ~r/option :tenant: expected a tenant .* got: 1.5/},
            {[tenant: String.duplicate("x", 256)], ~r/option :tenant/},
            {[priority: 1], ~r/option :priority: expected :high, :normal or :low, got: 1/},
            {[cost: 0], ~r/option :cost: expected an integer from 1 to 1_000_000, got: 0/},
            {[replies: :lazy], ~r/option :replies: expected :strict or :fast, got: :lazy/},
            {[speed: 3], ~r/expected some of \[:timeout.*got: {:speed, 3}/},
            {:soon, ~r/expected a keyword list, got: :soon/}
          ] do
        assert_raise ArgumentError, message, fn -> Pool.call(pool, :pid, opts) end
        assert_raise ArgumentError, message, fn -> Pool.checkout(pool, opts) end
        assert_raise ArgumentError, message, fn -> Pool.cast(pool, :pid, opts) end
      end
    end

    test "requests of one key go to one worker, and to others while that is busy" do
      pool = pool!(@engine, target: 4, strategy: :hash)
      homes = for key <- 1..20, into: %{}, do: {key, elem(Pool.call(pool, :pid, key: key), 1)}
      for {key, home} <- homes, do: assert({:ok, ^home} = Pool.run(pool, & &1, key: key))
      assert homes |> Map.values() |> Enum.uniq() |> length() > 1
      {ref, request} = hold()
      task = call_async(pool, request, key: 1)
      assert begun(ref) == homes[1]
      assert {:ok, other} = Pool.call(pool, :pid, key: 1)
      assert other != homes[1]
      release(homes[1], ref)
      Task.await(task)
    end

    test "a module as a strategy chooses, and its mistakes are told" do
      defmodule Last do
        @behaviour Kantoku.Pool.Strategy
        @impl true
        def choose(_workers, %{key: :nonsense}), do: :nobody
        def choose(workers, %{priority: :normal}), do: Enum.max_by(workers, & &1.member).pid
      end

      pool = pool!(@engine, target: 3, strategy: Last)
      last = List.last(pids(pool))
      for _ <- 1..10, do: assert({:ok, ^last} = Pool.call(pool, :pid))
      assert {:ok, ^last} = Pool.run(pool, & &1)

      assert_raise ArgumentError, ~r/Last.choose\/2: expected the pid of a worker/, fn ->
        Pool.call(pool, :pid, key: :nonsense)
      end

      {:ok, _} = Pool.stop(pool)
      assert Pool.Strategy.of(pool) == nil
    end

    defp flush_starts do
      receive do
        {:started, _, _} -> flush_starts()
        {:terminated, _} -> flush_starts()
      after
        0 -> :ok
      end
    end

    defp reductions(pool, replies) do
      {:reductions, before} = Process.info(self(), :reductions)
      for _ <- 1..50, do: {:ok, _} = Pool.call(pool, :pid, replies: replies)
      {:reductions, later} = Process.info(self(), :reductions)
      later - before
    end
  end
end

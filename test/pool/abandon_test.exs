defmodule Kantoku.Pool.AbandonTest do
  import Kantoku.PoolCase

  pools_on_each_engine Kantoku.Pool.AbandonTest do
    alias Kantoku.Telemetry

    test "a worker of a caller that died is not handed out until it is done" do
      pool = pool!(@engine)
      {ref, request} = hold()
      caller = TestOwner.start()
      spawn_link(fn -> catch_exit(TestOwner.run(caller, fn -> Pool.call(pool, request) end)) end)
      worker = begun(ref)
      kill(caller)
      next = call_async(pool, :pid)
      until(pool, abandoned: 1, queue: 1)
      release(worker, ref)
      assert {:ok, ^worker} = Task.await(next)
      settled(pool, 1)
    end

    test "a worker of a caller that gave up is handed out when it is done, not before" do
      pool = pool!(@engine)
      {ref, request} = hold()
      assert {:error, %Error{reason: :timeout}} = Pool.call(pool, request, timeout: 10)
      worker = begun(ref)
      next = call_async(pool, :pid)
      until(pool, abandoned: 1, queue: 1)
      release(worker, ref)
      assert {:ok, ^worker} = Task.await(next)
      settled(pool, 1)
    end

    test "with on_abandon: :replace a cast that takes long costs no worker" do
      pool = pool!(@engine, on_abandon: :replace)
      [worker] = pids(pool)
      {ref, request} = hold()
      :ok = Pool.cast(pool, request)
      assert begun(ref) == worker
      next = call_async(pool, :pid)
      until(pool, abandoned: 1, queue: 1)
      release(worker, ref)
      assert Task.await(next) == {:ok, worker}
      settled(pool, 1)
    end

    test "with on_abandon: :replace the worker is killed and started again, uncharged" do
      pool = pool!(@engine, on_abandon: :replace, domain: [partitions: 2, budget: [crashes: 1], unpark: :never])
      {:ok, events} = Telemetry.subscribe(elem(pool, 0), events: [[:pool, :replaced]])

      for _ <- 1..4 do
        [worker] = pids(pool)
        {ref, request} = hold()
        assert {:error, %Error{reason: :timeout}} = Pool.call(pool, request, timeout: 20)
        assert begun(ref) == worker
        assert {:ok, successor} = Pool.call(pool, :pid)
        assert successor != worker
        refute Process.alive?(worker)
        assert_receive {:kantoku_event, ^events, _, _, %{reason: :abandoned, pid: ^worker}}
        Telemetry.ack(events)
      end

      settled(pool, 1)
    end

    test "a worker that does not answer within abandon_timeout is replaced" do
      pool = pool!(@engine, abandon_timeout: 40)
      {:ok, events} = Telemetry.subscribe(elem(pool, 0), events: [[:pool, :replaced]])
      {ref, request} = hold()
      assert {:error, %Error{reason: :timeout}} = Pool.call(pool, request, timeout: 20)
      worker = begun(ref)
      assert {:ok, successor} = Pool.call(pool, :pid)
      assert successor != worker
      assert_receive {:kantoku_event, ^events, _, _, %{reason: :silent, pid: ^worker}}
      settled(pool, 1)
    end

    test "every OTP behaviour says that it is done, in its turn and without being changed" do
      {:ok, server} = Agent.start_link(fn -> :state end)
      {:ok, event} = :gen_event.start_link()
      {:ok, supervisor} = Supervisor.start_link([], strategy: :one_for_one)

      for pid <- [server, event, supervisor] do
        asked = Pool.Abandoned.ask(%{}, 7, pid, :cast, 0)
        assert_receive {ref, _answer} when is_map_key(asked, ref)
        assert {7, %{}} = Pool.Abandoned.answered(asked, ref)
      end

      test = self()
      Agent.cast(server, fn :state -> send(test, :first) && Process.sleep(20) && :state end)
      asked = Pool.Abandoned.ask(%{}, 7, server, :cast, 0)
      assert [:first, {ref, _}] = for(_ <- 1..2, do: receive(do: (message -> message)))
      assert is_map_key(asked, ref)
      assert Agent.get(server, & &1) == :state
      refute_received _anything
    end
  end
end

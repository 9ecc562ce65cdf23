defmodule Kantoku.Pool.ReplyTest do
  import Kantoku.PoolCase

  defmodule Counter do
    use Kantoku.Agent
    def new(_args), do: 0
    def cmd(count, {:add, n}), do: {count + n, [{:reply, {self(), count + n}}]}
    def cmd(count, {:wait, test}), do: {count, [{:reply, held(test)}]}

    defp held(test) do
      send(test, {:at, self()})
      receive do: (:go -> :gone)
    end
  end

  pools_on_each_engine Kantoku.Pool.ReplyTest do
    for replies <- [:strict, :fast] do
      @replies replies
      test "a call is answered by a worker that pulls (#{replies})" do
        pool = pool!(@engine, [target: 2], pulls: true)
        calls = for _ <- 1..20, do: call_async(pool, :pid, replies: @replies)
        answers = Task.await_many(calls)
        assert Enum.all?(answers, fn {:ok, pid} -> pid in pids(pool) end)
        settled(pool, 2)
      end

      test "an answer after the time-out is heard as ever, and the worker is free (#{replies})" do
        pool = pool!(@engine, [], pulls: true)
        {ref, request} = hold()

        assert {:error, %Error{reason: :timeout, details: %{begun: true}}} =
                 Pool.call(pool, request, timeout: 20, replies: @replies)

        worker = begun(ref)
        next = call_async(pool, :pid)
        until(pool, queue: 1, abandoned: 1)
        release(worker, ref)
        assert {:ok, ^worker} = Task.await(next)
        settled(pool, 1)
        # As of a worker that returns its reply: fast ones arrive late, strict ones never.
        if @replies == :fast, do: assert_receive({tag, ^ref} when is_reference(tag))
        refute_received {_tag, ^ref}
        refute_received {:kantoku_pool, _tag, _notice}
      end

      test "a worker that dies with a call says so at once, and leaves no message (#{replies})" do
        pool = pool!(@engine, [target: 1], pulls: true)
        assert {:error, %Error{reason: :crashed}} = Pool.call(pool, {:exit, :kill}, replies: @replies)
        assert {:ok, _pid} = Pool.call(pool, :pid, replies: @replies)
        settled(pool, 1)
        refute_received {:kantoku_pool, _tag, _notice}
      end
    end

    test "what came past the pool is answered, too" do
      pool = pool!(@engine, [], pulls: true)
      [worker] = pids(pool)
      assert GenServer.call(worker, :pid) == worker
      assert {:ok, ^worker} = Pool.run(pool, &GenServer.call(&1, :pid))
      settled(pool, 1)
    end

    test "a call past the pool is not taken for the one that waits in the mailbox" do
      pool = pool!(@engine, [], pulls: true)
      [worker] = pids(pool)
      {ref, request} = hold()
      past = Task.async(fn -> GenServer.call(worker, request) end)
      ^worker = begun(ref)
      call = call_async(pool, :pid)
      until(pool, ongoing: 1)
      release(worker, ref)
      assert Task.await(past) == ref
      assert Task.await(call) == {:ok, worker}
      settled(pool, 1)
    end

    test "in another process it is GenServer.reply/2" do
      pool = pool!(@engine)
      test = self()
      answer = fn from -> spawn(fn -> send(test, {:said, Pool.reply(pool, from, :by_another)}) end) end
      tag = make_ref()
      answer.({self(), tag})
      assert_receive {^tag, :by_another}
      assert_receive {:said, :ok}
      assert {:no, :workers} |> Pool.reply({self(), tag}, :nowhere) == :ok
      assert_received {^tag, :nowhere}
    end

    test "agents of a pool answer so by themselves" do
      pool = {instance!(@engine, pools: [[name: :counters, worker: {Counter, []}, target: 1]]), :counters}
      {:ok, {worker, 2}} = Pool.call(pool, {:add, 2})
      test = self()
      held = call_async(pool, {:wait, test})
      assert_receive {:at, ^worker}
      waiting = call_async(pool, {:add, 3})
      until(pool, queue: 1)
      # Who called is stopped, so nobody can check in but the worker itself.
      :erlang.suspend_process(held.pid)
      send(worker, :go)
      assert {:ok, {^worker, 5}} = Task.await(waiting)
      :erlang.resume_process(held.pid)
      assert {:ok, :gone} = Task.await(held)
      settled(pool, 1)
    end
  end
end

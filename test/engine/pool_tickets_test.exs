import Kantoku.EachEngine

alias Kantoku.{TestOwner, TestPool}

each_engine Kantoku.Engine.PoolTicketsTest do
  import TestPool, only: [hear: 1]

  setup context do
    pool = TestPool.open(@engine, Map.get(context, :pool, []))
    %{pool: pool, worker: TestPool.worker(pool, 0)}
  end

  # Asks as another process, which waits for nothing; it and the answer.
  defp other(fun) do
    owner = TestOwner.start()
    {owner, TestOwner.run(owner, fun)}
  end

  describe "a call" do
    test "is sent at once as its caller's, and its permit is free after the check-in", %{pool: pool, worker: worker} do
      me = self()
      assert {:sent, ticket, ^worker} = TestPool.call(pool, :one)
      hear({:at, ^worker, {:"$gen_call", {^me, :one}, :one}})
      assert %{free: 0, ongoing: 1, served: 1} = TestPool.status(pool)
      assert TestPool.checkin(pool, ticket) == :ok
      assert %{free: 1, ongoing: 0, served: 1, arrived: 1} = TestPool.status(pool)
    end

    test "that waits is sent when a permit is free, and its caller hears nothing of it", %{pool: pool, worker: worker} do
      {:sent, one, _} = TestPool.call(pool, :one)
      assert {:queued, two} = TestPool.call(pool, :two)
      assert %{queue: 1, tenants: 1, arrived: 2, served: 1} = TestPool.status(pool)
      :ok = TestPool.checkin(pool, one, :error)
      hear({:at, ^worker, {:"$gen_call", _, :two}})
      assert TestPool.checkin(pool, two) == :ok
      refute_received {:kantoku_pool, :two, _}
    end

    test "is answered by a plain GenServer", %{pool: pool, worker: worker} do
      {:ok, agent} = Agent.start_link(fn -> 7 end)
      :ok = TestPool.leave(pool, worker)
      :ok = TestPool.join(pool, agent, 0)
      tag = make_ref()
      {:sent, _, ^agent} = Kantoku.Engine.Pools.pool_call(pool.instance, pool.name, tag, {:get, & &1}, nil)
      hear({^tag, 7})
    end
  end

  describe "a check-out" do
    test "is granted at once, and the worker is sent nothing", %{pool: pool, worker: worker} do
      assert {:granted, ticket, ^worker} = TestPool.checkout(pool, :one)
      assert {:queued, _} = TestPool.call(pool, :two)
      assert TestPool.checkin(pool, ticket) == :ok
      hear({:at, ^worker, first})
      assert {:"$gen_call", _, :two} = first
      refute_received {:kantoku_pool, :one, _}
    end

    test "that waits is granted by a message", %{pool: pool, worker: worker} do
      {:granted, one, _} = TestPool.checkout(pool, :one)
      assert {:queued, two} = TestPool.checkout(pool, :two)
      :ok = TestPool.checkin(pool, one)
      hear({:kantoku_pool, :two, {:granted, ^worker}})
      assert TestPool.checkin(pool, two) == :ok
      assert %{free: 1, served: 2} = TestPool.status(pool)
    end
  end

  describe "a cast" do
    test "is sent, and keeps its permit until the foreman says that it is done", %{pool: pool, worker: worker} do
      assert TestPool.cast(pool, :one) == {:sent, worker}
      hear({:at, ^worker, {:"$gen_cast", :one}})
      hear({:kantoku_pool, :pool, {:cast, ticket, ^worker}})
      assert TestPool.abandoned(pool) == [{:cast, ticket, worker}]
      assert %{free: 0, ongoing: 1, abandoned: 1, served: 1} = TestPool.status(pool)
      assert TestPool.answered(pool, ticket) == :ok
      assert %{free: 1, ongoing: 0, abandoned: 0} = TestPool.status(pool)
    end

    test "that waits is sent at its turn, even if its caller is dead by then", %{pool: pool, worker: worker} do
      {:sent, one, _} = TestPool.call(pool, :one)
      {caller, :queued} = other(fn -> TestPool.cast(pool, :two) end)
      TestOwner.kill(caller)
      :ok = TestPool.checkin(pool, one)
      hear({:at, ^worker, {:"$gen_cast", :two}})
      hear({:kantoku_pool, :pool, {:cast, _, ^worker}})
    end

    test "is nobody's", %{pool: pool} do
      {:sent, _} = TestPool.cast(pool, :one)
      hear({:kantoku_pool, :pool, {:cast, ticket, _}})
      assert {TestPool.checkin(pool, ticket), TestPool.cancel(pool, ticket)} == {:gone, :gone}
      assert %{free: 0} = TestPool.status(pool)
    end
  end

  describe "a check-in" do
    test "counts once", %{pool: pool} do
      {:sent, one, _} = TestPool.call(pool, :one)
      {:queued, _} = TestPool.call(pool, :two)
      {:queued, _} = TestPool.call(pool, :three)
      assert TestPool.checkin(pool, one) == :ok
      assert TestPool.checkin(pool, one) == :gone
      assert TestPool.checkin(pool, one, :abandoned) == :gone
      assert %{ongoing: 1, queue: 1} = TestPool.status(pool)
    end

    test "of another's ticket changes nothing", %{pool: pool} do
      {:sent, call, _} = TestPool.call(pool, :one)
      {:queued, waiting} = TestPool.call(pool, :two)

      for ticket <- [call, waiting] do
        {_other, answers} = other(fn -> {TestPool.checkin(pool, ticket), TestPool.cancel(pool, ticket)} end)
        assert answers == {{:error, :foreign}, {:error, :foreign}}
      end

      assert %{ongoing: 1, queue: 1} = TestPool.status(pool)
      assert TestPool.checkin(pool, call) == :ok
    end

    test "of one that waits changes nothing", %{pool: pool, worker: worker} do
      {:sent, one, _} = TestPool.call(pool, :one)
      waiting = TestPool.queue(pool, [:two])
      assert TestPool.checkin(pool, waiting.two) == {:error, :foreign}
      assert %{queue: 1} = TestPool.status(pool)
      assert TestPool.serve(pool, worker, Map.put(waiting, :one, one)) == [:one, :two]
    end

    test "of what was never there finds nothing", %{pool: pool} do
      assert {TestPool.checkin(pool, 1), TestPool.cancel(pool, 1), TestPool.answered(pool, 1)} == {:gone, :gone, :gone}
    end

    test "as abandoned leaves the permit to who says that it is done", %{pool: pool, worker: worker} do
      {:granted, ticket, _} = TestPool.checkout(pool, :one)
      assert TestPool.checkin(pool, ticket, :abandoned) == :ok
      hear({:kantoku_pool, :pool, {:abandoned, ^ticket, ^worker}})
      assert {:queued, two} = TestPool.checkout(pool, :two)
      assert TestPool.checkin(pool, ticket) == :gone
      assert TestPool.answered(pool, ticket) == :ok
      hear({:kantoku_pool, :two, {:granted, ^worker}})
      assert TestPool.answered(pool, ticket) == :gone
      assert TestPool.answered(pool, two) == :gone
      assert %{ongoing: 1, abandoned: 0} = TestPool.status(pool)
    end
  end

  describe "cancelling" do
    test "who waits takes it out, and nothing is sent for it", %{pool: pool, worker: worker} do
      {:sent, one, _} = TestPool.call(pool, :one)
      {:queued, two} = TestPool.call(pool, :two)
      {:queued, three} = TestPool.checkout(pool, :three)
      {:queued, four} = TestPool.call(pool, :four)
      assert TestPool.cancel(pool, two) == :cancelled
      assert TestPool.cancel(pool, three) == :cancelled
      assert TestPool.cancel(pool, two) == :gone
      assert %{queue: 1, cancelled: 2} = TestPool.status(pool)
      assert TestPool.serve(pool, worker, %{one: one, four: four}) == [:one, :four]
      refute_received {:kantoku_pool, :two, _}
      refute_received {:kantoku_pool, :three, _}
    end

    test "the last that waits of a tenant empties its line", %{pool: pool} do
      {:sent, _, _} = TestPool.call(pool, :one)
      {:queued, ticket} = TestPool.call(pool, :two, tenant: "t")
      assert %{tenants: 1} = TestPool.status(pool)
      :cancelled = TestPool.cancel(pool, ticket)
      assert %{tenants: 0, queue: 0} = TestPool.status(pool)
    end

    test "a call that a worker has leaves the permit with it until it is done", %{pool: pool, worker: worker} do
      {:sent, one, _} = TestPool.call(pool, :one)
      {:queued, _} = TestPool.call(pool, :two)
      assert TestPool.cancel(pool, one) == :abandoned
      hear({:kantoku_pool, :pool, {:abandoned, ^one, ^worker}})
      assert {TestPool.cancel(pool, one), TestPool.checkin(pool, one)} == {:gone, :gone}
      assert %{ongoing: 1, abandoned: 1, queue: 1} = TestPool.status(pool)
      assert TestPool.answered(pool, one) == :ok
      hear({:at, ^worker, {:"$gen_call", _, :one}})
      hear({:at, ^worker, {:"$gen_call", _, :two}})
    end

    test "a grant that crosses gives the worker to the next, and the message comes", %{pool: pool, worker: worker} do
      {:granted, one, _} = TestPool.checkout(pool, :one)
      {:queued, two} = TestPool.checkout(pool, :two)
      {:queued, _} = TestPool.checkout(pool, :three)
      :ok = TestPool.checkin(pool, one)
      assert TestPool.cancel(pool, two) == :returned
      hear({:kantoku_pool, :two, {:granted, ^worker}})
      hear({:kantoku_pool, :three, {:granted, ^worker}})
      assert {TestPool.cancel(pool, two), TestPool.checkin(pool, two)} == {:gone, :gone}
      assert %{ongoing: 1, queue: 0} = TestPool.status(pool)
    end

    test "what was checked out gives it back, and tells nothing of how long the worker takes", %{pool: pool} do
      {:granted, ticket, worker} = TestPool.checkout(pool, :one)
      Process.sleep(2)
      assert TestPool.cancel(pool, ticket) == :returned
      assert [{^worker, 0, :ready, 0, 0, 1}] = TestPool.workers(pool)
    end
  end

  describe "the death of a caller" do
    test "takes out what it waited for", %{pool: pool, worker: worker} do
      {:sent, one, _} = TestPool.call(pool, :one)

      {caller, _} =
        other(fn -> [TestPool.call(pool, :dead), TestPool.checkout(pool, :dead), TestPool.call(pool, :dead)] end)

      {:queued, two} = TestPool.call(pool, :two)
      assert %{queue: 4} = TestPool.status(pool)
      TestOwner.kill(caller)
      TestOwner.eventually(fn -> match?(%{queue: 1, cancelled: 3}, TestPool.status(pool)) end)
      assert TestPool.serve(pool, worker, %{one: one, two: two}) == [:one, :two]
    end

    test "gives it no turn, however soon that comes", %{pool: pool, worker: worker} do
      {:sent, one, _} = TestPool.call(pool, :one)
      {caller, {:queued, _}} = other(fn -> TestPool.call(pool, :dead) end)
      {:queued, two} = TestPool.call(pool, :two)
      TestOwner.kill(caller)
      assert TestPool.serve(pool, worker, %{one: one, two: two}) == [:one, :two]
    end

    test "abandons the call that a worker has", %{pool: pool, worker: worker} do
      {caller, {:sent, ticket, _}} = other(fn -> TestPool.call(pool, :one) end)
      TestOwner.kill(caller)
      hear({:kantoku_pool, :pool, {:abandoned, ^ticket, ^worker}})
      assert %{ongoing: 1, abandoned: 1, free: 0} = TestPool.status(pool)
      assert {:queued, _} = TestPool.call(pool, :two)
      assert TestPool.answered(pool, ticket) == :ok
      hear({:at, ^worker, {:"$gen_call", _, :two}})
    end

    test "abandons what it held, granted at once or later", %{pool: pool, worker: worker} do
      TestPool.reopen(pool, max_ongoing: 2)
      {:sent, mine, _} = TestPool.call(pool, :mine)

      {caller, {{:granted, one, _}, {:queued, two}}} =
        other(fn -> {TestPool.checkout(pool, :one), TestPool.checkout(pool, :two)} end)

      :ok = TestPool.checkin(pool, mine)
      TestOwner.kill(caller)
      hear({:kantoku_pool, :pool, {:abandoned, ^one, ^worker}})
      hear({:kantoku_pool, :pool, {:abandoned, ^two, ^worker}})
      assert TestPool.abandoned(pool) == [{:abandoned, one, worker}, {:abandoned, two, worker}]
      for ticket <- [one, two], do: assert(TestPool.answered(pool, ticket) == :ok)
      assert %{ongoing: 0, free: 2} = TestPool.status(pool)
    end

    test "changes nothing for what it had abandoned", %{pool: pool, worker: worker} do
      {caller, {ticket, :abandoned}} =
        other(fn ->
          {:sent, ticket, _} = TestPool.call(pool, :one)
          {ticket, TestPool.cancel(pool, ticket)}
        end)

      hear({:kantoku_pool, :pool, {:abandoned, ^ticket, ^worker}})
      {bystander, {:queued, _}} = other(fn -> TestPool.call(pool, :bystander) end)
      for pid <- [caller, bystander], do: TestOwner.kill(pid)
      TestOwner.eventually(fn -> TestPool.status(pool).queue == 0 end)
      refute_received {:kantoku_pool, :pool, {:abandoned, ^ticket, _}}
      assert TestPool.abandoned(pool) == [{:abandoned, ticket, worker}]
    end
  end

  describe "the death of a worker" do
    @describetag pool: [max_ongoing: 4]

    test "is told to the callers of its calls, and to the foreman; its tickets end", %{pool: pool, worker: worker} do
      {:sent, call, _} = TestPool.call(pool, :call)
      {:granted, held, _} = TestPool.checkout(pool, :held)
      {:sent, abandoned, _} = TestPool.call(pool, :abandoned)
      :abandoned = TestPool.cancel(pool, abandoned)
      {:sent, _} = TestPool.cast(pool, :cast)
      TestOwner.kill(worker)
      hear({:kantoku_pool, :pool, {:down, ^worker}})
      hear({:kantoku_pool, :call, :down})
      assert TestPool.status(pool).ongoing == 0
      for ticket <- [call, held], do: assert(TestPool.checkin(pool, ticket) == :gone)
      for ticket <- [call, held], do: assert(TestPool.cancel(pool, ticket) == :gone)
      assert TestPool.answered(pool, abandoned) == :gone
      assert {TestPool.abandoned(pool), TestPool.workers(pool)} == {[], []}
      refute_received {:kantoku_pool, :held, _}
      refute_received {:kantoku_pool, :abandoned, _}
      refute_received {:kantoku_pool, :call, :down}
    end

    test "leaves those who wait to the next", %{pool: pool, worker: worker} do
      for n <- 1..4, do: {:sent, _, _} = TestPool.call(pool, n)
      {:queued, _} = TestPool.call(pool, :waits)
      TestOwner.kill(worker)
      hear({:kantoku_pool, 4, :down})
      refute_received {:kantoku_pool, :waits, _}
      next = TestPool.worker(pool, 0)
      hear({:at, ^next, {:"$gen_call", _, :waits}})
    end

    test "is seen before a request is given to it", %{pool: pool, worker: worker} do
      other = TestPool.worker(pool, 1)
      TestOwner.kill(worker)
      for n <- 1..4, do: assert({:sent, _, ^other} = TestPool.call(pool, n, route: worker))
      assert {:queued, _} = TestPool.call(pool, :five)
      hear({:kantoku_pool, :pool, {:down, ^worker}})
    end

    test "is seen before somebody who waits is given to it", %{pool: pool, worker: worker} do
      tickets = for n <- 1..4, do: pool |> TestPool.call(n) |> elem(1)
      {:queued, _} = TestPool.call(pool, :waits)
      TestOwner.kill(worker)
      assert Enum.all?(tickets, &(TestPool.checkin(pool, &1) in [:ok, :gone]))
      TestPool.leave(pool, worker)
      next = TestPool.worker(pool, 7)
      hear({:at, ^next, {:"$gen_call", _, :waits}})
    end
  end

  test "a process that is both worker and caller ends as both", %{pool: pool, worker: worker} do
    both = TestOwner.start()
    :ok = TestPool.join(pool, both, 1)
    {:granted, held, ^worker} = TestOwner.run(both, fn -> TestPool.checkout(pool, :held) end)
    {:sent, _, ^both} = TestPool.call(pool, :served)
    TestOwner.kill(both)
    hear({:kantoku_pool, :pool, {:down, ^both}})
    hear({:kantoku_pool, :served, :down})
    hear({:kantoku_pool, :pool, {:abandoned, ^held, ^worker}})
    assert TestPool.abandoned(pool) == [{:abandoned, held, worker}]
  end

  test "whatever becomes of requests, the counts add up", %{pool: pool, worker: worker} do
    TestPool.reopen(pool, max_queue: 3)
    {:sent, one, _} = TestPool.call(pool, :one)
    {:queued, two} = TestPool.call(pool, :two, wait: 1)
    {:queued, three} = TestPool.call(pool, :three)
    :queued = TestPool.cast(pool, :four)
    {:error, :queue_full, _} = TestPool.call(pool, :five)
    :cancelled = TestPool.cancel(pool, three)
    Process.sleep(2)
    :ok = TestPool.tick(pool)
    hear({:kantoku_pool, :two, {:refused, :deadline, 0}})
    assert TestPool.checkin(pool, two) == :gone
    :ok = TestPool.checkin(pool, one)
    hear({:at, ^worker, {:"$gen_cast", :four}})

    assert %{arrived: 5, served: 2, refused: 1, expired: 1, cancelled: 1, queue: 0, ongoing: 1, abandoned: 1} =
             TestPool.status(pool)
  end

  test "waits and holds are shown as means, in microseconds", %{pool: pool} do
    assert %{wait: 0, hold: 0} = TestPool.status(pool)
    {:sent, one, _} = TestPool.call(pool, :one)
    {:queued, two} = TestPool.call(pool, :two)
    Process.sleep(32)
    :ok = TestPool.checkin(pool, one)
    :ok = TestPool.checkin(pool, two)
    assert %{wait: wait, hold: hold} = TestPool.status(pool)
    assert wait >= 2_000 and hold >= 2_000
  end
end

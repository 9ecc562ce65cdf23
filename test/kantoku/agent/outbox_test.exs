defmodule Kantoku.Agent.OutboxTest do
  use Kantoku.Test.AgentCase, async: true

  alias Kantoku.Telemetry

  @fast [directive_backoff: {1, 1}]

  defp pay(pid, what), do: GenServer.call(pid, {:pay, {self(), what}})

  test "directives are delivered one at a time, in order, each with what there is to know about it", context do
    pid = start(context)
    GenServer.call(pid, {:pay_all, for(n <- 1..3, do: {self(), n})})
    pay(pid, 4)

    ids =
      for n <- 1..4 do
        {courier, {_, ^n}, id, about} = delivery()
        refute_received {:delivery, _, _, _, _}
        assert %{id: "a", module: Account, server: ^pid, attempt: 1, incarnation: 1} = about
        assert about.revision == if(n < 4, do: 1, else: 2)
        assert about.instance == context.instance
        send(courier, {:end_delivery, :ok})
        id
      end

    assert Enum.uniq(ids) == ids
    assert Enum.all?(ids, &(byte_size(&1) <= 40 and &1 =~ ~r/\A[\w-]+\z/))
    assert Server.settle(pid, 5_000) == :ok
    assert %{undelivered: 0} = Server.info(pid)
  end

  test "a slow handler holds no call up", context do
    pid = start(context)
    pay(pid, :slow)
    {courier, _, _, _} = delivery()
    assert GenServer.call(pid, {:add, 1}) == 2
    send(courier, {:end_delivery, :ok})
    assert Server.settle(pid, 5_000) == :ok
  end

  test "{:ok, action} tells the agent, in one revision with the end of the directive", context do
    pid = start(context)
    pay(pid, :bill)
    deliver({:ok, {:paid, :bill}})
    assert Server.settle(pid, 5_000) == :ok
    assert %{revision: 2, kept: 2} = Server.info(pid)
    stop(pid, :kill)
    pid = start(context, [], %{incarnation: 2})
    assert Server.state(pid).paid == [:bill]
    refute_received {:delivery, _, _, _, _}
  end

  test "what was under way at a kill is delivered again under the same id, by the next incarnation", context do
    pid = start(context)
    pay(pid, :bill)
    {courier, what, id, _} = delivery()
    monitor = Process.monitor(courier)
    stop(pid, :kill)
    assert_receive {:DOWN, ^monitor, _, _, :killed}

    pid = start(context, [], %{incarnation: 2})
    assert {courier, ^what, ^id, %{attempt: 1, revision: 1, server: ^pid}} = delivery()
    send(courier, {:end_delivery, :ok})
    assert Server.settle(pid, 5_000) == :ok
  end

  test "an orderly end keeps what is undelivered", context do
    pid = start(context, snapshot: :manual)
    pay(pid, 1)
    pay(pid, 2)
    {_courier, _, id, _} = delivery()
    stop(pid)
    pid = start(context, [], %{incarnation: 2})
    assert deliver() == id
    assert deliver() != id
    assert Server.settle(pid, 5_000) == :ok
  end

  test "however the agent ends, a delivery under way ends with it", context do
    for {reason, n} <- Enum.with_index([:normal, :shutdown, {:shutdown, :deploy}]), context = %{context | id: n} do
      pid = start(context)
      pay(pid, 1)
      {courier, _, id, _} = delivery()
      monitor = Process.monitor(courier)
      GenServer.stop(pid, reason)
      assert_receive {:DOWN, ^monitor, _, _, _}
      pid = start(context, [], %{incarnation: 2})
      assert ^id = deliver()
      assert Server.settle(pid, 5_000) == :ok
    end
  end

  test "a change with directives is written before they go out, whatever the policy", context do
    for policy <- [:manual, :on_stop, {:every, 100}, {:interval, 60_000}], context = %{context | id: policy} do
      pid = start(context, snapshot: policy)
      GenServer.call(pid, {:add, 1})
      pay(pid, policy)
      {_courier, what, id, _} = delivery()
      stop(pid, :kill)
      pid = start(context, [snapshot: policy], %{incarnation: 2})
      assert {courier, ^what, ^id, _} = delivery()
      send(courier, {:end_delivery, :ok})
      assert Server.settle(pid, 5_000) == :ok
      stop(pid, :kill)
      assert %{undelivered: 0} = Server.info(start(context, [snapshot: policy], %{incarnation: 3}))
    end
  end

  test "an agent that lost revisions and counts through them again gives other directives other ids", context do
    ids =
      for incarnation <- 1..3 do
        pid = start(context, [store: nil], %{incarnation: incarnation})
        pay(pid, incarnation)
        id = deliver()
        stop(pid, :kill)
        id
      end

    assert length(Enum.uniq(ids)) == 3
  end

  describe "a handler that fails" do
    test "is asked again after a pause, under the same id, and what follows waits", context do
      {:ok, ref} = Telemetry.subscribe(context.instance, events: [[:agent, :directive]])
      pid = start(context, @fast)
      GenServer.call(pid, {:pay_all, [{self(), 1}, {self(), 2}]})
      id = deliver({:error, :not_now})
      assert ^id = deliver(:crash)
      assert ^id = deliver(:nonsense)
      assert {courier, {_, 1}, ^id, %{attempt: 4}} = delivery()
      Process.exit(courier, :kill)
      assert ^id = deliver(:ok)
      assert id != deliver(:ok)

      assert [{1, :not_now}, {2, {:error, %RuntimeError{}}}, {3, :bad_return_value}, {4, {:exit, :killed}}] =
               for(
                 {:kantoku_event, _, [_, _, _, :retried], %{attempts: n}, %{reason: r, directive_id: ^id}} <-
                   Telemetry.take(ref, 4, 5_000),
                 do: {n, r}
               )

      assert_receive {:kantoku_event, ^ref, [_, _, _, :delivered], %{attempts: 5}, %{directive_id: ^id}}
      assert GenServer.call(pid, :count) == 1
    end

    test "for good, parks the agent with nothing lost", context do
      options = [directive_attempts: 2] ++ @fast
      pid = start(context, options)
      pay(pid, 1)
      pay(pid, 2)
      id = deliver(:crash)
      deliver({:error, :no})
      assert gone(pid) == {:shutdown, {:kantoku_park, {:undeliverable, id, :no}}}

      pid = start(context, options, %{incarnation: 2})
      assert ^id = deliver(:ok)
      deliver(:ok)
      assert Server.settle(pid, 5_000) == :ok
    end

    test "for good, costs the directive if it is told to drop, says so, and goes on", context do
      {:ok, ref} = Telemetry.subscribe(context.instance, events: [[:agent, :directive, :undeliverable]])
      pid = start(context, [directive_attempts: 1, on_undeliverable: :drop] ++ @fast)
      pay(pid, 1)
      pay(pid, 2)
      id = deliver({:error, :no})
      assert id != deliver(:ok)
      assert Server.settle(pid, 5_000) == :ok
      assert_receive {:kantoku_event, ^ref, _, %{attempts: 1}, %{directive_id: ^id, action: :drop, reason: :no}}
    end
  end

  defmodule Handler do
    @moduledoc false
    def handle_directive({:pay, {pid, what}}, id, _context) do
      send(pid, {:handled, what, id})
      :ok
    end
  end

  test "a module given as :handler takes the directives in place of the agent's own", context do
    pid = start(context, handler: Handler)
    pay(pid, :bill)
    assert_receive {:handled, :bill, _id}
  end

  test "settle/2 says when there was no time for all deliveries", context do
    pid = start(context)
    pay(pid, 1)
    assert Server.settle(pid, 10) == {:error, :timeout}
    deliver(:ok)
    assert Server.settle(pid, 5_000) == :ok
  end

  # The world outside: remembers ids, so a second delivery is seen and can be refused.
  defmodule World do
    @moduledoc false
    def handle_directive({:pay, {table, what}}, id, _context) do
      :ets.update_counter(table, {:calls, id}, 1, {{:calls, id}, 0})
      :erlang.yield()
      if :ets.insert_new(table, {{:paid, id}, what}), do: :ok, else: {:ok, {:paid, what}}
    end
  end

  test "killed at random points, an agent loses no directive that it acknowledged, and repeats only under the same id",
       context do
    kill_at_random(context, 40)
  end

  @tag :soak
  @tag timeout: 600_000
  test "killed two thousand times, it still has lost none", context do
    {delivered, repeated} = kill_at_random(context, 2_000)
    IO.puts("2000 kills: #{delivered} directives delivered, 0 lost, #{repeated} repeated under their ids")
  end

  defp kill_at_random(context, kills) do
    world = :ets.new(:world, [:public])

    acknowledged =
      for seed <- 1..kills do
        pid = start(context, [handler: World] ++ @fast, %{incarnation: seed})
        state = :rand.seed_s(:exsss, seed)
        {calls, state} = :rand.uniform_s(5, state)
        for n <- 1..calls, do: :ok = GenServer.call(pid, {:pay, {world, {seed, n}}})
        {pause, _state} = :rand.uniform_s(400, state)
        Enum.each(1..pause, fn _ -> :erlang.yield() end)
        stop(pid, :kill)
        for n <- 1..calls, do: {seed, n}
      end
      |> List.flatten()

    pid = start(context, [handler: World] ++ @fast, %{incarnation: kills + 1})
    assert Server.settle(pid, 10_000) == :ok
    paid = for {{:paid, _id}, what} <- :ets.tab2list(world), do: what
    assert Enum.sort(paid) == Enum.sort(acknowledged)
    duplicates = for {{:calls, _id}, n} when n > 1 <- :ets.tab2list(world), do: n - 1
    assert Enum.sum(duplicates) <= kills
    assert Server.state(pid).count == length(acknowledged)
    {length(paid), Enum.sum(duplicates)}
  end
end

defmodule Kantoku.Migration.MoveTest do
  use Kantoku.MigrationCase, async: true
  alias Kantoku.TestWorker

  @ids for n <- 1..60, do: "session-#{n}"

  test "an agent moves with its state, there and back", context do
    first = session!(context, "ada")
    assert Migration.call(context.subject, "ada", {:add, 5}) == 5
    {:ok, events} = Kantoku.subscribe(context.instance, events: [[:migration, :moved]])
    supervise!(context, :enforce, by: "ada")
    second = Kantoku.whereis(context.instance, "ada")
    assert second not in [nil, first]
    assert Migration.whereis(context.subject, "ada", context.registry) == second
    assert Migration.call(context.subject, "ada", {:add, 1}) == 6
    assert %{agents: %{old: 0, new: 1}} = entry(context, :supervision)
    eventually(fn -> old_children(context) == 0 end)

    supervise!(context, :off)
    third = Migration.whereis(context.subject, "ada", context.registry)
    assert third not in [second, nil]
    assert Migration.call(context.subject, "ada", {:add, 1}) == 7
    eventually(fn -> Kantoku.agents(context.instance) == {:ok, []} end)
    assert old_children(context) == 1

    assert [{_, _, _, _, %{id: "ada", from: :old, to: :new}}, {_, _, _, _, %{from: :new, to: :old}}] =
             Kantoku.Telemetry.take(events, 2, 5_000)
  end

  @tag kantoku: [trace: [sampler: :always_on]]
  test "a move is a span, and one that is taken back has failed", context do
    session!(context, "ada")
    session!(context, "eve", state: :none)
    Migration.set(context.instance, :supervision, TestSession, :enforce)
    eventually(fn -> match?(%{agents: %{new: 1}}, entry(context, :supervision)) end)

    moves = moves(context.instance, ["ada", "eve"])
    assert %{status: :unset, attributes: %{"kantoku.from" => "old", "kantoku.to" => "new"}} = moves["ada"]
    assert %{status: :error, attributes: %{"error.type" => "taken_back"}} = moves["eve"]
  end

  # The spans of those moves, by agent. To take spans is to have them no more.
  defp moves(instance, ids) do
    taken = start_supervised!({Agent, fn -> %{} end}, id: :taken)

    eventually(fn ->
      for %{name: "hand_off"} = span <- Kantoku.Trace.take(instance),
          do: Agent.update(taken, &Map.put(&1, span.attributes["kantoku.agent"], span))

      Enum.all?(ids, &is_map_key(Agent.get(taken, fn moves -> moves end), &1))
    end)

    Agent.get(taken, & &1)
  end

  test "an agent moves whose id would read as a variable, or match more than itself", context do
    ids = [:_, :"$1", %{}, %{name: "ada"}, {:session, %{}}]
    for id <- ids, do: session!(context, id)
    for {id, n} <- Enum.with_index(ids), do: Migration.call(context.subject, id, {:add, n})
    supervise!(context, :enforce)
    for {id, n} <- Enum.with_index(ids), do: assert(Migration.call(context.subject, id, :total) == n)
    assert %{agents: %{old: 0, new: 5}} = entry(context, :supervision)
    assert {:ok, agents} = Kantoku.agents(context.instance)
    assert length(agents) == 5
  end

  for engine <- Kantoku.EachEngine.engines() do
    @tag kantoku: [engine: engine]
    test "a rolling canary under load fails no call and keeps all state, on the engine #{engine}", context do
      for id <- @ids, do: session!(context, id, linger: 300)
      test = self()

      callers =
        for n <- 1..8 do
          Task.async(fn -> load(context.subject, Enum.drop(@ids, n) ++ Enum.take(@ids, n), test, %{}) end)
        end

      for percent <- [0, 1, 10, 50, 100, 0] do
        supervise!(context, {:canary, percent}, latency_margin: 1_000, error_margin: 1)
        expected = Enum.count(@ids, &(Migration.side(context.instance, :supervision, TestSession, &1) == :new))
        assert %{agents: %{new: ^expected, moving: 0}} = entry(context, :supervision)
        # All have called several times on this rung.
        for _ <- 1..200, do: assert_receive(:called)
      end

      sums = for caller <- callers, do: send(caller.pid, :stop) && Task.await(caller)

      for id <- @ids,
          do: assert(Migration.call(context.subject, id, :total) == sums |> Enum.map(& &1[id]) |> Enum.sum())

      eventually(fn -> old_children(context) == length(@ids) end)
      eventually(fn -> Kantoku.agents(context.instance) == {:ok, []} end)
    end
  end

  # Each answer has to be what was there before, and more: a lost state would answer less than this caller has added.
  defp load(subject, ids, test, sums) do
    sums =
      Enum.reduce(ids, sums, fn id, sums ->
        sum = Map.get(sums, id, 0) + 1
        assert Migration.call(subject, id, {:add, 1}) >= sum
        send(test, :called)
        Map.put(sums, id, sum)
      end)

    receive do
      :stop -> sums
    after
      0 -> load(subject, ids, test, sums)
    end
  end

  test "what was sent to the process that leaves is handled once, by the one that comes", context do
    pid = session!(context, "ada", linger: 60_000)
    busy = Task.async(fn -> GenServer.call(pid, {:sleep, 200}) end)

    eventually(fn ->
      {:message_queue_len, 0} == Process.info(pid, :message_queue_len) and
        Process.info(pid, :status) == {:status, :waiting}
    end)

    late = for n <- 1..20, do: Task.async(fn -> GenServer.call(pid, {:add, n}) end)
    for _ <- 1..10, do: GenServer.cast(pid, {:add, 1_000})
    supervise!(context, :enforce)
    assert Task.await(busy) == :ok
    for task <- late, do: assert(is_integer(Task.await(task)))
    # By its old pid, which is still there for who has it.
    assert GenServer.call(pid, {:add, 1}) == Migration.call(context.subject, "ada", :total)
    assert Migration.call(context.subject, "ada", :total) == Enum.sum(1..20) + 10_000 + 1
  end

  test "one without a state that can move stays, and says so", context do
    {:ok, pid} = Migration.start_child(context.subject, "w", {TestWorker, id: "w"}, context.old)
    {:ok, events} = Kantoku.subscribe(context.instance, events: [[:migration, :stayed]])
    :ok = Migration.set(context.instance, :supervision, TestSession, :enforce)
    assert [{_, _, _, _, %{id: "w", reason: :no_state}}] = Kantoku.Telemetry.take(events, 1, 5_000)
    assert {:error, %Error{reason: :timeout}} = Migration.await(context.instance, TestSession, 10)
    assert %{agents: %{old: 1, staying: [{"w", :no_state}]}} = entry(context, :supervision)
    assert Migration.call(context.subject, "w", :pid) == pid
    assert Migration.table(context.instance) |> elem(1) =~ ~s(1 stay, "w": :no_state)
  end

  test "the whole state can move, or none, or a local name", context do
    for {id, opts} <- [a: [state: :sys], b: [state: :fresh], c: []] do
      spec = {TestSession, id: id, name: :"#{context.instance}_#{id}"}
      {:ok, _pid} = Migration.start_child(context.subject, id, spec, context.old, opts)
      Migration.call(context.subject, id, {:add, 3})
    end

    supervise!(context, :enforce)
    assert for(id <- [:a, :b, :c], do: Migration.call(context.subject, id, :total)) == [3, 0, 3]
    assert for(id <- [:a, :b, :c], do: GenServer.call(:"#{context.instance}_#{id}", :total)) == [3, 0, 3]
  end

  test "one that the other side does not start goes on where it was", context do
    pid = session!(context, "ada")
    Migration.call(context.subject, "ada", {:add, 2})
    # Somebody has that id there.
    worker!(context.instance, "ada")
    :ok = Migration.set(context.instance, :supervision, TestSession, :enforce)
    assert eventually(fn -> match?([{"ada", {:already_started, _}}], entry(context, :supervision).agents.staying) end)
    assert Migration.call(context.subject, "ada", {:add, 1}) == 3
    assert GenServer.call({:via, Registry, {elem(context.registry, 1), "ada"}}, :total) == 3
    assert Migration.whereis(context.subject, "ada", context.registry) == pid
    :ok = Kantoku.stop_agent(context.instance, "ada")
    assert Migration.await(context.instance, TestSession, 10_000) == :ok
    assert Migration.call(context.subject, "ada", :total) == 3
  end

  test "an old supervisor does not bring back what has moved", context do
    pid = session!(context, "ada", linger: 60_000)
    supervise!(context, :enforce)
    kill(pid)
    eventually(fn -> old_children(context) == 0 end)
    assert Migration.call(context.subject, "ada", :total) == 0
  end

  test "an agent that was restarted is found and moved as well", context do
    pid = session!(context, "ada")
    kill(pid)
    back = eventually(fn -> Migration.whereis(context.subject, "ada", context.registry) end)
    assert back != pid
    supervise!(context, :enforce)
    assert Migration.call(context.subject, "ada", {:add, 1}) == 1
  end

  test "a second start of an id is refused, as is a stop of what is not there", context do
    pid = session!(context, "ada")
    again = fn -> Migration.start_child(context.subject, "ada", {TestSession, id: "ada"}, context.old) end
    assert again.() == {:error, {:already_started, pid}}
    supervise!(context, :enforce)
    moved = Kantoku.whereis(context.instance, "ada")
    assert again.() == {:error, {:already_started, moved}}
    assert Migration.stop_child(context.subject, "ada") == :ok
    assert Migration.stop_child(context.subject, "ada") == {:error, :not_found}
    assert {:noproc, _} = catch_exit(Migration.call(context.subject, "ada", :total))
    assert {:ok, _pid} = again.()
  end

  test "one that has ended is started anew, and one that is told to move is gone", context do
    {:ok, pid} =
      Migration.start_child(
        context.subject,
        "t",
        %{id: 1, start: {TestWorker, :start_link, [[]]}, restart: :temporary},
        context.old
      )

    kill(pid)
    assert {:ok, _pid} = Migration.start_child(context.subject, "t", {TestSession, id: "t"}, context.old)
  end

  test "an old path of functions is as good", context do
    {DynamicSupervisor, supervisor} = context.old

    old = %{
      start: &DynamicSupervisor.start_child(supervisor, &1),
      stop: &DynamicSupervisor.terminate_child(supervisor, &1)
    }

    {:ok, _pid} = Migration.start_child(context.subject, "f", {TestSession, id: "f"}, old)
    Migration.call(context.subject, "f", {:add, 4})

    for mode <- [:enforce, :off],
        do: supervise!(context, mode) && assert(Migration.call(context.subject, "f", :total) == 4)
  end
end

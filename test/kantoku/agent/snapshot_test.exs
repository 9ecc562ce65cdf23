defmodule Kantoku.Agent.SnapshotTest do
  use Kantoku.Test.AgentCase, async: true

  alias Kantoku.Agent.Snapshot
  alias Kantoku.Telemetry

  defp again(context, options \\ [], overrides \\ %{}), do: start(context, options, Map.put(overrides, :incarnation, 2))

  defp stored(context), do: Store.get(context.store, context.id)

  test "after a kill an agent comes back with all that it ever acknowledged", context do
    pid = start(context)
    for n <- 1..10, do: assert(GenServer.call(pid, {:add, 1}) == n)
    stop(pid, :kill)
    assert Server.state(again(context)).count == 10
  end

  test "killed at random moments under load, it never comes back older than its last answer", context do
    for seed <- 1..30, reduce: 0 do
      floor ->
        pid = start(context, [], %{incarnation: seed})
        assert Server.state(pid).count >= floor
        test = self()

        caller =
          spawn(fn ->
            Enum.each(Stream.repeatedly(fn -> GenServer.call(pid, {:add, 1}) end), &send(test, {:answered, &1}))
          end)

        spin(:rand.uniform_s(3_000, :rand.seed_s(:exsss, seed)) |> elem(0))
        stop(pid, :kill)
        Process.exit(caller, :kill)
        highest_answer(floor)
    end
  end

  defp spin(rounds), do: Enum.each(1..rounds, fn _ -> :erlang.yield() end)

  defp highest_answer(floor) do
    receive do
      {:answered, n} -> highest_answer(max(floor, n))
    after
      0 -> floor
    end
  end

  test "a given-up process that writes ends, its caller unanswered, and its successor's state stays", context do
    old = start(context)
    GenServer.call(old, {:add, 1})
    new = again(context)
    GenServer.call(new, {:add, 10})
    {:ok, ref} = Telemetry.subscribe(context.instance, events: [[:agent, :snapshot, :failed]])
    assert {{:shutdown, :superseded}, _call} = catch_exit(GenServer.call(old, {:add, 100}))
    assert_receive {:kantoku_event, ^ref, _, %{retry_in: 0}, %{reason: :stale}}

    assert gone(old) == {:shutdown, :superseded}
    stop(new, :kill)
    assert Server.state(start(context, [], %{incarnation: 3})).count == 11
  end

  test "after another VM, incarnations that begin at 1 again outdo what is stored, and each other", context do
    pid = start(context, [], %{incarnation: 70})
    GenServer.call(pid, {:add, 1})
    stop(pid, :kill)

    zombie = start(context, [], %{incarnation: 1})
    assert %{incarnation: 71} = Server.info(zombie)
    pid = start(context, [], %{incarnation: 2})
    assert %{incarnation: 72} = Server.info(pid)
    GenServer.call(pid, {:add, 1})
    assert {{:shutdown, :superseded}, _call} = catch_exit(GenServer.call(zombie, {:add, 100}))
    stop(pid, :kill)
    assert Server.state(start(context, [], %{incarnation: 3})).count == 2
  end

  test "incarnations that rise by themselves are taken as they are, and nothing is written for them", context do
    pid = start(context, [], %{incarnation: 1_700_000_000_000_000})
    GenServer.call(pid, {:add, 1})
    {:ok, version, _bytes} = stored(context)
    stop(pid, :kill)
    pid = start(context, [], %{incarnation: 1_700_000_000_000_001})
    assert %{incarnation: 1_700_000_000_000_001, revision: 1} = Server.info(pid)
    assert {:ok, ^version, _bytes} = stored(context)
  end

  test "a command that changes nothing writes nothing", context do
    pid = start(context)
    GenServer.call(pid, :count)
    GenServer.call(pid, :nothing)
    assert stored(context) == :none
  end

  test "with {:every, n} each n-th change is written", context do
    pid = start(context, snapshot: {:every, 3})
    for _ <- 1..8, do: GenServer.call(pid, {:add, 1})
    assert {:ok, {1, 6}, _bytes} = stored(context)
    stop(pid, :kill)
    assert Server.state(again(context)).count == 6
  end

  test "with {:interval, ms} a change is written at the latest after that time, and one timer does for many", context do
    pid = start(context, snapshot: {:interval, 20})
    for _ <- 1..8, do: GenServer.call(pid, {:add, 1})
    wait_until(fn -> match?({:ok, {1, 8}, _}, stored(context)) end)
    assert %{kept: 8} = Server.info(pid)
  end

  test "with :on_stop and :manual nothing is written in between, and snapshot/2 writes", context do
    for {policy, id} <- [on_stop: 1, manual: 2], context = %{context | id: id} do
      pid = start(context, snapshot: policy)
      GenServer.call(pid, {:add, 1})
      assert stored(context) == :none
      assert Server.snapshot(pid) == {:ok, 1}
      GenServer.call(pid, {:add, 1})
      stop(pid, :kill)
      assert Server.state(again(context)).count == 1
    end
  end

  test "an orderly end writes, whatever the policy and the reason", context do
    reasons = [:shutdown, {:shutdown, :deploy}, :normal]
    policies = [:every_change, {:every, 100}, {:interval, 60_000}, :on_stop, :manual]

    for {reason, r} <- Enum.with_index(reasons), {policy, p} <- Enum.with_index(policies) do
      context = %{context | id: {r, p}}
      pid = start(context, snapshot: policy)
      GenServer.call(pid, {:add, 7})
      GenServer.stop(pid, reason)
      assert Server.state(again(context)).count == 7
    end
  end

  test "a supervisor's shutdown writes", context do
    {:ok, supervisor} = DynamicSupervisor.start_link(strategy: :one_for_one)

    arg = %{
      instance: context.instance,
      id: "s",
      module: Account,
      args: [],
      options: %{store: context.store, snapshot: :on_stop}
    }

    spec = %{id: :agent, start: {Server, :start_link, [Map.merge(arg, %{incarnation: 1, restore: true})]}}
    {:ok, pid} = DynamicSupervisor.start_child(supervisor, spec)
    GenServer.call(pid, {:add, 7})
    stop(supervisor)
    assert {:ok, {1, 1}, _} = Store.get(context.store, "s")
  end

  test "a crash in a command loses nothing that was changed before it", context do
    pid = start(context, snapshot: :on_stop)
    GenServer.call(pid, {:add, 3})
    catch_exit(GenServer.call(pid, :crash))
    gone(pid)
    assert Server.state(again(context)).count == 3
  end

  test "restore: false starts afresh, and what it writes counts on from what was there", context do
    pid = start(context)
    for _ <- 1..5, do: GenServer.call(pid, {:add, 1})
    stop(pid)
    pid = again(context, [], %{restore: false, args: [count: 100]})
    assert GenServer.call(pid, {:add, 1}) == 101
    stop(pid, :kill)
    assert Server.state(start(context, [], %{incarnation: 3})).count == 101
  end

  test "a snapshot that is deleted is gone, and the agent starts as new", context do
    pid = start(context)
    GenServer.call(pid, {:add, 1})
    stop(pid)
    assert :ok = Store.delete(context.store, context.id)
    assert :ok = Store.delete(context.store, context.id)
    assert Server.state(again(context)).count == 0
  end

  test "a snapshot above the limit is not written and said to be too large; the one before it stays, and a smaller one is written",
       context do
    {:ok, ref} = Telemetry.subscribe(context.instance, events: [[:agent, :snapshot, :failed]])
    pid = start(context, max_snapshot_bytes: 1_000)
    GenServer.call(pid, {:add, 1})
    GenServer.call(pid, {:fill, 2_000})
    assert_receive {:kantoku_event, ^ref, _, %{retry_in: 0}, %{reason: {:too_large, bytes, 1_000}}} when bytes > 2_000
    assert {:ok, {1, 1}, _} = stored(context)
    GenServer.call(pid, {:fill, 10})
    assert {:ok, {1, 3}, _} = stored(context)
  end

  test "functions and references in the state come back", context do
    pid = start(context)
    GenServer.call(pid, {:paid, [Function.capture(NotLoadedYet, :run, 1), make_ref(), self()]})
    agent = Server.state(pid)
    stop(pid, :kill)
    assert Server.state(again(context)) === agent
  end

  describe "damage" do
    defp damage(context, change) do
      pid = start(context)
      GenServer.call(pid, {:add, 1})
      stop(pid)
      {:ok, version, bytes} = stored(context)
      :ok = Store.put(context.store, context.id, version, change.(bytes), nil)
    end

    defp flip(bytes, at) do
      <<before::binary-size(at), byte, rest::binary>> = bytes
      <<before::binary, Bitwise.bxor(byte, 1), rest::binary>>
    end

    test "of any single byte, and any truncation, is noticed", context do
      pid = start(context)
      GenServer.call(pid, {:add, 1})
      {:ok, version, bytes} = stored(context)
      assert {:ok, %Snapshot{}} = Snapshot.decode(bytes, version, Account)

      for at <- 0..(byte_size(bytes) - 1) do
        assert {:damaged, _} = Snapshot.decode(flip(bytes, at), version, Account)
        assert {:damaged, _} = Snapshot.decode(binary_part(bytes, 0, at), version, Account)
      end
    end

    test "is told by an event, set aside, and the agent starts fresh and can be restored again later", context do
      {:ok, ref} = Telemetry.subscribe(context.instance, events: [[:agent, :snapshot, :damaged]])
      damage(context, &flip(&1, 30))
      pid = again(context)
      assert Server.state(pid).count == 0
      assert_receive {:kantoku_event, ^ref, _, _, %{reason: :checksum, action: :fresh, id: "a"}}
      GenServer.call(pid, {:add, 5})
      stop(pid, :kill)
      assert Server.state(start(context, [], %{incarnation: 3})).count == 5
    end

    test "parks the agent if it is told to, again and again, and the snapshot stays where it is", context do
      damage(context, fn _bytes -> "rubbish" end)
      {:ok, version, _} = stored(context)

      for _ <- 1..2 do
        pid = again(context, on_damaged: :park)
        assert gone(pid) == {:shutdown, {:kantoku_park, {:damaged_snapshot, :no_snapshot}}}
        assert {:ok, ^version, "rubbish"} = stored(context)
      end

      assert :ok = Store.set_aside(context.store, context.id)
      assert Server.state(again(context, on_damaged: :park)).count == 0
    end

    test "is what a snapshot of another module, format or version is called", context do
      pid = start(context)
      GenServer.call(pid, {:add, 1})
      {:ok, version, <<"KTKU", 4, rest::binary>> = bytes} = stored(context)
      assert {:damaged, {:other_module, Account}} = Snapshot.decode(bytes, version, Enum)
      assert {:damaged, :checksum} = Snapshot.decode(bytes, {9, 9}, Account)

      for format <- [1, 2, 5],
          do:
            assert(
              {:damaged, {:unknown_format, ^format}} =
                Snapshot.decode(<<"KTKU", format, rest::binary>>, version, Account)
            )
    end

    test "is told where the body is no snapshot's, or is called another's" do
      agent = Account.new(%{})
      version = {1, 1}
      mark = :erlang.phash2(Account, 0x1_0000_0000)
      sealed = fn format, body -> sealed(format, version, mark, :erlang.term_to_binary(body)) end
      fields = Map.delete(agent, :__struct__)

      for {format, held} <- [{3, agent}, {4, fields}],
          do: assert_account(agent, sealed.(format, {1, held, []}), version)

      for other <- [{1, [count: 1], []}, {1, nil, []}, {1, fields, 7}, {1, fields}, 7],
          do: assert({:damaged, :undecodable} = Snapshot.decode(sealed.(4, other), version, Account))

      garbage = sealed(3, version, mark, <<1, 2, 3>>)
      assert {:damaged, :undecodable} = Snapshot.decode(garbage, version, Account)
      {:ok, bytes} = Snapshot.encode(%Snapshot{module: Account, vsn: 1, agent: agent, outbox: []}, version, 10_000)
      assert_account(agent, bytes, version)
      <<"KTKU", 4, rest::binary>> = bytes
      assert {:damaged, :checksum} = Snapshot.decode(<<"KTKU", 3, rest::binary>>, version, Account)
      nobodys = sealed(3, version, 0xFFFFFFFF, :erlang.term_to_binary({1, agent, []}))
      assert {:damaged, {:other_module, :unknown}} = Snapshot.decode(nobodys, version, Account)
    end

    defp assert_account(agent, bytes, version),
      do:
        assert({:ok, %Snapshot{module: Account, agent: ^agent, outbox: []}} = Snapshot.decode(bytes, version, Account))

    defp sealed(format, {incarnation, revision}, mark, body) do
      checksum = :erlang.crc32([<<format, incarnation::64, revision::64, mark::32>>, body])
      <<"KTKU", format, checksum::32, mark::32, body::binary>>
    end

    test "a store that does not answer is no damage: the agent crashes, to be tried again", context do
      :ets.delete(elem(context.store, 1))
      pid = again(context)
      assert {:badarg, _stack} = gone(pid)
    end
  end

  describe "another shape of data" do
    defmodule Shape1 do
      use Kantoku.Agent
      @impl true
      def new(_), do: %{n: 0}
      @impl true
      def cmd(agent, :inc), do: {%{agent | n: agent.n + 1}, []}
    end

    # The same agent, as later code has it: the snapshot is handed over by name.
    defmodule Shape2 do
      use Kantoku.Agent
      @impl true
      def vsn, do: 2
      @impl true
      def new(_), do: {:counter, 0}
      @impl true
      def cmd({:counter, n}, :inc), do: {{:counter, n + 1}, []}
      @impl true
      def migrate(1, %{n: 13}), do: {:error, :unlucky}
      def migrate(1, %{n: n}), do: {:ok, {:counter, n}}
    end

    defmodule Shape3 do
      use Kantoku.Agent
      @impl true
      def vsn, do: 3
      @impl true
      def new(_), do: nil
      @impl true
      def cmd(agent, _), do: {agent, []}
    end

    defp written_by_shape_1(context, n, module) do
      snapshot = %Snapshot{module: module, vsn: 1, agent: %{n: n}, outbox: []}
      {:ok, bytes} = Snapshot.encode(snapshot, {1, n}, 10_000)
      :ok = Store.put(context.store, context.id, {1, n}, bytes, nil)
    end

    test "goes through migrate/2, and what is written then has the new version", context do
      {:ok, ref} = Telemetry.subscribe(context.instance, events: [[:agent, :restored]])
      written_by_shape_1(context, 3, Shape2)
      pid = again(context, [], %{module: Shape2})
      assert Server.state(pid) == {:counter, 3}
      assert_receive {:kantoku_event, ^ref, _, %{revision: 3}, %{migrated_from: 1}}
      GenServer.call(pid, :inc)
      stop(pid, :kill)
      pid = start(context, [], %{module: Shape2, incarnation: 3})
      assert Server.state(pid) == {:counter, 4}
      assert_receive {:kantoku_event, ^ref, _, %{revision: 4}, %{migrated_from: nil}}
    end

    test "parks the agent if it cannot be migrated, and costs no data even with on_damaged: :fresh", context do
      written_by_shape_1(context, 13, Shape2)

      assert gone(again(context, [], %{module: Shape2})) ==
               {:shutdown, {:kantoku_park, {:migration_failed, 1, :unlucky}}}

      assert {:ok, {1, 13}, _} = stored(context)

      context = %{context | id: "b"}
      written_by_shape_1(context, 1, Shape3)
      pid = again(context, [], %{module: Shape3})
      assert gone(pid) == {:shutdown, {:kantoku_park, {:migration_failed, 1, {:no_migration, 1, 3}}}}
    end

    test "is migrated in a running server by a release upgrade, and is never written under the wrong version before",
         context do
      pid = start(context, [snapshot: :manual], %{module: Shape2})
      :sys.replace_state(pid, fn holding -> %{holding | vsn: 1, agent: %{n: 4}, revision: 4} end)
      :sys.suspend(pid)
      assert :ok = :sys.change_code(pid, Server, nil, [])
      :sys.resume(pid)
      assert Server.state(pid) == {:counter, 4}
    end
  end
end

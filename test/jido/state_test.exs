if Kantoku.Jido.compiled?() do
  defmodule Kantoku.Jido.StateTest do
    use Kantoku.JidoCase, async: true

    alias Kantoku.Agent.Server
    alias Kantoku.JidoAgents.Keeper
    alias Kantoku.Store

    setup do
      %{instance: kantoku!(), jido: jido!()}
    end

    test "what was answered is there after a kill", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a")
      assert add(pid, 3) == 3
      assert add(pid, 4) == 7
      assert total(replaced!(instance, "a")) == 7
      assert add(replaced!(instance, "a")) == 8
    end

    defp add_once(instance) do
      with {:ok, agent} <-
             attempt(fn -> Jido.AgentServer.call({:via, Kantoku.Registry, {instance, "a"}}, signal("add")) end),
           do: agent.state.total
    end

    defp eventually_state(instance),
      do: eventually(fn -> with({:error, _} <- Kantoku.state(instance, "a"), do: nil) end)

    test "what an answered call changed is written before its answer leaves", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a")

      for n <- 1..200 do
        caller = Task.async(fn -> add_once(instance) end)
        if rem(n, 10) == 0, do: Process.exit(Kantoku.whereis(instance, "a") || pid, :kill)

        case Task.await(caller) do
          {:error, :not_found} ->
            :ok

          answered when is_integer(answered) ->
            assert {:ok, %{state: %{total: kept}}} = eventually_state(instance)
            assert kept >= answered

          {:exit, _killed} ->
            :ok
        end
      end
    end

    test "a signal without an answer is kept as well", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a")
      for _ <- 1..3, do: Jido.AgentServer.cast(pid, signal("add"))
      eventually(fn -> total(pid) == 3 end)
      assert total(replaced!(instance, "a")) == 3
    end

    test "only a change makes a revision", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a")
      assert Server.info(pid).revision == 0
      Jido.AgentServer.call(pid, signal("add", %{by: 0}))
      total(pid)
      before = Server.info(pid).revision
      Jido.AgentServer.call(pid, signal("nobody knows this"))
      assert Server.info(pid).revision == before
      add(pid)
      assert Server.info(pid).revision == before + 1
    end

    test "a policy that spares writes has an orderly stop write", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a", snapshot: :on_stop)
      assert add(pid, 5) == 5
      assert Kantoku.stop_agent(instance, "a") == :ok
      assert total(agent!(instance, jido, "a")) == 5
    end

    test "a snapshot can be asked for", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a", snapshot: :manual)
      add(pid, 2)
      assert {:ok, 1} = Server.snapshot(pid)
      add(pid, 2)
      assert total(replaced!(instance, "a")) == 2
    end

    test "the agent's own checkpoint and restore are used", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a", module: Keeper)
      add(pid, 6)
      {:ok, %{agent: agent}} = Jido.AgentServer.state(replaced!(instance, "a"))
      assert %{total: 6, cache: :restored} = agent.state
    end

    test "a restart that is told to start afresh does so once", %{instance: instance, jido: jido} do
      add(agent!(instance, jido, "a"), 5)
      Kantoku.stop_agent(instance, "a")
      pid = agent!(instance, jido, "a", restore: false)
      assert total(pid) == 0
      assert add(pid) == 1
      assert total(replaced!(instance, "a")) == 1
    end

    test "the thread of an agent is part of its snapshot", %{instance: instance, jido: jido} do
      thread = Jido.Thread.new(id: "t") |> Jido.Thread.append(%{kind: :message, payload: %{text: "hello"}})
      made = Counter.new(id: "a")
      made = %{made | state: Map.put(made.state, :__thread__, thread)}
      {:ok, pid} = Kantoku.start_agent(instance, {Kantoku.Jido, made, jido: jido}, id: "a")
      add(pid)
      {:ok, %{agent: agent}} = Jido.AgentServer.state(replaced!(instance, "a"))
      assert %{total: 1, __thread__: %{id: "t", rev: 3, entries: [%{payload: %{text: "hello"}} | _]}} = agent.state
    end

    test "a restart of a thawed agent has what came after", %{instance: instance, jido: jido} do
      thawed = Counter.new(id: "a", state: %{total: 100})
      spec = {Kantoku.Jido, thawed, jido: jido, restored_from_storage: true}
      {:ok, pid} = Kantoku.start_agent(instance, spec, id: "a")
      assert add(pid) == 101
      assert total(replaced!(instance, "a")) == 101
    end

    test "what cannot be restored parks the agent and is left as it is", %{instance: instance, jido: jido} do
      {:ok, store} =
        Kantoku.Instances.reading(instance, fn _rows, book -> {:ok, Kantoku.Domain.Book.agent_options(book).store} end)

      add(agent!(instance, jido, "a", module: Keeper))
      Kantoku.stop_agent(instance, "a")
      {:ok, version, _bytes} = Store.get(store, "a")

      snapshot = %Kantoku.Agent.Snapshot{
        module: Keeper,
        vsn: 1,
        agent: {:written, %{version: 8, id: "a", state: %{}}, nil, %{}}
      }

      {:ok, bytes} = Kantoku.Agent.Snapshot.encode(snapshot, version, 10_000)
      :ok = Store.put(store, "a", version, bytes, nil)
      Kantoku.start_agent(instance, {Kantoku.Jido, Keeper, jido: jido}, id: "a")
      assert eventually_error(instance, "a", :parked)
      assert {:ok, ^version, ^bytes} = Store.get(store, "a")
    end

    @tag :tmp_dir
    test "with durability :sync an answer says that the disk has it", %{jido: jido, tmp_dir: folder} do
      store = {Store.Disk, path: Path.join(folder, "agents.redb")}
      instance = kantoku!(store: store, agents: [durability: :sync])
      pid = agent!(instance, jido, "a")
      sums = 1..50 |> Task.async_stream(fn _ -> add(pid) end, max_concurrency: 50) |> Enum.map(fn {:ok, sum} -> sum end)
      assert Enum.sort(sums) == Enum.to_list(1..50)
      assert %{revision: 50, kept: 50} = Server.info(pid)
      assert total(replaced!(instance, "a")) == 50
      stop_supervised!(instance)
      instance = kantoku!(store: store, agents: [durability: :sync])
      eventually(fn -> Jido.whereis(jido, "a") == nil end)
      assert total(agent!(instance, jido, "a")) == 50
    end

    test "a write that fails is told to its caller, and the change is made", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a", max_snapshot_bytes: 10, durability: :sync)
      assert {:error, {:not_durable, {:too_large, _, 10}}} = Jido.AgentServer.call(pid, signal("add"))
      assert total(pid) == 1
      assert {:error, {:not_durable, _}} = Jido.AgentServer.call(pid, signal("add"))
    end

    test "an idle agent's crash report hides its data", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a", jido: [initial_state: %{total: 4_242_424_242}])
      refute inspect(:sys.get_status(pid), limit: :infinity) =~ "4242424242"
    end
  end
end

if Kantoku.Jido.compiled?() do
  defmodule Kantoku.Jido.EightFailuresTest do
    # What a Jido app under OTP's own supervisors suffers, and in Kantoku's care does not: each is shown on both.
    use Kantoku.JidoCase, async: false

    alias Jido.Agent.InstanceManager

    @moduletag timeout: 120_000

    setup do
      %{instance: kantoku!(), jido: jido!()}
    end

    defp plain!(jido, id, opts \\ []) do
      {:ok, pid} = Jido.start_agent(jido, Counter, [id: id] ++ opts)
      pid
    end

    defp manager!(jido, opts \\ []) do
      name = :"manager_#{System.unique_integer([:positive])}"
      opts = [name: name, agent: Counter, agent_opts: [jido: jido]] ++ opts
      start_supervised!(Supervisor.child_spec({InstanceManager, opts}, id: name, restart: :temporary))
      name
    end

    describe "1: a task dies in the middle of a call" do
      test "plain: the agent is at work for ever, and every later call times out", %{jido: jido} do
        pid = plain!(jido, "a")
        {caller, _action, task} = begin_wait(pid)
        kill(task)
        assert {:exit, {:timeout, _}} = attempt(fn -> Jido.AgentServer.call(pid, signal("add"), 500) end)
        assert {:ok, %{status: :processing}} = Jido.AgentServer.state(pid)
        assert Task.yield(caller, 0) == nil
        Task.shutdown(caller, :brutal_kill)
      end

      test "here: it is replaced with its state within two probe periods, and all who wait are told", context do
        pid = agent!(context.instance, context.jido, "a", probe_period: 100)
        assert add(pid, 5) == 5
        {:ok, _} = Kantoku.subscribe(context.instance, events: [[:kantoku, :agent, :stuck]])
        {caller, _action, task} = begin_wait(pid)
        behind = Task.async(fn -> Jido.AgentServer.call(pid, signal("add")) end)
        eventually(fn -> match?({:ok, %{load: 2}}, Kantoku.Registry.entry(context.instance, "a")) end)
        kill(task)
        died = System.monotonic_time(:millisecond)
        assert {:error, %Error{reason: :crashed, details: %{id: "a", exit: :task_died}}} = Task.await(caller)
        assert System.monotonic_time(:millisecond) - died < 2 * 100 + 200
        assert {:error, %Error{reason: :crashed}} = Task.await(behind)
        assert total(back!(context.instance, "a", pid)) == 5
      end

      test "here: a long call whose task lives is left alone", context do
        pid = agent!(context.instance, context.jido, "a", probe_period: 20)
        {caller, action, _task} = begin_wait(pid)
        Process.sleep(200)
        assert Process.alive?(pid)
        send(action, :go_on)
        assert {:ok, _agent} = Task.await(caller)
        assert add(pid) == 2
      end
    end

    describe "2: one agent of many is killed more than three times in five seconds" do
      test "plain: all others of its manager die with it, and the manager does not come back", %{jido: jido} do
        manager = manager!(jido)
        {:ok, bystander} = InstanceManager.get(manager, "bystander")

        for _ <- 1..4, do: kill(eventually(fn -> living(manager, "a") end))

        eventually(fn -> not Process.alive?(bystander) end)
        eventually(fn -> match?({:error, _}, stand_in(manager)) end)
        Process.sleep(500)
        assert {:error, %ArgumentError{}} = stand_in(manager)
      end

      defp living(manager, key) do
        with {:ok, pid} <- stand_in(manager, key), do: Process.alive?(pid) && pid
      end

      defp stand_in(manager, key \\ "new") do
        attempt(fn -> InstanceManager.get(manager, key) end)
      rescue
        error -> {:error, error}
      end

      test "here: they live on, and the agent comes back", context do
        bystander = agent!(context.instance, context.jido, "bystander")
        agent!(context.instance, context.jido, "a")
        for _ <- 1..5, do: replaced!(context.instance, "a")
        assert Process.alive?(bystander)
        assert add(Kantoku.whereis(context.instance, "a")) == 1
      end
    end

    describe "3: an orderly shutdown" do
      test "plain: writes no checkpoint", %{jido: jido} do
        table = :"table_#{System.unique_integer([:positive])}"
        manager = manager!(jido, storage: {Jido.Storage.ETS, table: table})
        {:ok, pid} = InstanceManager.get(manager, "a")
        assert add(pid, 5) == 5
        stop_supervised!(manager)
        assert Jido.Persist.thaw({Jido.Storage.ETS, table: table}, Counter, {manager, "a"}) == {:error, :not_found}
      end

      @tag :tmp_dir
      test "here: writes, whatever the policy", %{jido: jido, tmp_dir: folder} do
        opts = [store: {Kantoku.Store.Disk, path: Path.join(folder, "agents.redb")}, agents: [snapshot: :on_stop]]
        instance = kantoku!(opts)
        assert add(agent!(instance, jido, "a"), 5) == 5
        stop_supervised!(instance)
        assert total(agent!(kantoku!(opts), jido, "a")) == 5
      end
    end

    describe "4: a restart of an agent that was thawed" do
      test "plain: goes back to what was thawed, whatever was written since", %{jido: jido} do
        storage = {Jido.Storage.ETS, table: :"table_#{System.unique_integer([:positive])}"}
        manager = manager!(jido, storage: storage)
        {:ok, pid} = InstanceManager.get(manager, "a")
        assert add(pid, 5) == 5
        InstanceManager.stop(manager, "a")

        {:ok, thawed} = InstanceManager.get(manager, "a")
        assert add(thawed, 5) == 10
        {:ok, %{agent: agent}} = Jido.AgentServer.state(thawed)
        :ok = Jido.Persist.hibernate(storage, Counter, {manager, "a"}, agent)
        kill(thawed)

        back =
          eventually(fn ->
            with({:ok, pid} <- InstanceManager.lookup(manager, "a"), do: pid != thawed && pid, else: (_ -> nil))
          end)

        assert total(back) == 5
      end

      test "here: has the newest revision", context do
        add(agent!(context.instance, context.jido, "a"), 5)
        Kantoku.stop_agent(context.instance, "a")
        thawed = agent!(context.instance, context.jido, "a")
        assert add(thawed, 5) == 10
        assert total(replaced!(context.instance, "a")) == 10
      end
    end

    describe "5: fifty callers of one agent" do
      defp callers(pid) do
        {first, action, _task} = begin_wait(pid)
        others = for _ <- 1..49, do: asked!(Task.async(fn -> add(pid) end))
        {[first | others], action}
      end

      test "plain: who waits is not to be seen from outside", %{jido: jido} do
        pid = plain!(jido, "a")
        {tasks, action} = callers(pid)
        assert Process.info(pid, :message_queue_len) == {:message_queue_len, 0}
        assert {:ok, %{snapshot: %{status: :idle}} = status} = Jido.AgentServer.status(pid)
        assert Jido.AgentServer.Status.queue_length(status) == 0
        send(action, :go_on)
        Task.await_many(tasks)
      end

      test "here: is the load of its entry, and found by it", context do
        pid = agent!(context.instance, context.jido, "a")
        other = agent!(context.instance, context.jido, "b")
        {tasks, action} = callers(pid)
        assert {:ok, %{load: 50}} = Kantoku.Registry.entry(context.instance, "a")
        assert Kantoku.find(context.instance, type: Counter, order_by: :load, limit: 1) == [{"b", other}]
        send(action, :go_on)
        Task.await_many(tasks)
      end
    end

    describe "6: an agent that crashes again and again" do
      defp kill_for(ms, whereis) do
        over = System.monotonic_time(:millisecond) + ms

        Stream.repeatedly(fn ->
          pid = whereis.()
          if is_pid(pid), do: kill(pid), else: Process.sleep(1)
          is_pid(pid)
        end)
        |> Stream.take_while(fn _killed -> System.monotonic_time(:millisecond) < over end)
        |> Enum.count(& &1)
      end

      test "plain: is restarted hundreds of times without a pause, each time without its state", %{jido: jido} do
        pid = plain!(jido, "a")
        assert add(pid, 5) == 5
        assert kill_for(500, fn -> Jido.whereis(jido, "a") end) > 30
        assert total(eventually(fn -> Jido.whereis(jido, "a") end)) == 0
      end

      test "here: backs off, is parked, says so, and has its state", context do
        assert add(agent!(context.instance, context.jido, "a"), 5) == 5
        assert kill_for(500, fn -> Kantoku.whereis(context.instance, "a") end) < 8
        kill_for(4_000, fn -> Kantoku.whereis(context.instance, "a") end)
        assert {:error, %Error{reason: reason, details: %{retry_in: _}}} = Kantoku.fetch(context.instance, "a")
        assert reason in [:parked, :restarting]
        Kantoku.unpark(context.instance, "a")
        assert total(eventually(fn -> Kantoku.whereis(context.instance, "a") end)) == 5
      end
    end

    describe "7: an agent that idles" do
      # After a call each.
      defp memory(pids, idle?) do
        Enum.each(pids, &add/1)
        # One that is looked at meanwhile is packed again after that.
        eventually(fn -> Enum.all?(pids, idle?) end)
        pids |> Enum.map(fn pid -> pid |> Process.info(:memory) |> elem(1) end) |> Enum.sum() |> div(length(pids))
      end

      defp packed?(pid), do: Process.info(pid, :current_function) == {:current_function, {:erlang, :hibernate, 3}}

      test "plain: keeps the heap of its work; here: is packed, to a third or less", context do
        plain = memory(for(n <- 1..50, do: plain!(context.jido, "plain-#{n}")), fn _pid -> Process.sleep(5) == :ok end)

        ours =
          memory(
            for(n <- 1..50, do: agent!(context.instance, context.jido, "ours-#{n}", hibernate_after: 50)),
            &packed?/1
          )

        assert plain / ours >= 3
      end
    end

    describe "8: 256 callers of one agent" do
      # How much the task of a call has to hold: when nobody waits behind it, and when 254 do.
      defp task_memory(pid, waiting) do
        {first, action, alone} = begin_wait(pid)
        before = memory_of(alone)
        test = self()
        others = for _ <- 1..255, do: Task.async(fn -> Jido.AgentServer.call(pid, signal("wait", %{tell: test})) end)
        eventually(fn -> waiting.() == 255 end)
        send(action, :go_on)
        assert_receive {:waiting, _action, callers}
        crowded = memory_of(Enum.at(callers, -2))
        for task <- [first | others], do: Task.shutdown(task, :brutal_kill)
        crowded / before
      end

      defp memory_of(process), do: process |> Process.info(:memory) |> elem(1)

      test "plain: the task of each call is handed a copy of all who wait", %{jido: jido} do
        pid = plain!(jido, "a")
        assert task_memory(pid, fn -> :queue.len(:sys.get_state(pid).signal_call_queue) end) > 5
      end

      test "here: it is not", %{instance: instance, jido: jido} do
        pid = agent!(instance, jido, "a")

        waiting = fn ->
          {:ok, entry} = Kantoku.Registry.entry(instance, "a")
          entry.load - 1
        end

        assert task_memory(pid, waiting) < 2
      end
    end
  end
end

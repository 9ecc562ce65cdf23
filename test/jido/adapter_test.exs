if Kantoku.Jido.compiled?() do
  defmodule Kantoku.Jido.AdapterTest do
    use Kantoku.JidoCase, async: true

    alias Kantoku.Jido.Traced

    setup do
      %{instance: kantoku!(), jido: jido!()}
    end

    test "an agent is found from both sides", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a")
      assert Jido.whereis(jido, "a") == pid
      assert Kantoku.whereis(instance, "a") == pid
      assert Jido.list_agents(jido) == [{"a", pid}]
      assert {:ok, [%{id: "a", module: Counter, status: :up}]} = Kantoku.agents(instance)
    end

    test "it serves as any agent server of Jido's, and its state is Jido's own", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a", jido: [initial_state: %{total: 5}])
      assert add(pid, 2) == 7
      assert Jido.AgentServer.cast(pid, signal("add")) == :ok
      eventually(fn -> total(pid) == 8 end)
      assert %Jido.AgentServer.State{agent_module: Counter} = :sys.get_state(pid)
      assert {:ok, %{snapshot: %{}}} = Jido.AgentServer.status(pid)
    end

    test "Kantoku's functions serve it", %{instance: instance, jido: jido} do
      agent!(instance, jido, "a")
      assert {:ok, {:ok, %{state: %{total: 3}}}} = Kantoku.call(instance, "a", signal("add", %{by: 3}))
      assert Kantoku.cast(instance, "a", signal("add")) == :ok
      eventually(fn -> match?({:ok, %{state: %{total: 4}}}, Kantoku.state(instance, "a")) end)
    end

    test "a call that fails is answered as Jido answers it", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a")
      assert {:ok, %{state: %{total: 0}}} = Jido.AgentServer.call(pid, signal("fail"))
      assert {:error, %Jido.Error.RoutingError{}} = Jido.AgentServer.call(pid, signal("nobody knows this"))
      assert add(pid) == 1
    end

    test "a signal has the trace that Jido gives it, or its own", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "traced")
      assert Traced.learn()
      handler = {__MODULE__, self()}
      test = self()

      :telemetry.attach(
        handler,
        [:jido, :agent_server, :signal, :start],
        fn _event, _measurements, metadata, nil ->
          if metadata.agent_id == "traced", do: send(test, {:began, metadata})
        end,
        nil
      )

      on_exit(fn -> :telemetry.detach(handler) end)
      add(pid)
      assert_receive {:began, %{jido_trace_id: <<_, _::binary>>, jido_span_id: <<_, _::binary>>} = first}
      refute is_map_key(first, :jido_parent_span_id)
      assert Enum.all?([first.jido_trace_id, first.jido_span_id], &Jido.Signal.ID.valid?/1)
      assert first.jido_trace_id != first.jido_span_id
      assert_in_delta Jido.Signal.ID.extract_timestamp(first.jido_trace_id), System.system_time(:millisecond), 60_000

      trace = Jido.Tracing.Trace.new_root()
      {:ok, signal} = Jido.Tracing.Trace.put(signal("add"), trace)
      assert {:ok, _agent} = Jido.AgentServer.call(pid, signal)
      assert_receive {:began, %{jido_trace_id: id}}
      assert id == trace.trace_id and id != first.jido_trace_id

      assert Jido.AgentServer.cast(pid, signal("add")) == :ok
      assert_receive {:began, %{jido_trace_id: <<_, _::binary>> = third}}
      assert third not in [id, first.jido_trace_id]
    end

    test "a signal goes on in the trace of who calls, and a trace of Jido's in ours", %{jido: jido} do
      instance = kantoku!(trace: [sampler: :parentbased_always_on])
      agent!(instance, jido, "followed")
      assert Traced.learn()
      handler = {__MODULE__, :follows, self()}
      test = self()
      began = fn _event, _measured, metadata, nil -> send(test, {:began, metadata.agent_id, metadata}) end
      :telemetry.attach(handler, [:jido, :agent_server, :signal, :start], began, nil)
      on_exit(fn -> :telemetry.detach(handler) end)

      assert {:ok, {:ok, _agent}} = Kantoku.call(instance, "followed", signal("add"))
      assert_receive {:began, "followed", %{jido_trace_id: trace, jido_span_id: span}}

      assert [%{kind: :client}, %{kind: :internal, trace_id: ^trace, span_id: ^span}] =
               Kantoku.Tracing.spans(instance, 2)

      root = Jido.Tracing.Trace.new_root()
      {:ok, signal} = Jido.Tracing.Trace.put(signal("add"), root)
      context = Kantoku.Jido.context(signal)
      assert {:ok, {:ok, _agent}} = Kantoku.call(instance, "followed", signal, trace: context)
      assert [%{trace_id: id}, %{trace_id: id}] = Kantoku.Tracing.spans(instance, 2)
      assert id == String.replace(root.trace_id, "-", "")

      assert {:ok, {:ok, _agent}} = Kantoku.call(instance, "followed", signal)
      assert [%{trace_id: ^id}, %{trace_id: ^id}] = Kantoku.Tracing.spans(instance, 2)
      assert context.sampled == nil
      quiet = kantoku!(trace: [sampler: :parentbased_always_off])
      agent!(quiet, jido, "quiet")
      assert {:ok, {:ok, _agent}} = Kantoku.call(quiet, "quiet", signal)
      assert Kantoku.Trace.take(quiet) == []

      flush()
      :ok = Kantoku.cast(instance, "followed", signal("add"))
      assert_receive {:began, "followed", %{jido_trace_id: cast, jido_span_id: sent_by}}
      spans = Kantoku.Tracing.spans(instance, 2)
      assert [%{trace_id: ^cast, span_id: ^sent_by, kind: :producer}, %{kind: :internal, parent_id: ^sent_by}] = spans

      assert "add" |> signal() |> Kantoku.Jido.put_context(context) |> Kantoku.Jido.context() == context
      assert Kantoku.Jido.context(signal("add")) == nil
      assert Kantoku.Jido.put_context(signal("add"), nil).extensions == %{}
    end

    defp flush do
      receive do
        {:began, _id, _metadata} -> flush()
      after
        0 -> :ok
      end
    end

    test "the Logger knows it, as it knows ours", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "logging")
      {:dictionary, dictionary} = Process.info(pid, :dictionary)
      assert %{instance: ^instance, agent: "logging"} = dictionary[:"$logger_metadata$"]
    end

    test "its entry says what its module says", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a")
      assert {:ok, entry} = Kantoku.Registry.entry(instance, "a")
      assert %{type: Counter, tags: ["counter", "test", "counting"], capabilities: capabilities} = entry
      assert Enum.all?(["add", "wait", "fail", :memory], &(&1 in capabilities))
      assert %{category: "test", vsn: "1.0.0"} = entry.metadata
      assert Kantoku.find(instance, capability: "add", tag: "counting") == [{"a", pid}]
      other = agent!(instance, jido, "b", tags: [:mine])
      assert Kantoku.find(instance, tag: :mine, capability: "wait") == [{"b", other}]
      assert Kantoku.find(instance, tag: "counting") == [{"a", pid}]
    end

    test "ids that are no text have one of Jido's", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, :planner)
      assert Jido.whereis(jido, "planner") == pid
      pid = agent!(instance, jido, {:room, 7})
      assert {:ok, %{id: "kantoku_" <> _ = id}} = Jido.AgentServer.state(pid)
      assert Jido.whereis(jido, id) == pid
      assert Kantoku.whereis(instance, {:room, 7}) == pid
    end

    test "a name that a Jido agent has already is taken", %{instance: instance, jido: jido} do
      {:ok, pid} = Jido.start_agent(jido, Counter, id: "a")

      assert Kantoku.start_agent(instance, {Kantoku.Jido, Counter, jido: jido}, id: "a") ==
               {:error, {:already_started, pid}}

      assert Kantoku.agents(instance) == {:ok, []}
    end

    test "it comes back under both names after a kill", %{instance: instance, jido: jido} do
      agent!(instance, jido, "a")
      pid = replaced!(instance, "a")
      assert Jido.whereis(jido, "a") == pid
    end

    test "it comes back when Jido's instance crashed and came back", %{instance: instance, jido: jido} do
      old = agent!(instance, jido, "a")
      add(old)
      kill(Process.whereis(Jido.registry_name(jido)))
      pid = back!(instance, "a", old)
      eventually(fn -> Jido.whereis(jido, "a") == pid end)
      assert total(pid) == 1
    end

    test "stopping is Kantoku's, and Jido's stop is Jido's", %{instance: instance, jido: jido} do
      agent!(instance, jido, "a")
      assert Kantoku.stop_agent(instance, "a") == :ok
      eventually(fn -> Jido.whereis(jido, "a") == nil end)
      assert Jido.stop_agent(jido, "a") == {:error, :not_found}
    end

    test "an agent that was made already is taken as it is", %{instance: instance, jido: jido} do
      made = Counter.new(id: "made", state: %{total: 9})
      {:ok, pid} = Kantoku.start_agent(instance, {Kantoku.Jido, made, jido: jido}, id: "made")
      assert total(pid) == 9
    end

    test "a link means what it means without trapping exits", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a")
      {:ok, linked} = Task.start(fn -> Process.link(pid) && Process.sleep(:infinity) end)
      eventually(fn -> linked in (pid |> Process.info(:links) |> elem(1)) end)
      kill(linked)
      assert back!(instance, "a", pid)
    end

    test "an agent is packed when it idles", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a", hibernate_after: 10)
      eventually(fn -> Process.info(pid, :current_function) == {:current_function, {:erlang, :hibernate, 3}} end)
      assert {:memory, bytes} = Process.info(pid, :memory)
      assert bytes < 16_000
      assert add(pid) == 1
    end

    test "load and status follow the calls", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a")
      {first, action, _task} = begin_wait(pid)
      others = for _ <- 1..9, do: Task.async(fn -> add(pid) end)
      eventually(fn -> match?({:ok, %{load: 10}}, Kantoku.Registry.entry(instance, "a")) end)
      eventually(fn -> match?({:ok, %{status: :processing}}, Kantoku.Registry.entry(instance, "a")) end)
      send(action, :go_on)
      assert {:ok, _agent} = Task.await(first)
      assert others |> Task.await_many() |> Enum.sort() == Enum.to_list(2..10)
      eventually(fn -> match?({:ok, %{load: 0, status: :idle}}, Kantoku.Registry.entry(instance, "a")) end)
    end

    test "callers are served in their order, and one that died is not", %{instance: instance, jido: jido} do
      pid = agent!(instance, jido, "a")
      {first, action, _task} = begin_wait(pid)
      {:ok, dead} = Task.start(fn -> Jido.AgentServer.call(pid, signal("add", %{by: 1_000})) end)
      eventually(fn -> match?({:ok, %{load: 2}}, Kantoku.Registry.entry(instance, "a")) end)
      kill(dead)
      second = Task.async(fn -> add(pid, 10) end)
      eventually(fn -> match?({:ok, %{load: 3}}, Kantoku.Registry.entry(instance, "a")) end)
      send(action, :go_on)
      assert {:ok, _agent} = Task.await(first)
      assert Task.await(second) == 11
    end

    test "bad arguments are refused where they are given", %{instance: instance, jido: jido} do
      for {spec, opts, says} <- [
            {{Kantoku.Jido, Counter, jido: jido, id: "b"}, [], "option :id"},
            {{Kantoku.Jido, Enum, jido: jido}, [], "uses Jido.Agent"},
            {{Kantoku.Jido, "x", jido: jido}, [], "an agent of Jido's"},
            {{Kantoku.Jido, Counter, jido: jido}, [snapshot: :sometimes], "snapshot"},
            {{Kantoku.Jido, Counter, jido: jido}, [probe_period: 0], "probe_period"},
            {{Kantoku.Jido, Counter, jido: jido}, [directive_attempts: 3], "directive_attempts"}
          ] do
        assert_raise ArgumentError, ~r/#{says}/, fn -> Kantoku.start_agent(instance, spec, [id: "a"] ++ opts) end
      end
    end

    test "without Jido's instance the start says so", %{instance: instance} do
      assert Kantoku.start_agent(instance, {Kantoku.Jido, Counter, jido: Nobody}, id: "a") ==
               {:error, {:jido_not_running, Nobody}}
    end

    test "a Jido without what is relied on is refused, with its name" do
      error =
        assert_raise ArgumentError, fn -> Kantoku.Jido.PlugIn.check!([{Jido.AgentServer, {:handle_signal, 9}}]) end

      assert error.message =~ "no Jido.AgentServer.handle_signal/9"

      error =
        assert_raise ArgumentError, fn -> Kantoku.Jido.PlugIn.check!([{Jido.AgentServer.State, {:field, :soul}}]) end

      assert error.message =~ "no field :soul in %Jido.AgentServer.State{}"
      assert Kantoku.Jido.PlugIn.check!() == :ok
    end
  end
end

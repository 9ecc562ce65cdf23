if Kantoku.Jido.compiled?() do
  defmodule Kantoku.Jido.TracingTest do
    use Kantoku.JidoCase, async: true

    import Kantoku.Tracing
    alias Kantoku.Pool
    alias Kantoku.Trace.Context

    setup do
      %{jido: jido!()}
    end

    defp traced!(opts \\ []), do: kantoku!([trace: [sampler: :parentbased_always_on]] ++ opts)

    defp pooled!(jido) do
      pools = [[name: :counters, worker: {Kantoku.Jido, Counter, jido: jido}, target: 1]]
      instance = traced!(pools: pools)
      eventually(fn -> match?({:ok, %{free: 1}}, Pool.status({instance, :counters})) end)
      {instance, :counters}
    end

    defp context(flags) do
      {:ok, context} = Context.parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-" <> flags)
      context
    end

    test "a call has a span of who calls and one of the agent that serves, named by its type", %{jido: jido} do
      instance = traced!()
      agent!(instance, jido, "ada")
      assert {:ok, {:ok, _agent}} = Kantoku.call(instance, "ada", signal("add"))
      spans = spans(instance, 2)
      calling = span(spans, "ada", :client)
      serving = span(spans, "ada", :internal)
      assert below?(serving, calling) and calling.parent_id == nil
      assert serving.name == "invoke_agent " <> inspect(Counter) and calling.name == serving.name
      assert %{"kantoku.agent.type" => type, "gen_ai.operation.name" => "invoke_agent"} = serving.attributes
      assert type == inspect(Counter) and serving.status == :unset
      assert calling.started_at <= serving.started_at and serving.ended_at <= calling.ended_at
    end

    test "of those who wait for each other each is served below its own call", %{jido: jido} do
      instance = traced!()
      pid = agent!(instance, jido, "ada")
      test = self()
      first = Task.async(fn -> Kantoku.call(instance, "ada", signal("wait", %{tell: test})) end)
      assert_receive {:waiting, action, _callers}
      others = for _ <- 1..4, do: Task.async(fn -> Kantoku.call(instance, "ada", signal("add")) end)
      eventually(fn -> Process.info(pid, :message_queue_len) == {:message_queue_len, 0} end)
      Enum.each(others, &asked!/1)
      send(action, :go_on)
      for {:ok, {:ok, _agent}} <- Task.await_many([first | others]), do: :ok
      {calling, serving} = instance |> spans(10) |> Enum.split_with(&(&1.kind == :client))
      assert length(calling) == 5 and length(serving) == 5
      for call <- calling, do: assert([_one] = Enum.filter(serving, &below?(&1, call)))
    end

    test "through a pool it is below the request, and the signal in the same trace", %{jido: jido} do
      {instance, _name} = pool = pooled!(jido)
      test = self()
      handler = {__MODULE__, test}
      began = fn _event, _measured, metadata, nil -> send(test, {:began, metadata.jido_instance, metadata}) end
      :telemetry.attach(handler, [:jido, :agent_server, :signal, :start], began, nil)
      on_exit(fn -> :telemetry.detach(handler) end)

      assert {:ok, {:ok, _agent}} = Pool.call(pool, {:signal, signal("add")})
      assert_receive {:began, ^jido, %{jido_trace_id: trace, jido_span_id: span}}
      spans = spans(instance, 2)
      asking = span(spans, "invoke_agent counters", :client)
      serving = span(spans, "{:pool, :counters, 0}", :internal)
      assert below?(serving, asking) and serving.name == "invoke_agent " <> inspect(Counter)
      assert serving.trace_id == trace and serving.span_id == span
      assert [{_at, "kantoku.taken_up", %{"kantoku.wait" => wait}}] = serving.events
      assert wait >= 0

      assert Pool.cast(pool, signal("add")) == :ok
      spans = spans(instance, 2)
      assert below?(span(spans, "{:pool, :counters, 0}", :internal), span(spans, "invoke_agent counters", :producer))
      assert_receive {:began, ^jido, %{jido_trace_id: trace}}
      assert trace == hd(spans).trace_id
    end

    test "what is not recorded of who asks is not of who serves either", %{jido: jido} do
      {instance, _name} = pool = pooled!(jido)
      agent!(instance, jido, "ada")
      quiet = [trace: context("00")]
      assert {:ok, {:ok, _agent}} = Pool.call(pool, {:signal, signal("add")}, quiet)
      assert :ok = Pool.cast(pool, signal("add"), quiet)
      assert {:ok, {:ok, _agent}} = Kantoku.call(instance, "ada", signal("add"), quiet)
      assert :ok = Kantoku.cast(instance, "ada", signal("add"), quiet)
      assert {:ok, {:ok, _agent}} = Kantoku.call(instance, "ada", signal("add"), trace: context("01"))
      assert {:ok, {:ok, _agent}} = Pool.call(pool, {:signal, signal("add")}, trace: context("01"))
      spans = spans(instance, 4)
      assert length(spans) == 4
      assert Enum.all?(spans, &(&1.trace_id == "0af7651916cd43dd8448eb211c80319c"))
    end

    test "a signal that is cast while a call goes on is served below who sent it", %{jido: jido} do
      instance = traced!()
      pid = agent!(instance, jido, "ada")
      {caller, action, _task} = begin_wait(pid)
      assert Kantoku.cast(instance, "ada", signal("add")) == :ok
      send(action, :go_on)
      assert {:ok, _agent} = Task.await(caller)
      spans = spans(instance, 3)
      sending = span(spans, "ada", :producer)
      assert [_one] = Enum.filter(spans, &below?(&1, sending))
    end

    test "one that fails says by what", %{jido: jido} do
      instance = traced!()
      agent!(instance, jido, "ada")
      assert {:ok, {:error, %Jido.Error.RoutingError{}}} = Kantoku.call(instance, "ada", signal("nobody knows this"))
      serving = instance |> spans(2) |> span("ada", :internal)
      assert serving.status == :error and serving.attributes["error.type"] == "Jido.Error.RoutingError"
    end

    test "one whose task died ends with the agent, and its successor's first links to it", %{jido: jido} do
      instance = traced!()
      pid = agent!(instance, jido, "ada", probe_period: 20)
      {caller, _action, task} = begin_wait(pid)
      kill(task)
      assert {:error, %Error{reason: :crashed}} = Task.await(caller)
      back!(instance, "ada", pid)
      [died] = spans(instance, 1)
      assert died.kind == :internal and died.attributes["error.type"] == "task_died"
      assert {:ok, {:ok, _agent}} = Kantoku.call(instance, "ada", signal("add"))
      serving = instance |> spans(2) |> span("ada", :internal)
      assert serving.links == [{died.trace_id, died.span_id}]
    end

    test "one that is stopped in the middle ends then", %{jido: jido} do
      instance = traced!()
      pid = agent!(instance, jido, "ada")
      {_caller, _action, _task} = begin_wait(pid)
      :ok = Kantoku.stop_agent(instance, "ada")
      assert [%{kind: :internal, attributes: %{"error.type" => "stopped"}}] = spans(instance, 1)
    end
  end
end

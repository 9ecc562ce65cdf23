import Kantoku.EachEngine

# Exporters are the VM's, and so is what they count.
each_engine Kantoku.Exporters.SpansTest, async: false do
  import Kantoku.InstanceCase
  import Kantoku.TestOwner, only: [eventually: 1]

  alias Kantoku.{Error, Exporters, ExportingVM, Native, OTLPSpans, OtherVM, TestHTTPSink, Trace}
  alias Kantoku.Tracing.Relay

  # More than any test has, so that none is dropped.
  @roomy [sampler: :always_on, max_queue_size: 1_000_000, max_queue_bytes: 1_000_000_000]

  defp traced!(url, otlp \\ [], opts \\ []) do
    own = [endpoint: url, signals: [:traces], traces_interval: 20, resource: [{"service.name", "tests"}]]
    otlp = Keyword.merge(own, otlp)
    instance = start!([engine: @engine, exporters: [otlp: otlp]] ++ Keyword.merge([trace: @roomy], opts))
    {:ok, _} = Kantoku.start_agent(instance, Relay, id: "ada")
    instance
  end

  defp exporter, do: Enum.find(Exporters.status().exporters, &(&1.kind == :otlp_traces))

  # Each with two spans.
  defp call(instance, calls, callers) do
    1..callers
    |> Enum.map(fn _ -> Task.async(fn -> for n <- 1..calls, do: {:ok, ^n} = Kantoku.call(instance, "ada", n) end) end)
    |> Task.await_many(120_000)
  end

  test "each span arrives once, to the last of an instance that ends" do
    sink = TestHTTPSink.start()
    instance = traced!(sink.url)
    call(instance, 500, 8)
    stop_supervised!(instance)
    spans = OTLPSpans.posted()
    assert length(spans) == 8_000
    assert spans |> Enum.uniq_by(& &1.span) |> length() == 8_000
    by_id = Map.new(spans, &{&1.span, &1})
    {roots, below} = Enum.split_with(spans, &(&1.parent == ""))
    assert length(roots) == 4_000
    assert Enum.all?(below, &(by_id[&1.parent].trace == &1.trace))
  end

  test "a trace is one over three hops, and in another VM" do
    sink = TestHTTPSink.start()
    instance = traced!(sink.url, [], pools: [[name: :writers, worker: {Relay, []}, target: 1]])
    {:ok, _} = Kantoku.start_agent(instance, Relay, id: "last")
    vm = OtherVM.start()
    otlp = [endpoint: sink.url, signals: [:traces], resource: [{"service.name", "other"}]]
    options = [name: :beyond, engine: @engine, trace: [sampler: :parentbased_always_off], exporters: [otlp: otlp]]
    {:ok, _} = OtherVM.run(vm, {ExportingVM, :start, [options]})
    {:ok, _} = OtherVM.run(vm, {Kantoku, :start_agent, [:beyond, Relay, [id: "far"]]})

    over = fn -> OtherVM.run(vm, {ExportingVM, :serve, [:beyond, "far", Trace.inject(), :hello]}) end
    action = {:pool, {instance, :writers}, {:call, instance, "last", {:run, over}}}
    assert {:ok, {:ok, {:ok, {:ok, :hello}}}} = Kantoku.call(instance, "ada", action)
    OtherVM.run(vm, {Supervisor, :stop, [{:via, Kantoku.Instances, :beyond}]})
    OtherVM.stop(vm)
    stop_supervised!(instance)

    spans = OTLPSpans.posted()
    assert length(spans) == 8
    [root] = Enum.filter(spans, &(&1.parent == ""))
    line = line(root, spans)
    assert spans |> Enum.map(& &1.trace) |> Enum.uniq() |> length() == 1

    assert [{"ada", 3}, {"ada", 1}, {"writers", 3}, {_worker, 1}, {"last", 3}, {"last", 1}, {"far", 3}, {"far", 1}] =
             for(span <- line, do: {span.attributes["kantoku.agent"] || span.attributes["kantoku.pool"], span.kind})

    assert for(span <- line, do: span.resource.attributes["service.name"]) ==
             List.duplicate("tests", 6) ++ List.duplicate("other", 2)

    assert %{"gen_ai.operation.name" => "invoke_agent", "kantoku.agent" => "ada"} = root.attributes
    assert root.attributes["gen_ai.agent.name"] == inspect(Relay) and root.name == "invoke_agent " <> inspect(Relay)
    assert root.began <= root.ended and root.status == 0
    assert [{_at, "kantoku.taken_up", %{"kantoku.wait" => wait}} | _] = Enum.at(line, 3).events
    assert wait >= 0
  end

  defp line(span, spans) do
    case Enum.filter(spans, &(&1.parent == span.span)) do
      [] -> [span]
      [below] -> [span | line(below, spans)]
    end
  end

  test "an error, and the link of an agent that comes back, are told as such" do
    sink = TestHTTPSink.start()
    instance = traced!(sink.url)
    assert {:error, %{reason: :crashed}} = Kantoku.call(instance, "ada", :crash)
    eventually(fn -> match?({:ok, :again}, Kantoku.call(instance, "ada", :again)) end)
    stop_supervised!(instance)
    spans = OTLPSpans.posted()
    [crashed] = Enum.filter(spans, &(&1.attributes["error.type"] == "RuntimeError"))
    assert crashed.status == 2
    assert [{_at, "exception", %{"exception.type" => "RuntimeError"}}] = crashed.events
    assert [[{trace, span}]] = for(%{links: [_ | _] = links} <- spans, do: links)
    assert {trace, span} == {crashed.trace, crashed.span}
  end

  test "a collector that is dead costs bounded memory, and what was not sent is counted exactly" do
    url = "http://127.0.0.1:#{TestHTTPSink.closed_port()}"
    instance = traced!(url, [], trace: [sampler: :always_on, max_queue_size: 200])
    call(instance, 250, 4)

    eventually(fn ->
      {:ok, status} = Trace.status(instance)
      assert status.held <= 200
      status.held == 0 and exporter().dropped + status.dropped == 2_000
    end)

    assert %{exports: 0, failures: failures} = exporter()
    assert failures > 0
  end

  test "of one that comes and goes what it took and what was dropped are all there was" do
    # It hangs up, is too busy, is slow, and well.
    answer = fn number -> Enum.at([:close, 503, {:slow, 100, 200}, 200, 200], rem(number, 5)) end
    sink = TestHTTPSink.start(answer: answer)
    instance = traced!(sink.url, [timeout: 5_000], trace: [sampler: :always_on, max_queue_size: 1_000])
    call(instance, 500, 4)

    eventually(fn ->
      {:ok, status} = Trace.status(instance)
      status.held == 0 and status.kept == status.taken
    end)

    {:ok, status} = Trace.status(instance)
    stop_supervised!(instance)
    bodies = Enum.with_index(OTLPSpans.bodies(), 1)
    taken = for {body, number} <- bodies, answer.(number) not in [:close, 503], span <- OTLPSpans.decode(body), do: span
    assert length(taken) == length(Enum.uniq_by(taken, & &1.span))
    # Of three tries in a row one is taken.
    assert length(taken) == status.kept
    assert status.kept + status.dropped == 4_000
  end

  test "what is no endpoint and a path of metrics alone send no spans" do
    nowhere = traced!("http://")
    assert %{error: %Error{reason: :unavailable}} = exporter()
    stop_supervised!(nowhere)
    path = traced!("http://127.0.0.1:4318/custom")
    assert exporter() == nil
    stop_supervised!(path)
  end

  test "spans that wait to be sent are told and counted as native memory, which an instance that ends gives back" do
    sink = TestHTTPSink.start()
    instance = traced!(sink.url, traces_interval: 60_000)
    call(instance, 3, 1)
    eventually(fn -> match?({:ok, %{held: 6, kept: 6, taken: 0}}, Trace.status(instance)) end)
    {:ok, families} = Kantoku.Metrics.snapshot(instance)
    figures = fn name -> Enum.find(families, &(&1.name == name)).series end
    kept = Enum.find(figures.("kantoku_trace_spans"), &(&1.labels["outcome"] == "kept"))
    bytes = Enum.find(figures.("kantoku_native_bytes"), &(&1.labels["owner"] == "traces"))
    assert kept.value == 6.0 and bytes.value > 6 * 200
    stop_supervised!(instance)
    assert length(OTLPSpans.posted()) == 6
    eventually(fn -> Native.trace_counts(instance) == :unknown end)
  end

  test "whoever keeps the buffer may die: its spans are sent all the same" do
    sink = TestHTTPSink.start()
    instance = traced!(sink.url, traces_interval: 60_000)
    call(instance, 3, 1)
    eventually(fn -> match?({:ok, %{held: 6}}, Trace.status(instance)) end)
    keeper = fn -> Enum.find_value(processes(instance), &(match?({Trace.Keeper, _, :worker}, &1) && elem(&1, 1))) end
    before = keeper.()
    Kantoku.TestOwner.kill(before)
    eventually(fn -> keeper.() not in [nil, before] end)
    call(instance, 2, 1)
    stop_supervised!(instance)
    assert length(OTLPSpans.posted()) == 10
  end

  test "an instance that does not trace sends none" do
    start!(engine: @engine, trace: false, exporters: [otlp: []])
    assert [%{kind: :otlp}] = Exporters.status().exporters
  end

  test "of an instance that wants none sent spans stay for who takes them" do
    sink = TestHTTPSink.start()
    _another = traced!(sink.url)
    instance = start!(engine: @engine, trace: @roomy)
    {:ok, _} = Kantoku.start_agent(instance, Relay, id: "ada")
    {:ok, :hello} = Kantoku.call(instance, "ada", :hello)
    eventually(fn -> match?({:ok, %{held: 2}}, Trace.status(instance)) end)
    assert length(Trace.take(instance)) == 2
  end
end

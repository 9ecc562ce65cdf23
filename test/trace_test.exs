import Kantoku.EachEngine

each_engine Kantoku.TraceTest do
  import Kantoku.InstanceCase
  import Kantoku.TestOwner, only: [eventually: 1, kill: 1]
  import Kantoku.Tracing

  alias Kantoku.{Pool, Trace}
  alias Kantoku.Trace.Context
  alias Kantoku.Tracing.{Errand, Plain, Relay, Tell}

  @always [sampler: :always_on]

  defp traced!(opts \\ [], trace \\ @always), do: start!([engine: @engine, trace: trace] ++ opts)

  defp relay!(instance, id) do
    {:ok, pid} = Kantoku.start_agent(instance, Relay, id: id)
    pid
  end

  defp plain!(instance, id) do
    {:ok, pid} = Kantoku.start_agent(instance, {Plain, []}, id: id)
    pid
  end

  describe "calls to agents" do
    test "have a span of who calls and one of who serves, named as OpenTelemetry has it" do
      instance = traced!()
      relay!(instance, "ada")
      assert Kantoku.call(instance, "ada", :hello) == {:ok, :hello}
      spans = spans(instance, 2)
      calling = span(spans, "ada", :client)
      serving = span(spans, "ada", :internal)
      assert calling.parent_id == nil and below?(serving, calling)
      assert calling.sampled and calling.status == :unset and calling.links == []
      assert calling.started_at <= serving.started_at and calling.ended_at >= calling.started_at

      type = inspect(Relay)

      for span <- spans do
        assert span.name == "invoke_agent " <> type

        assert %{
                 "gen_ai.operation.name" => "invoke_agent",
                 "gen_ai.agent.name" => ^type,
                 "gen_ai.agent.id" => id,
                 "kantoku.agent.type" => ^type,
                 "kantoku.agent" => "ada",
                 "kantoku.domain" => "default"
               } = span.attributes

        assert id == inspect(instance) <> "/ada"
      end

      assert abs(calling.started_at - System.os_time(:nanosecond)) < 60_000_000_000
      assert Trace.context() == nil
    end

    test "through agents and a pool are one line, over every hop" do
      pools = [[name: :writers, worker: {Relay, []}, target: 1]]
      instance = traced!(pools: pools)
      for id <- ["a", "b"], do: relay!(instance, id)
      action = {:call, instance, "b", {:pool, {instance, :writers}, :write}}
      assert {:ok, {:ok, {:ok, :write}}} = Kantoku.call(instance, "a", action)
      spans = spans(instance, 6)
      assert length(spans) == 6 and spans |> Enum.map(& &1.trace_id) |> Enum.uniq() |> length() == 1

      line = [
        span(spans, "a", :client),
        span(spans, "a", :internal),
        span(spans, "b", :client),
        span(spans, "b", :internal),
        span(spans, "invoke_agent writers", :client),
        span(spans, "{:pool, :writers, 0}", :internal)
      ]

      for [above, below] <- Enum.chunk_every(line, 2, 1, :discard), do: assert(below?(below, above))
      assert [{_at, "kantoku.taken_up", %{"kantoku.wait" => wait}} | _] = List.last(line).events
      assert wait >= 0
    end

    test "that fail say why" do
      instance = traced!()
      relay!(instance, "ada")
      assert {:error, %{reason: :not_found}} = Kantoku.call(instance, "nobody", :hello)
      assert {:error, %{reason: :crashed}} = Kantoku.call(instance, "ada", :crash)
      spans = spans(instance, 3)
      assert %{status: :error, attributes: %{"error.type" => "not_found"}} = span(spans, "nobody", :client)
      assert %{status: :error, attributes: %{"error.type" => "crashed"}} = span(spans, "ada", :client)
      serving = span(spans, "ada", :internal)
      assert %{status: :error, attributes: %{"error.type" => "RuntimeError"}} = serving
      assert [{_at, "exception", %{"exception.type" => "RuntimeError"}}] = serving.events
    end

    test "time out and exit as they did" do
      instance = traced!()
      pid = relay!(instance, "ada")
      assert {:error, %{reason: :timeout}} = Kantoku.call(instance, "ada", {:hold, self()}, 1)
      assert_receive {:held, ^pid}
      send(pid, :go_on)
      assert Kantoku.call(instance, "ada", :now, timeout: 5_000) == {:ok, :now}
      refute_received _late
    end

    test "a cast is below who sent it, and is no part of their time" do
      instance = traced!()
      relay!(instance, "ada")
      test = self()
      assert Kantoku.cast(instance, "ada", {:run, fn -> send(test, :cast) end}) == :ok
      assert_receive :cast
      spans = spans(instance, 2)
      assert below?(span(spans, "ada", :internal), span(spans, "ada", :producer))
    end

    test "come below the context that is given, or is current" do
      instance = traced!()
      relay!(instance, "ada")
      {:ok, context} = Context.parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "acme=1")
      {:ok, _} = Kantoku.call(instance, "ada", :hello, trace: context)
      {:ok, _} = Trace.with_context(context, fn -> Kantoku.call(instance, "ada", :hello) end)
      :ok = Kantoku.cast(instance, "ada", :hello, trace: context)
      spans = spans(instance, 6)
      assert Enum.all?(spans, &(&1.trace_id == "0af7651916cd43dd8448eb211c80319c" and &1.state == "acme=1"))
      assert Enum.count(spans, &(&1.parent_id == "b7ad6b7169203331")) == 3

      assert_raise ArgumentError, ~r/trace: a Kantoku.Trace.Context/, fn ->
        Kantoku.call(instance, "ada", 1, trace: "00")
      end

      assert_raise ArgumentError, ~r/:unknown/, fn -> Kantoku.call(instance, "ada", 1, unknown: 1) end
    end

    test "leave what a plain process sees as it is" do
      instance = traced!()
      pid = plain!(instance, "plain")
      for request <- [:hello, {:a, 1}, nil], do: assert(Kantoku.call(instance, "plain", request) == {:ok, request})
      assert {:ok, nil} = Kantoku.call(instance, "plain", :where)
      {:ok, carried} = Kantoku.call(instance, "plain", :carried)
      [last | _] = instance |> spans(5) |> Enum.reverse()
      assert Context.span_id(carried) == last.span_id
      assert GenServer.call(pid, :carried) == nil
      :ok = Kantoku.cast(instance, "plain", {:tell, self()})
      test = self()
      assert_receive {:cast, {:tell, ^test}, nil}
    end
  end

  describe "requests to pools" do
    defp pooled!(pool, trace \\ @always), do: {traced!([pools: [[name: :workers, target: 1] ++ pool]], trace), :workers}

    test "of plain workers have the span of who asks, and send what they always sent" do
      {instance, _} = pool = pooled!(worker: {Plain, []})
      assert Pool.call(pool, :hello) == {:ok, :hello}
      assert Pool.call(pool, :hello, timeout: 1_000, replies: :fast) == {:ok, :hello}
      assert Pool.call(pool, :where) == {:ok, nil}
      assert Pool.run(pool, &GenServer.call(&1, :hello)) == {:ok, :hello}
      assert Pool.cast(pool, {:tell, self()}) == :ok
      assert_receive {:cast, {:tell, _}, nil}
      spans = spans(instance, 5)
      assert Enum.map(spans, & &1.kind) == [:client, :client, :client, :client, :producer]
      assert Enum.all?(spans, &(&1.name == "invoke_agent workers" and &1.attributes["kantoku.pool"] == "workers"))
      assert [{_at, "kantoku.taken_up", %{"kantoku.wait" => wait}}] = Enum.at(spans, 3).events
      assert wait >= 0
    end

    test "that wait say so, and from when on; refused ones why" do
      {instance, _} = pool = pooled!(worker: {Relay, []}, max_queue: 1)
      test = self()
      first = Task.async(fn -> Pool.call(pool, {:hold, test}) end)
      assert_receive {:held, worker}
      second = Task.async(fn -> Pool.call(pool, :second) end)
      eventually(fn -> match?({:ok, %{queue: 1}}, Pool.status(pool)) end)
      assert {:error, %{reason: :queue_full}} = Pool.call(pool, :third)
      send(worker, :go_on)
      assert Task.await_many([first, second]) == [ok: :went_on, ok: :second]
      spans = spans(instance, 5)
      assert [queued] = for(span <- spans, {_, "kantoku.queued", _} <- span.events, do: span)
      served = Enum.find(spans, &(&1.parent_id == queued.span_id))
      assert {_, _, %{"kantoku.wait" => wait}} = List.keyfind(served.events, "kantoku.taken_up", 1)
      assert wait > 0
      assert [_] = for(%{attributes: %{"error.type" => "queue_full"}} = span <- spans, do: span)
    end

    test "for a worker of one's own last until it is handed in, and are around nothing else" do
      {instance, _} = pool = pooled!(worker: {Plain, []})
      {:ok, lease} = Pool.checkout(pool)
      assert Trace.context() == nil
      test = self()

      other =
        Task.async(fn ->
          {:ok, lease} = Pool.checkout(pool, timeout: 60_000)
          send(test, :taken)
          :ok = Pool.checkin(lease, :error)
          Pool.checkin(lease)
        end)

      eventually(fn -> match?({:ok, %{queue: 1}}, Pool.status(pool)) end)
      assert {:error, %{reason: :timeout}} = Pool.checkout(pool, timeout: 1)
      assert Pool.checkin(lease) == :ok
      assert_receive :taken
      assert {:error, %{reason: :not_held}} = Task.await(other)
      assert [first, second, late] = spans(instance, 3)
      assert Enum.map([first, second, late], & &1.attributes["error.type"]) == [nil, "error", "timeout"]
      assert [{_, "kantoku.taken_up", _}] = first.events
      assert [{_, "kantoku.queued", _}, {_, "kantoku.taken_up", %{"kantoku.wait" => wait}}] = second.events
      assert wait > 0 and first.ended_at >= late.ended_at
      assert [{_, "kantoku.queued", _}] = late.events
    end

    test "of a pool with a breaker and an objective are traced around these" do
      {instance, _} = pool = pooled!(worker: {Plain, []}, breaker: [])
      :ok = Kantoku.SLO.put(instance, name: :calls, pool: :workers, target: 99)
      {:ok, context} = Context.parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
      assert Pool.call(pool, :hello, trace: context) == {:ok, :hello}
      assert Pool.run(pool, &GenServer.call(&1, :hello), trace: context) == {:ok, :hello}
      assert {:ok, lease} = Pool.checkout(pool)
      assert Pool.checkin(lease) == :ok
      assert [one, other, held] = spans(instance, 3)
      assert held.parent_id == nil and held.name == "invoke_agent workers"
      assert one.parent_id == "b7ad6b7169203331" and other.parent_id == one.parent_id
      assert_raise ArgumentError, ~r/:trace/, fn -> Pool.call(pool, :hello, trace: "no context") end
      assert_raise ArgumentError, ~r/keyword list/, fn -> Pool.call(pool, :hello, :no_options) end
      assert Trace.context() == nil
    end
  end

  describe "spans of one's own" do
    test "are below the current one, and say what they are told" do
      instance = traced!()
      relay!(instance, "ada")

      own = fn ->
        Trace.span("load", %{"app.tenant" => "acme", size: 3, list: [1]}, fn ->
          Trace.add_event("half way", done: 0.5)
          Trace.set_attributes(size: 4)
          Trace.set_error(:partial)
          Trace.inject([{"Traceparent", "old"}, {"accept", "all"}], instance)
        end)
      end

      {:ok, headers} = Kantoku.call(instance, "ada", {:run, own})
      spans = spans(instance, 3)
      load = span(spans, "load", :internal)
      assert below?(load, span(spans, "ada", :internal))
      assert %{"app.tenant" => "acme", "size" => 4, "list" => "[1]", "error.type" => "partial"} = load.attributes
      assert [{_at, "half way", %{"done" => 0.5}}] = load.events
      assert load.status == :error
      assert {"traceparent", "00-#{load.trace_id}-#{load.span_id}-03"} in headers and length(headers) == 2
    end

    test "begin a trace where an instance is named, and none where nothing is current" do
      instance = traced!()
      assert Trace.span("nowhere", fn -> Trace.context() end) == nil

      {outer, inner} =
        Trace.span(instance, "outer", [], fn -> {Trace.context(), Trace.span("inner", &Trace.context/0)} end)

      assert outer.trace == inner.trace and outer.span != inner.span
      assert_raise RuntimeError, fn -> Trace.span(instance, "fails", [], fn -> raise "no" end) end
      assert catch_throw(Trace.span(instance, "throws", [], fn -> throw(:ball) end)) == :ball
      assert Trace.context() == nil
      spans = spans(instance, 4)
      assert %{attributes: %{"error.type" => "RuntimeError"}} = span(spans, "fails", :internal)
      assert %{attributes: %{"error.type" => "throw"}} = span(spans, "throws", :internal)
    end

    test "have ids that never come twice, however they lie within each other" do
      for sampler <- [:always_on, :parentbased_always_off] do
        instance = traced!([], sampler: sampler)
        here = fn -> Trace.context().span end
        leaf = fn -> Trace.span(instance, "leaf", [], here) end

        within = fn ->
          ids = [here.(), leaf.(), leaf.()]
          Trace.set_attributes(step: 1)
          ids ++ [leaf.() | Trace.span("inner", fn -> [leaf.(), here.(), leaf.()] end)]
        end

        ids = for _ <- 1..100, do: [leaf.() | Trace.span(instance, "outer", [], within)]
        assert ids |> List.flatten() |> Enum.uniq() |> length() == 800
        assert Trace.context() == nil
      end
    end

    test "that are kept only as they failed have what was said of them, before and after others within them" do
      instance = traced!([], sampler: :parentbased_always_off)

      Trace.span(instance, "outer", [first: 1], fn ->
        Trace.span("inner", fn -> :ok end)
        Trace.set_attributes(second: 2)
        Trace.span("inner", fn -> :ok end)
        Trace.add_event("third")
        Trace.set_error(:given_up)
      end)

      assert [%{name: "outer", attributes: attributes, events: [{_at, "third", %{}}]}] = spans(instance, 1)
      assert %{"first" => 1, "second" => 2, "error.type" => "given_up", "kantoku.kept" => "error"} = attributes
      assert Trace.context() == nil
    end

    test "are cut to size" do
      instance = traced!()

      Trace.span(instance, "large", for(n <- 1..300, do: {"k#{n}", String.duplicate("é", 10_000)}), fn ->
        for n <- 1..300, do: Trace.add_event("e#{n}")
        Trace.set_attributes(%{"bytes" => <<255, 254>>, "large" => 2 ** 80, "pid" => self()})
      end)

      assert [span] = spans(instance, 1)
      assert map_size(span.attributes) == 128 and length(span.events) == 128
      assert Enum.all?(span.attributes, fn {_, value} -> String.valid?(value) and byte_size(value) <= 4_096 end)
      assert hd(span.events) |> elem(1) == "e1"
      assert span.left_out == %{attributes: 175, events: 172, links: 0}
    end

    test "keep what was said first, however often something is said again, and ours always" do
      limits = [max_attributes: 3, max_events: 2, max_value_length: 10]
      instance = traced!([], @always ++ limits)
      relay!(instance, "ada")

      saying = fn ->
        Trace.set_attributes(first: 0)
        for n <- 1..300, do: Trace.set_attributes(%{"count" => n, second: "é" |> String.duplicate(10)})
        Trace.set_attributes(%{"too" => 1, "many" => 2})
        for n <- 1..3, do: Trace.add_event("e#{n}", text: "0123456789ab")
      end

      {:ok, _} = Kantoku.call(instance, "ada", {:run, saying})
      serving = instance |> spans(2) |> span("ada", :internal)
      assert %{"first" => 0, "count" => 300, "second" => "ééééé"} = serving.attributes
      assert %{"gen_ai.operation.name" => "invoke_age", "kantoku.agent" => "ada"} = serving.attributes
      refute is_map_key(serving.attributes, "too") or is_map_key(serving.attributes, "many")
      assert [{_, "e1", %{"text" => "0123456789"}}, {_, "e2", _}] = serving.events
      assert serving.left_out == %{attributes: 2, events: 1, links: 0}
    end

    test "never break who makes them, whatever they are called" do
      instance = traced!([], @always ++ [max_queue_size: 100])
      odd = [{{:a, self()}, 1}, {<<255>>, <<255>>}, {String.duplicate("k", 100_000), 2}, :no_pair, {%{}, make_ref()}]

      for name <- [<<255>>, String.duplicate("é", 100_000), String.duplicate("x", 70_000) <> <<255>>, ""] do
        assert Trace.span(instance, name, odd, fn ->
                 Trace.add_event(name, odd)
                 Trace.set_attributes(odd)
                 Trace.set_error(name)
                 name
               end) == name
      end

      assert Trace.span(instance, "improper", [{:a, 1} | :b], fn -> :done end) == :done
      all = spans(instance, 5)
      assert length(all) == 5

      for %{name: name, attributes: attributes} = span <- all do
        assert String.valid?(name) and byte_size(name) <= 1_024
        for {key, _value} <- attributes, do: assert(String.valid?(key) and byte_size(key) <= 255)
        for {_, event, _} <- span.events, do: assert(String.valid?(event))
      end
    end

    test "of a context that nobody could have read are dropped and counted, and break nothing" do
      instance = traced!()
      {:ok, context} = Context.parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
      wrong = %{context | state: <<255>>, span: 2 ** 70}
      assert Trace.with_context(wrong, fn -> Trace.span(instance, "below", [], fn -> :done end) end) == :done
      {:ok, %{kept: kept, dropped: dropped}} = Trace.status(instance)
      assert kept + dropped == 1
    end
  end

  describe "sampling" do
    test "decides for the whole trace, and what is not sampled leaves nothing" do
      instance = traced!([], sampler: :parentbased_always_off)
      relay!(instance, "a")
      relay!(instance, "b")
      where = {:run, fn -> Trace.context() end}
      assert {:ok, {:ok, context}} = Kantoku.call(instance, "a", {:call, instance, "b", where})
      refute context.sampled
      assert Trace.status(instance) == {:ok, %{held: 0, bytes: 0, kept: 0, dropped: 0, taken: 0}}
      {:ok, sampled} = Context.parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
      {:ok, {:ok, _}} = Kantoku.call(instance, "a", {:call, instance, "b", :hello}, trace: sampled)
      assert length(spans(instance, 4)) == 4
    end

    test "keeps errors and slow ones all the same, whole from the root" do
      instance = traced!([], sampler: :parentbased_always_off, keep_slow: 20)
      relay!(instance, "a")
      relay!(instance, "b")
      {:error, _} = Kantoku.call(instance, "nobody", :hello)

      assert [%{sampled: false, attributes: %{"kantoku.kept" => "error", "error.type" => "not_found"}}] =
               spans(instance, 1)

      slow = {:run, fn -> receive(do: (:never -> :ok), after: (25 -> :ok)) end}
      {:ok, _} = Kantoku.call(instance, "a", {:call, instance, "b", slow})
      {:ok, _} = Kantoku.call(instance, "a", {:call, instance, "b", :quick})
      spans = spans(instance, 4)
      assert length(spans) == 4 and Enum.all?(spans, &(&1.attributes["kantoku.kept"] == "slow"))
      for [above, below] <- Enum.chunk_every(spans, 2, 1, :discard), do: assert(below?(below, above))
    end

    test "is off by default, and then nothing is handed on" do
      instance = start!(engine: @engine)
      relay!(instance, "ada")
      {:ok, context} = Context.parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
      assert {:ok, nil} = Kantoku.call(instance, "ada", {:run, &Trace.context/0}, trace: context)
      assert Trace.span(instance, "off", [], &Trace.context/0) == nil
      assert Trace.take(instance) == []
      assert Trace.inject([], instance, context) == [] and Trace.extract([{"traceparent", "x"}], instance) == nil
      assert {:error, %{reason: :not_running}} = Trace.take(:"#{instance}_of_nobody")
    end
  end

  describe "an agent that is cut off" do
    test "by a kill: its span ends all the same, and its successor's first links to it" do
      instance = traced!()
      pid = relay!(instance, "ada")
      test = self()
      caller = Task.async(fn -> Kantoku.call(instance, "ada", {:hold, test}) end)
      assert_receive {:held, ^pid}
      kill(pid)
      assert {:error, %{reason: :crashed}} = Task.await(caller)
      back!(instance, "ada", pid)
      {:ok, :hello} = Kantoku.call(instance, "ada", :hello)
      spans = spans(instance, 4)
      [cut] = for(%{attributes: %{"error.type" => "cut_off", "kantoku.cut_off" => true}} = span <- spans, do: span)
      [crashed] = for(%{attributes: %{"error.type" => "crashed"}} = span <- spans, do: span)
      assert below?(cut, crashed) and cut.status == :error
      [linked] = for(%{links: [_ | _]} = span <- spans, do: span)
      assert linked.links == [{cut.trace_id, cut.span_id}] and linked.kind == :internal
      {:ok, :hello} = Kantoku.call(instance, "ada", :hello)
      assert Enum.all?(spans(instance, 2), &(&1.links == []))
    end

    test "in a pool: the worker that takes its place links to where it was" do
      instance = traced!(pools: [[name: :workers, worker: {Relay, []}, target: 1]])
      test = self()
      caller = Task.async(fn -> Pool.call({instance, :workers}, {:hold, test}) end)
      assert_receive {:held, worker}
      kill(worker)
      assert {:error, %{reason: :crashed}} = Task.await(caller)
      eventually(fn -> match?({:ok, :hello}, Pool.call({instance, :workers}, :hello)) end)
      eventually(fn -> instance |> Trace.take() |> Enum.any?(&match?(%{links: [_]}, &1)) end)
    end

    test "by an exception is linked to as well, also if only its failure was kept" do
      for sampler <- [:always_on, :parentbased_always_off] do
        instance = traced!([], sampler: sampler)
        pid = relay!(instance, "ada")
        {:error, %{reason: :crashed}} = Kantoku.call(instance, "ada", :crash)
        back!(instance, "ada", pid)
        failed = instance |> spans(2) |> span("ada", :internal)
        {:ok, sampled} = Context.parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        {:ok, :hello} = Kantoku.call(instance, "ada", :hello, trace: sampled)
        serving = instance |> spans(2) |> span("ada", :internal)
        assert serving.links == [{failed.trace_id, failed.span_id}]
      end
    end
  end

  test "a buffer that is full drops and counts, and what is called is none the slower for it" do
    instance = traced!([], sampler: :always_on, max_queue_size: 3)
    relay!(instance, "ada")
    for n <- 1..5, do: assert(Kantoku.call(instance, "ada", n) == {:ok, n})
    eventually(fn -> match?({:ok, %{held: 3, kept: 3, dropped: 7}}, Trace.status(instance)) end)
    assert length(Trace.take(instance)) == 3
  end

  test "whoever keeps the buffer may die: what it holds stays, and its counts, which are metrics" do
    instance = traced!([], sampler: :always_on, max_queue_size: 2)
    relay!(instance, "ada")
    for _ <- 1..2, do: {:ok, :hello} = Kantoku.call(instance, "ada", :hello)
    eventually(fn -> match?({:ok, %{held: 2, dropped: 2}}, Trace.status(instance)) end)
    keeper = fn -> Enum.find_value(processes(instance), &(match?({Trace.Keeper, _, :worker}, &1) && elem(&1, 1))) end
    before = keeper.()
    kill(before)
    eventually(fn -> keeper.() not in [nil, before] end)
    assert {:ok, %{held: 2, kept: 2, dropped: 2, taken: 0}} = Trace.status(instance)
    assert length(Trace.take(instance)) == 2
    {:ok, families} = Kantoku.Metrics.snapshot(instance)
    %{kind: :counter, series: series} = Enum.find(families, &(&1.name == "kantoku_trace_spans"))
    counts = for %{labels: %{"outcome" => outcome}, value: value} <- series, into: %{}, do: {outcome, value}
    assert counts == %{"kept" => 2.0, "dropped" => 2.0, "taken" => 2.0}
  end

  describe "the wait in a queue" do
    test "is told by a span that is kept only because it was slow" do
      pools = [[name: :workers, target: 1, worker: {Relay, []}]]
      instance = traced!([pools: pools], sampler: :parentbased_always_off, keep_slow: 30)
      pool = {instance, :workers}
      test = self()
      first = Task.async(fn -> Pool.call(pool, {:hold, test}) end)
      assert_receive {:held, worker}
      slow = {:run, fn -> receive(do: (:never -> :ok), after: (40 -> :ok)) end}
      second = Task.async(fn -> Pool.call(pool, slow) end)
      eventually(fn -> match?({:ok, %{queue: 1}}, Pool.status(pool)) end)
      send(worker, :go_on)
      Task.await_many([first, second])
      spans = instance |> spans(2)
      [serving] = for(%{kind: :internal, attributes: %{"kantoku.kept" => "slow"}} = span <- spans, do: span)
      assert [{at, "kantoku.taken_up", %{"kantoku.wait" => wait}}] = serving.events
      assert wait > 0 and at == serving.started_at
    end

    test "of a cast has an event where it is sent and one where it is served" do
      instance = traced!(pools: [[name: :workers, target: 1, worker: {Relay, []}]])
      pool = {instance, :workers}
      test = self()
      first = Task.async(fn -> Pool.call(pool, {:hold, test}) end)
      assert_receive {:held, worker}
      assert Pool.cast(pool, {:run, fn -> send(test, :cast) end}) == :ok
      send(worker, :go_on)
      assert_receive :cast
      Task.await(first)
      spans = spans(instance, 4)
      [sending] = for(%{kind: :producer} = span <- spans, do: span)
      assert [{_, "kantoku.queued", _}] = sending.events
      [served] = Enum.filter(spans, &below?(&1, sending))
      assert [{_, "kantoku.taken_up", %{"kantoku.wait" => wait}}] = served.events
      assert wait > 0
    end
  end

  describe "what does not come to its end" do
    defp cut_off(spans), do: for(%{attributes: %{"kantoku.cut_off" => true}} = span <- spans, do: span)

    test "an agent killed while it calls another: its call ends as well, so that nothing hangs in the air" do
      instance = traced!()
      for id <- ["a", "b"], do: relay!(instance, id)
      pid = Kantoku.whereis(instance, "a")
      test = self()
      caller = Task.async(fn -> Kantoku.call(instance, "a", {:call, instance, "b", {:hold, test}}) end)
      assert_receive {:held, callee}
      kill(pid)
      assert {:error, %{reason: :crashed}} = Task.await(caller)
      send(callee, :go_on)
      back!(instance, "a", pid)
      spans = spans(instance, 4)
      ids = Enum.map(spans, & &1.span_id)
      assert Enum.all?(spans, &(&1.parent_id == nil or &1.parent_id in ids))
      assert spans |> cut_off() |> Enum.map(& &1.kind) |> Enum.sort() == [:client, :internal]
      assert ids == Enum.uniq(ids)
    end

    test "a lease whose worker died is a failed span, once" do
      for sampler <- [:always_on, :parentbased_always_off] do
        instance = traced!([pools: [[name: :workers, target: 1, worker: {Plain, []}]]], sampler: sampler)
        {:ok, lease} = Pool.checkout({instance, :workers})
        kill(lease.pid)
        eventually(fn -> match?({:error, %{reason: :not_held}}, Pool.checkin(lease)) end)
        assert [%{attributes: %{"error.type" => "crashed"}, status: :error}] = spans(instance, 1)
      end
    end

    test "a lease whose holder was killed is ended by the instance, as is what it was in" do
      instance = traced!(pools: [[name: :workers, target: 1, worker: {Plain, []}]])
      test = self()

      {holder, ref} =
        spawn_monitor(fn ->
          Trace.span(instance, "around", [], fn ->
            {:ok, _lease} = Pool.checkout({instance, :workers})
            send(test, :taken)
            Process.sleep(:infinity)
          end)
        end)

      assert_receive :taken
      Process.exit(holder, :kill)
      assert_receive {:DOWN, ^ref, :process, ^holder, :killed}
      Kantoku.Trace.Underway.sweep(instance)
      [around, lease] = spans(instance, 2)
      assert below?(lease, around) and length(cut_off([around, lease])) == 2
      Kantoku.Trace.Underway.sweep(instance)
      assert Trace.take(instance) == []
    end

    test "and an instance that ends leaves nothing to one that has its name later" do
      instance = traced!()
      pid = relay!(instance, "ada")
      test = self()
      {caller, ref} = spawn_monitor(fn -> Kantoku.call(instance, "ada", {:hold, test}) end)
      assert_receive {:held, ^pid}
      Process.exit(caller, :kill)
      assert_receive {:DOWN, ^ref, :process, ^caller, :killed}
      Process.exit(pid, :kill)
      stop_supervised!(instance)

      for table <- [Kantoku.Trace.Cuts, Kantoku.Trace.Underway],
          row <- :ets.tab2list(table),
          do: refute(inspect(row) =~ inspect(instance))
    end
  end

  test "a directive is part of the trace that it was made in, as is what comes of it" do
    instance = traced!()
    relay!(instance, "shop")
    {:ok, _} = Kantoku.start_agent(instance, Errand, id: "errand")
    test = self()
    told = {:run, fn -> {send(test, :told), Logger.metadata()[:agent]} end}
    further = {:call, instance, "shop", told, nil}
    {:ok, :ok} = Kantoku.call(instance, "errand", {:do, {:call, instance, "shop", :hello, further}})
    assert_receive :told
    spans = spans(instance, 6)
    serving = span(spans, "errand", :internal)
    assert [first, second] = for(%{kind: :client, attributes: %{"kantoku.agent" => "shop"}} = span <- spans, do: span)
    assert below?(first, serving) and second.trace_id == serving.trace_id and length(spans) == 6
    {:ok, :ok} = Kantoku.call(instance, "errand", {:do, {:where, test}})
    assert_receive {:where, %Context{}, metadata}
    assert metadata[:agent] == "errand" and metadata[:trace_id] != nil
    GenServer.cast(Kantoku.whereis(instance, "errand"), {:do, {:where, test}})
    assert_receive {:where, %Context{}, _its_own}
  end

  describe "the Logger" do
    test "keeps what a process itself says of its trace" do
      instance = traced!()
      relay!(instance, "ada")
      Logger.metadata(trace_id: "mine", request_id: 7)

      {within, without} =
        Trace.span(instance, "outer", [], fn ->
          {:ok, :hello} = Kantoku.call(instance, "ada", :hello)
          {Logger.metadata(), Trace.with_context(nil, &Logger.metadata/0)}
        end)

      assert within[:trace_id] != "mine" and within[:span_id] != nil and within[:request_id] == 7
      refute Keyword.has_key?(without, :trace_id)
      assert Enum.sort(Logger.metadata()) == [request_id: 7, trace_id: "mine"]
      assert Trace.with_context(nil, &Logger.metadata/0)[:trace_id] == "mine"
      {:ok, context} = Context.parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
      assert Trace.with_context(context, &Logger.metadata/0)[:trace_id] == "0af7651916cd43dd8448eb211c80319c"
      assert Enum.sort(Logger.metadata()) == [request_id: 7, trace_id: "mine"]
    end

    test "says no trace in an agent after a traced call" do
      instance = traced!()
      pid = relay!(instance, "ada")
      {:ok, :hello} = Kantoku.call(instance, "ada", :hello)
      GenServer.cast(pid, {:run, fn -> :ok end})
      spans(instance, 3)
      {:ok, %{dictionary: dictionary}} = {:ok, Map.new(Process.info(pid, [:dictionary]))}
      assert dictionary[:"$logger_metadata$"] == %{instance: instance, agent: "ada"}
    end

    test "says the trace of what an agent crashed in" do
      instance = traced!()
      relay!(instance, "ada")
      test = self()
      filter = fn event, _ -> send(test, {:logged, event.meta, inspect(event.msg)}) && :ignore end
      handler = :"crashes_#{instance}"
      :ok = :logger.add_handler(handler, Tell, %{config: filter, level: :error})
      on_exit(fn -> :logger.remove_handler(handler) end)
      {:error, _} = Kantoku.call(instance, "ada", :crash)
      serving = instance |> spans(2) |> span("ada", :internal)
      trace = serving.trace_id
      assert_receive {:logged, %{trace_id: ^trace, agent: "ada", span_id: span}, _message}
      assert span == serving.span_id
    end
  end

  test "the Logger knows the agent and, while a recorded span is current, the trace" do
    instance = traced!()
    relay!(instance, "ada")
    {:ok, metadata} = Kantoku.call(instance, "ada", {:run, fn -> {Logger.metadata(), Trace.context()} end})
    {metadata, context} = metadata
    assert metadata[:instance] == instance and metadata[:agent] == "ada"
    assert metadata[:trace_id] == Context.trace_id(context) and metadata[:span_id] == Context.span_id(context)
    {:ok, quiet} = Kantoku.call(instance, "ada", {:run, fn -> Trace.with_context(nil, &Logger.metadata/0) end})
    assert quiet[:agent] == "ada"
    assert Logger.metadata()[:trace_id] == nil
  end
end

defmodule Kantoku.TraceDocTest do
  use ExUnit.Case, async: true
  doctest Kantoku.Trace
end

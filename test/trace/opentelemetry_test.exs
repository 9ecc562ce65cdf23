defmodule Kantoku.Trace.OpenTelemetryTest do
  # On the library itself: KANTOKU_DEPS_DIR/opentelemetry_api, which is compiled for this test and is gone after it.
  use Kantoku.InstanceCase, async: false
  import Kantoku.Tracing

  alias Kantoku.Trace
  alias Kantoku.Tracing.Relay

  @moduletag :opentelemetry

  setup_all do
    folder = Path.join(System.get_env("KANTOKU_DEPS_DIR", ""), "opentelemetry_api")
    modules = for path <- Path.wildcard(Path.join(folder, "src/*.erl")), do: load!(path, folder)
    on_exit(fn -> for module <- modules, do: :code.purge(module) && :code.delete(module) end)
  end

  defp load!(path, folder) do
    options = [:binary, :return_errors, i: String.to_charlist(Path.join(folder, "include"))]
    {:ok, module, binary} = path |> String.to_charlist() |> :compile.file(options)
    {:module, ^module} = :code.load_binary(module, String.to_charlist(path), binary)
    module
  end

  # What a span of that library is, as other services would have sent it.
  defp within(headers, fun) do
    [context, propagator] = [:otel_ctx, :otel_propagator_trace_context]
    names = fn carrier -> Map.keys(carrier) end
    get = fn name, carrier -> Map.get(carrier, name, :undefined) end
    before = context.get_current()
    context.attach(propagator.extract(before, headers, names, get, []))
    result = fun.()
    context.attach(before)
    result
  end

  test "a call comes below the span that is current there, and one within ours below ours" do
    for engine <- Kantoku.EachEngine.engines() do
      instance = start!(engine: engine, trace: [sampler: :parentbased_always_off])
      {:ok, _} = Kantoku.start_agent(instance, Relay, id: "ada")
      headers = %{"traceparent" => "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate" => "acme=1"}

      within(headers, fn ->
        {:ok, :hello} = Kantoku.call(instance, "ada", :hello)
        Trace.span(instance, "mine", [], fn -> {:ok, :again} = Kantoku.call(instance, "ada", :again) end)
      end)

      spans = spans(instance, 5)
      assert Enum.all?(spans, &(&1.trace_id == "0af7651916cd43dd8448eb211c80319c" and &1.state == "acme=1"))
      mine = span(spans, "mine", :internal)
      assert [first, ^mine] = Enum.filter(spans, &(&1.parent_id == "b7ad6b7169203331"))
      assert first.kind == :client
      assert Enum.any?(spans, &below?(&1, mine))
      {:ok, :outside} = Kantoku.call(instance, "ada", :outside)
      assert Trace.take(instance) == []
    end
  end

  # What other libraries would put above their own spans, as headers.
  defp current do
    [context, propagator] = [:otel_ctx, :otel_propagator_trace_context]
    propagator.inject(context.get_current(), %{}, &Map.put(&3, &1, &2), [])["traceparent"]
  end

  defp parent(%{trace_id: trace, span_id: span, sampled: sampled}),
    do: "00-#{trace}-#{span}-#{if sampled, do: "01", else: "00"}"

  test "spans of other libraries within ours come below ours, and what they call below theirs" do
    for engine <- Kantoku.EachEngine.engines() do
      instance = start!(engine: engine, trace: [sampler: :always_on])
      {:ok, _} = Kantoku.start_agent(instance, Relay, id: "ada")

      theirs = fn ->
        "00-" <> <<trace::binary-32, _::binary>> = current()
        theirs = %{"traceparent" => "00-#{trace}-b7ad6b7169203331-01"}
        {current(), within(theirs, fn -> {Kantoku.call(instance, "ada", :again), current()} end), current()}
      end

      {ours, {{:ok, :again}, their_own}, after_it} = Trace.span(instance, "mine", [], theirs)
      {:ok, in_agent} = Kantoku.call(instance, "ada", {:run, &current/0})
      assert_raise RuntimeError, fn -> Trace.span(instance, "fails", [], fn -> raise "no" end) end
      assert current() == nil
      spans = spans(instance, 6)
      mine = span(spans, "mine", :internal)
      assert ours == parent(mine) and after_it == ours
      assert their_own =~ "b7ad6b7169203331"
      assert [_called] = Enum.filter(spans, &(&1.parent_id == "b7ad6b7169203331" and &1.trace_id == mine.trace_id))
      assert in_agent in for(%{kind: :internal} = span <- spans, do: parent(span))
    end
  end

  test "a context that is made current is so for other libraries as well, and a lease is not" do
    instance = start!(trace: [sampler: :always_on], pools: [[name: :workers, worker: {Relay, []}, target: 1]])
    header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    {:ok, context} = Trace.Context.parse(header)
    assert Trace.with_context(context, &current/0) == header
    assert current() == nil
    {:ok, lease} = Kantoku.Pool.checkout({instance, :workers})
    assert current() == nil
    :ok = Kantoku.Pool.checkin(lease)
    assert [%{parent_id: nil}] = spans(instance, 1)
  end
end

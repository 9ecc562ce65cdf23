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
end

defmodule Kantoku.Counterparts.RotelTest do
  # Rotel, an OTLP agent of PyPI: KANTOKU_ROTEL is its program. What it takes it sends on to us.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{OTLPSpans, TestHTTPSink, TestProgram}
  alias Kantoku.Tracing.Relay

  @moduletag :counterpart
  @moduletag :rotel

  @tag :tmp_dir
  test "each span arrives once through it, below the same parent over three hops", %{tmp_dir: folder} do
    sink = TestHTTPSink.start()
    port = started(folder, sink.url)
    trace = [sampler: :always_on, max_queue_size: 100_000, max_queue_bytes: 100_000_000]
    otlp = [endpoint: "http://127.0.0.1:#{port}", signals: [:metrics, :traces], traces_interval: 50, interval: 50]
    instance = start!(engine: :native, trace: trace, exporters: [otlp: otlp])
    for id <- ["front", "middle", "ada"], do: {:ok, _} = Kantoku.start_agent(instance, Relay, id: id)
    hops = &{:call, instance, "middle", {:call, instance, "ada", &1}}
    for n <- 1..2_000, do: {:ok, {:ok, {:ok, ^n}}} = Kantoku.call(instance, "front", hops.(n))
    stop_supervised!(instance)

    spans = gathered([], 12_000)
    assert spans |> Enum.uniq_by(& &1.span) |> length() == 12_000
    below = Enum.group_by(spans, & &1.parent)
    assert length(below[""]) == 2_000
    # Of each caller (3) right below who called it, and of each agent (1) right below its caller.
    hops = for id <- ["front", "middle", "ada"], kind <- [3, 1], do: {"invoke_agent " <> inspect(Relay), id, kind}
    told = &{&1.name, &1.attributes["kantoku.agent"], &1.kind}
    for root <- below[""], do: assert(Enum.map(line(root, below), told) == hops)
    for root <- below[""], span <- line(root, below), do: assert(span.trace == root.trace)
    assert_receive {:posted, _url, "/v1/metrics", _headers, _body}
  end

  defp line(span, below) do
    case Map.get(below, span.span, []) do
      [] -> [span]
      [one] -> [span | line(one, below)]
    end
  end

  # In as many requests as it likes.
  defp gathered(spans, count) when length(spans) >= count, do: spans

  defp gathered(spans, count) do
    assert_receive {:posted, _url, "/v1/traces", _headers, body}, 30_000
    gathered(OTLPSpans.decode(body) ++ spans, count)
  end

  defp started(folder, onward) do
    [port, grpc] = for _ <- 1..2, do: TestHTTPSink.closed_port()

    arguments =
      ["start", "--otlp-http-endpoint", "127.0.0.1:#{port}", "--otlp-grpc-endpoint", "127.0.0.1:#{grpc}"] ++
        ["--exporter", "otlp", "--otlp-exporter-endpoint", onward, "--otlp-exporter-protocol", "http"]

    program = TestProgram.find("KANTOKU_ROTEL")
    TestProgram.start(program, arguments, Path.join(folder, "log"), fn -> TestProgram.listens?(port) end)
    port
  end
end

defmodule Kantoku.Exporters.SendingTest do
  # Exporters are the VM's, and so is what they count.
  use Kantoku.InstanceCase, async: false

  import ExUnit.CaptureLog

  alias Kantoku.{Exporters, OTLPSpans, RawHTTP, Telemetry, TestHTTPSink}
  alias Kantoku.Tracing.Relay

  defp receiver do
    {:ok, socket} = :gen_udp.open(0, [:binary, active: false, ip: {127, 0, 0, 1}, recbuf: 4_000_000])
    {:ok, port} = :inet.port(socket)
    {socket, port}
  end

  # All lines that have come.
  defp lines(socket, seen \\ []) do
    case :gen_udp.recv(socket, 0, 100) do
      {:ok, {_ip, _port, text}} -> lines(socket, [String.split(text, "\n") | seen])
      {:error, :timeout} -> seen |> Enum.reverse() |> List.flatten()
    end
  end

  defp sum(lines, name) do
    for line <- lines, [^name, value] <- [String.split(line, ":", parts: 2)], reduce: 0 do
      sum -> sum + (value |> Integer.parse() |> elem(0))
    end
  end

  test "a StatsD and Datadog's get each counter's rise, to the last, whose instance is long over" do
    {plain, port} = receiver()
    {dogs, dog_port} = receiver()

    instance =
      start!(
        http: RawHTTP.options(),
        exporters: [statsd: [port: port, prefix: "k.", interval: 50], dogstatsd: [port: dog_port, interval: 60_000]]
      )

    http = RawHTTP.port()
    for _ <- 1..137, do: {200, _, _} = RawHTTP.get(http, "/livez")
    for _ <- 1..11, do: {404, _, _} = RawHTTP.get(http, "/nothing")

    assert [%{kind: :dogstatsd}, %{kind: :statsd, failures: 0, dropped: 0}] =
             Enum.sort_by(Exporters.status().exporters, & &1.kind)

    stop_supervised!(instance)
    lines = lines(plain)
    assert sum(lines, "k.kantoku_exporter_http_requests.200") == 137
    assert sum(lines, "k.kantoku_exporter_http_requests.404") == 11
    assert Enum.any?(lines, &(&1 =~ ~r/^k\.kantoku_native_bytes\.#{instance}\.names:\d+\|g$/))
    lines = lines(dogs)
    assert "kantoku_exporter_http_requests:137|c|#code:200" in lines
    assert Enum.any?(lines, &(&1 =~ ~r/^kantoku_native_bytes:\d+\|g\|#instance:#{instance},owner:names$/))
    assert RawHTTP.threads() == []
  end

  test "what several instances want alike is sent once, until the last of them has ended" do
    {socket, port} = receiver()
    options = [statsd: [port: port, interval: 60_000]]
    [one, two] = for _ <- 1..2, do: start!(exporters: options)
    assert [%{kind: :statsd}] = Exporters.status().exporters
    assert length(RawHTTP.threads()) == 2
    stop_supervised!(one)
    assert [%{kind: :statsd}] = Exporters.status().exporters
    # What the one had before and after its drain was sent with what the other has.
    assert rounds(lines(socket)) == 2
    stop_supervised!(two)
    # And so was this, and at the end of the exporter what there was after it.
    assert rounds(lines(socket)) == 3
    assert %{exporters: [], http: :off} = Exporters.status()
  end

  defmodule Shout do
    use GenServer
    def start_link(opts), do: GenServer.start_link(__MODULE__, opts)
    @impl true
    def init(opts), do: {:ok, opts}
    @impl true
    def handle_call(text, _from, opts), do: {:reply, String.upcase(text), opts}
  end

  # The native engine's are read on native threads.
  test "requests of a pool are told to each, as many as there were" do
    {dogs, port} = receiver()
    pools = [[name: :shouts, worker: {Shout, []}, target: 2, warm_up: 2]]

    instance =
      start!(engine: :native, http: RawHTTP.options(), pools: pools, exporters: [dogstatsd: [port: port, interval: 20]])

    for _ <- 1..250, do: {:ok, "HEY"} = Kantoku.Pool.call({instance, :shouts}, "hey")
    {200, _, page} = RawHTTP.get(RawHTTP.port(), "/metrics")
    told = ~s(kantoku_pool_requests_total{instance="#{instance}",pool="shouts",outcome="ok"})
    assert RawHTTP.value(page, told) == 250
    stop_supervised!(instance)
    tags = "|c|#instance:#{instance},pool:shouts,outcome:ok"
    lines = for line <- lines(dogs), String.ends_with?(line, tags), do: line
    assert sum(lines, "kantoku_pool_requests") == 250
  end

  defp rounds(lines), do: Enum.count(lines, &(&1 =~ "kantoku_exporter_http_connections:"))

  test "an OTLP collector gets protobuf at its path, with the headers that were given" do
    sink = TestHTTPSink.start()
    headers = [{"x-key", "a-hidden-word"}]

    start!(
      exporters: [otlp: [endpoint: sink.url, headers: headers, interval: 20, resource: [{"service.name", "tests"}]]]
    )

    assert_receive {:posted, _url, "/v1/metrics", headers, body}
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["x-key"] == "a-hidden-word"

    for word <- ["service.name", "tests", "process.runtime.name", "BEAM", "kantoku_native_bytes"],
        do: assert(body =~ word)

    eventually(fn ->
      match?([%{kind: :otlp, exports: exports, failures: 0}] when exports > 0, Exporters.status().exporters)
    end)

    refute inspect(Exporters.Members.all(), limit: :infinity) =~ "a-hidden-word"
  end

  test "a collector that is gone costs counted drops and one event, and nobody's time" do
    port = TestHTTPSink.closed_port()
    {:ok, _ref} = Telemetry.subscribe(:dropping, events: [[:exporter]])

    start_supervised!(
      {Kantoku, name: :dropping, exporters: [otlp: [endpoint: "http://127.0.0.1:#{port}", interval: 10, timeout: 100]]}
    )

    assert_receive {:kantoku_event, _, [:kantoku, :exporter, :dropped], %{points: points},
                    %{exporter: "otlp", reason: reason}},
                   10_000

    assert points > 0 and reason =~ "127.0.0.1:#{port}"
    assert [%{kind: :otlp, exports: 0, failures: failures, dropped: dropped}] = Exporters.status().exporters
    assert failures > 0 and dropped >= points
    stop_supervised!({Kantoku, :dropping})
    refute_received {:kantoku_event, _, [:kantoku, :exporter, :dropped], _, _}
    assert RawHTTP.threads() == []
  end

  test "a collector that hangs until its exporter is ended costs what was under way, counted exactly, and no threads" do
    sink = TestHTTPSink.start(answer: fn _number -> :hang end)
    other = start!(exporters: [statsd: [port: 1, interval: 60_000]])
    {:ok, _ref} = Telemetry.subscribe(other, events: [[:exporter, :dropped]])
    instance = start!(exporters: [otlp: [endpoint: sink.url, signals: [:metrics], interval: 20, timeout: 60_000]])
    assert_receive {:posted, _url, "/v1/metrics", _headers, body}
    under_way = OTLPSpans.points(body)
    exporter = fn -> Enum.find(Exporters.status().exporters, &(&1.kind == :otlp)) end
    assert %{points: ^under_way, dropped: 0, exports: 0, failures: 0} = exporter.()
    stop_supervised!(instance)
    assert exporter.() == nil
    assert_receive {:kantoku_event, _, [:kantoku, :exporter, :dropped], %{points: ^under_way}, %{exporter: "otlp"}}
    stop_supervised!(other)
    assert RawHTTP.threads() == []
  end

  test "figures and spans say of what they are, where nobody said so" do
    sink = TestHTTPSink.start()
    otlp = [endpoint: sink.url, interval: 20, traces_interval: 20]
    instance = start!(engine: :native, trace: [sampler: :always_on], exporters: [otlp: otlp])
    {:ok, _} = Kantoku.start_agent(instance, Relay, id: "ada")
    {:ok, :hello} = Kantoku.call(instance, "ada", :hello)
    assert_receive {:posted, _url, "/v1/traces", _headers, body}
    [%{resource: %{attributes: resource}} | _] = OTLPSpans.decode(body)

    assert %{"service.name" => "unknown_service:beam", "process.runtime.name" => "BEAM"} = resource
    assert resource["process.runtime.version"] == "#{:erlang.system_info(:version)}"
    assert resource["process.pid"] == System.pid()
    assert_receive {:posted, _url, "/v1/metrics", _headers, body}
    for {name, value} <- resource, word <- [name, value], do: assert(body =~ word)
  end

  test "headers come from a function, whatever it does" do
    for bad <- [fn -> :none end, fn -> raise "no vault" end] do
      instance = start!(exporters: [otlp: [headers: bad]])
      assert [%{kind: :otlp, error: %Error{details: %{cause: :headers}}}] = Exporters.status().exporters
      stop_supervised!(instance)
    end
  end

  describe "the variables of OpenTelemetry" do
    test "say what options did not" do
      alias Kantoku.Exporters.Config

      with_variables(
        [{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1/base/"}, {"OTEL_METRIC_EXPORT_INTERVAL", "123"}],
        fn ->
          assert %{exporters: [{:otlp, %{endpoint: "http://c:1/base/v1/metrics", interval: 123}} | _]} =
                   Config.new!(false, otlp: [])

          given = [otlp: [endpoint: "http://d:2", interval: 5]]
          assert %{exporters: [{:otlp, %{endpoint: "http://d:2", interval: 5}} | _]} = Config.new!(false, given)
        end
      )

      with_variables(
        [{"OTEL_SERVICE_NAME", "mine"}, {"OTEL_RESOURCE_ATTRIBUTES", "service.name=other,a=b%20c,junk"}],
        fn ->
          %{exporters: [{:otlp, %{resource: resource}} | _]} = Config.new!(false, otlp: [])
          assert {"service.name", "mine"} in resource and {"a", "b c"} in resource
          assert length(resource) == length(Enum.uniq_by(resource, &elem(&1, 0)))
        end
      )

      with_variables(
        [
          {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1/base/"},
          {"OTEL_BSP_SCHEDULE_DELAY", "77"},
          {"OTEL_METRICS_EXPORTER", "none"}
        ],
        fn ->
          sent = [otlp_traces: "http://c:1/base/v1/traces"]
          assert for({kind, config} <- Config.new!(false, otlp: []).exporters, do: {kind, config.endpoint}) == sent
          assert [{:otlp_traces, %{interval: 77}}] = Config.new!(false, otlp: []).exporters
          assert [{:otlp, _}] = Config.new!(false, otlp: [signals: [:metrics]]).exporters
          given = [otlp: [endpoint: "http://d:2", traces_interval: 5, signals: [:metrics, :traces]]]
          assert [{:otlp, _}, {:otlp_traces, given}] = Config.new!(false, given).exporters
          assert %{endpoint: "http://d:2", interval: 5} = given
        end
      )

      with_variables(
        [{"OTEL_EXPORTER_OTLP_TIMEOUT", " 1234 "}, {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "5"}],
        fn ->
          assert [{:otlp, %{timeout: 1234}}, {:otlp_traces, %{timeout: 5}}] = Config.new!(false, otlp: []).exporters
          assert [{:otlp, %{timeout: 9}} | _] = Config.new!(false, otlp: [timeout: 9]).exporters
        end
      )

      with_variables(
        [
          {"OTEL_EXPORTER_OTLP_ENDPOINT", " https://c/base?team=a "},
          {"OTEL_METRIC_EXPORT_INTERVAL", "1099511627777"},
          {"OTEL_RESOURCE_ATTRIBUTES", "a=%ff"}
        ],
        fn ->
          assert [{:otlp, config} | _] = Config.new!(false, otlp: []).exporters
          assert %{endpoint: "https://c/base/v1/metrics?team=a", interval: 60_000, resource: resource} = config
          assert {"a", "%ff"} in resource
        end
      )

      with_variables([{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret_word@c"}], fn ->
        error = assert_raise ArgumentError, fn -> Config.new!(false, otlp: []) end
        refute error.message =~ "secret_word"
      end)

      with_variables([{"OTEL_TRACES_EXPORTER", "none"}], fn ->
        assert [{:otlp, _}] = Config.new!(false, otlp: []).exporters
      end)

      with_variables([{"OTEL_SDK_DISABLED", "TRUE"}], fn ->
        assert %{exporters: [], http: %{}} = Config.new!(RawHTTP.options(), otlp: [], statsd: [])
      end)
    end

    test "that ask for what is not done are told to the log" do
      variables = [
        {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"},
        {"OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip"},
        {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"}
      ]

      with_variables(variables, fn ->
        sink = TestHTTPSink.start()
        log = capture_log(fn -> start!(exporters: [otlp: [endpoint: sink.url]], trace: [sampler: :always_on]) end)
        assert log =~ "exporter otlp knows no OTEL_EXPORTER_OTLP_PROTOCOL=grpc: what it sends is http/protobuf"
        assert log =~ "exporter otlp knows no OTEL_EXPORTER_OTLP_METRICS_COMPRESSION=gzip: what it sends is none"
        refute log =~ "otlp_traces"
      end)
    end

    test "say headers that no request can have, and are told so" do
      with_variables([{"OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret_word%0a"}], fn ->
        start!(exporters: [otlp: [signals: [:metrics]]])
        assert [%{kind: :otlp, error: %Error{details: %{cause: :headers}} = error}] = Exporters.status().exporters
        assert Exception.message(error) =~ "OTEL_EXPORTER_OTLP_*HEADERS"
        refute Exception.message(error) =~ "secret_word"
      end)
    end

    test "an endpoint's query is sent with each request" do
      sink = TestHTTPSink.start()
      start!(exporters: [otlp: [endpoint: sink.url <> "?team=a", interval: 50, signals: [:metrics]]])
      assert_receive {:posted, _, "/v1/metrics?team=a", _, _}, 5_000
    end

    defp with_variables(variables, fun) do
      System.put_env(variables)
      fun.()
    after
      for {name, _value} <- variables, do: System.delete_env(name)
    end
  end
end

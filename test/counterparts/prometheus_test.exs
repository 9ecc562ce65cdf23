defmodule Kantoku.Counterparts.PrometheusTest do
  # Prometheus itself, of Debian's package, or where KANTOKU_PROMETHEUS says.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Metrics, RawHTTP, TestHTTPSink, TestProgram}

  @moduletag :counterpart
  @moduletag :prometheus

  @tag :tmp_dir
  test "what it scrapes has the p99 of what was observed, within 3 %", %{tmp_dir: folder} do
    instance = start!(http: RawHTTP.options())
    :ok = Metrics.histogram(instance, "answer_duration_seconds", unit: :seconds)
    observed = for n <- 1..20_000, do: 0.001 * :math.exp(3 * :math.sin(n))
    for seconds <- observed, do: :ok = Metrics.observe(instance, "answer_duration_seconds", seconds)
    exact = observed |> Enum.sort() |> Enum.at(19_799)

    port = started(folder, RawHTTP.port())
    told = asked(port, "histogram_quantile(0.99, sum by (le) (answer_duration_seconds_bucket))")
    assert_in_delta told, exact, 0.03 * exact
    {:ok, ours} = Metrics.quantile(instance, "answer_duration_seconds", 0.99)
    assert_in_delta told, ours, 0.03 * exact
    assert asked(port, "answer_duration_seconds_count") == 20_000
    assert asked(port, ~s(erlang_vm_memory_bytes{kind="processes"})) > 0
  end

  defmodule Sleeper do
    use GenServer
    def start_link(opts), do: GenServer.start_link(__MODULE__, opts)
    @impl true
    def init(opts), do: {:ok, opts}
    @impl true
    def handle_call(ms, _from, opts), do: {:reply, Process.sleep(ms), opts}
  end

  @requests "kantoku_pool_request_duration_seconds"

  @tag :tmp_dir
  test "of a pool's requests it has the p99 that we have, within 3 %", %{tmp_dir: folder} do
    pools = [[name: :sleepers, worker: {Sleeper, []}, target: 2, warm_up: 2, max_queue: 100]]
    instance = start!(http: RawHTTP.options(), pools: pools)
    callers = for n <- 1..12, do: Task.async(fn -> requests(instance, n) end)
    Task.await_many(callers, 60_000)
    eventually(fn -> count(instance) > 0 and count(instance) == count(instance) end)

    port = started(folder, RawHTTP.port())
    of_pool = ~s({pool="sleepers"})

    for {share, text} <- [{0.5, "0.5"}, {0.9, "0.9"}, {0.99, "0.99"}] do
      told = asked(port, "histogram_quantile(#{text}, sum by (le) (#{@requests}_bucket#{of_pool}))")
      {lower, upper} = bucket(instance, share)
      assert told > 0.97 * lower and told < 1.03 * upper
      # Its buckets are narrow enough for that to say something.
      assert upper - lower <= 0.035 * upper
    end

    assert asked(port, "#{@requests}_count#{of_pool}") == count(instance)
  end

  @tag :tmp_dir
  test "its quantiles over several series, of which each has a range of its own, are ours", %{tmp_dir: folder} do
    instance = start!(http: RawHTTP.options())
    :ok = Metrics.histogram(instance, "took_seconds", unit: :seconds, labels: [:who])
    fast = for n <- 1..100, do: {"fast", n * 1.0e-5}
    slow = for n <- 1..60, do: {"slow", n * 0.01}
    slowest = for n <- 1..40, do: {"slowest", 5 + n * 0.1}

    for {who, seconds} <- fast ++ slow ++ slowest,
        do: :ok = Metrics.observe(instance, "took_seconds", seconds, who: who)

    port = started(folder, RawHTTP.port())

    for {share, seconds} <- [
          {"0.25", 0.0005},
          {"0.49", 0.00098},
          {"0.6", 0.2},
          {"0.79", 0.58},
          {"0.9", 7.0},
          {"0.99", 8.8}
        ] do
      told = asked(port, "histogram_quantile(#{share}, sum by (le) (took_seconds_bucket))")
      assert {share, abs(told - seconds) <= 0.035 * seconds, told} == {share, true, told}
    end
  end

  defp requests(instance, n) do
    for times <- 1..20, do: {:ok, :ok} = Kantoku.Pool.call({instance, :sleepers}, rem(n * times, 9) + 1)
  end

  defp distribution(instance) do
    {:ok, families} = Metrics.snapshot(instance)
    %{series: [%{value: value}]} = Enum.find(families, &(&1.name == @requests))
    value
  end

  defp count(instance), do: distribution(instance).count

  # The bounds between which our own quantile lies.
  defp bucket(instance, share) do
    %{buckets: buckets, count: count} = distribution(instance)

    Enum.reduce_while(buckets, {0, 0.0}, fn {bound, more}, {seen, lower} ->
      if seen + more >= share * count, do: {:halt, {lower, bound}}, else: {:cont, {seen + more, bound}}
    end)
  end

  @tag :tmp_dir
  test "it keeps the exemplars of requests that were traced", %{tmp_dir: folder} do
    pools = [[name: :sleepers, worker: {Sleeper, []}, target: 2, warm_up: 2, max_queue: 100]]
    instance = start!(http: RawHTTP.options(), pools: pools, trace: [sampler: :always_on])
    requests(instance, 1)
    traces = for span <- Kantoku.Trace.take(instance), do: span.trace_id
    port = started(folder, RawHTTP.port())

    query =
      URI.encode_query(
        query: "#{@requests}_bucket",
        start: System.os_time(:second) - 60,
        end: System.os_time(:second) + 60
      )

    kept = eventually(fn -> exemplars(port, query) end, 3_000)
    assert kept -- traces == []
  end

  # Of which traces it has some, if it has any.
  defp exemplars(port, query) do
    {:ok, {{_version, 200, _}, _headers, body}} =
      :httpc.request(:get, {String.to_charlist("http://127.0.0.1:#{port}/api/v1/query_exemplars?#{query}"), []}, [],
        body_format: :binary
      )

    found = for [_all, trace] <- Regex.scan(~r/"trace_id":"([0-9a-f]{32})"/, body), do: trace
    found != [] && found
  end

  @tag :tmp_dir
  test "it finds by one VM's discovery where to scrape", %{tmp_dir: folder} do
    port = TestHTTPSink.closed_port()
    instance = start!(http: RawHTTP.options(port: port, advertise: "localhost:#{port}"))
    :ok = Metrics.counter(instance, "answers")
    :ok = Metrics.add(instance, "answers", 7)
    prometheus = started(folder, port, discovered(port))
    assert asked(prometheus, ~s(answers_total{instance="localhost:#{port}",exported_instance="#{instance}"})) == 7
    assert asked(prometheus, ~s(up{job="kantoku",node="#{node()}"})) == 1
  end

  defp discovered(port) do
    """
    global: {scrape_interval: 1s, scrape_timeout: 1s}
    scrape_configs:
      - job_name: kantoku
        authorization: {credentials: #{RawHTTP.token()}}
        relabel_configs: [{source_labels: [__meta_kantoku_node], target_label: node}]
        http_sd_configs:
          - url: http://localhost:#{port}/api/v1/endpoints
            refresh_interval: 1s
            authorization: {type: Bearer, credentials: #{RawHTTP.token()}}
    """
  end

  defp started(folder, target, config \\ nil) do
    path = Path.join(folder, "prometheus.yml")
    File.write!(path, config || config(target))
    port = TestHTTPSink.closed_port()

    arguments = [
      "--config.file=#{path}",
      "--storage.tsdb.path=#{Path.join(folder, "data")}",
      "--web.listen-address=127.0.0.1:#{port}",
      "--enable-feature=exemplar-storage"
    ]

    program = TestProgram.find("KANTOKU_PROMETHEUS", "prometheus")
    TestProgram.start(program, arguments, Path.join(folder, "log"), fn -> TestProgram.listens?(port) end)
    port
  end

  defp config(target) do
    """
    global: {scrape_interval: 1s, scrape_timeout: 1s}
    scrape_configs:
      - job_name: kantoku
        authorization: {credentials: #{RawHTTP.token()}}
        static_configs: [{targets: ["localhost:#{target}"]}]
    """
  end

  # The one value that a query has, when it has one.
  defp asked(port, query) do
    eventually(fn -> is_float(value(port, query)) end, 3_000)
    value(port, query)
  end

  defp value(port, query) do
    path = "/api/v1/query?query=" <> URI.encode_www_form(query)

    with {200, _headers, body} <- RawHTTP.get(port, path, token: false),
         [[_all, number]] <- Regex.scan(~r/"value":\[[^,]+,"([^"]+)"\]/, body),
         {value, ""} <- Float.parse(number) do
      value
    end
  end
end

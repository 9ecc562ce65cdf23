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

  defp started(folder, target) do
    config = Path.join(folder, "prometheus.yml")
    File.write!(config, config(target))
    port = TestHTTPSink.closed_port()

    arguments = [
      "--config.file=#{config}",
      "--storage.tsdb.path=#{Path.join(folder, "data")}",
      "--web.listen-address=127.0.0.1:#{port}"
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

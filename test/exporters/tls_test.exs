defmodule Kantoku.Exporters.TLSTest do
  # Exporters are the VM's.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Exporters, OTLPSpans, Telemetry, TestHTTPSink}
  alias Kantoku.Tracing.Relay

  @moduletag :tmp_dir

  setup %{tmp_dir: dir} do
    {tls, authority} = TestHTTPSink.certificate("localhost")
    %{tls: tls, cacertfile: file(dir, "ca.pem", authority)}
  end

  defp file(dir, name, content) do
    path = Path.join(dir, name)
    File.write!(path, content)
    path
  end

  defp send!(url, otlp), do: start!(exporters: [otlp: [endpoint: url, interval: 50] ++ otlp])

  defp refused_because(endpoint, otlp) do
    # It is told of once a minute, and perhaps at once.
    {:ok, ref} = Telemetry.subscribe(nil, events: [[:exporter, :dropped]])
    instance = send!(endpoint, otlp)
    reason = eventually(fn -> Enum.find_value(Exporters.status().exporters, &reason/1) end)
    stop_supervised!(instance)
    Telemetry.unsubscribe(ref)
    reason
  end

  defp reason(%{error: error}) when error != nil, do: Exception.message(error)

  defp reason(%{failures: failures}) when failures > 0 do
    assert_receive {:kantoku_event, _, [:kantoku, :exporter, :dropped], _, %{reason: reason}}, 10_000
    reason
  end

  defp reason(_fine), do: nil

  test "metrics and spans go to a collector whose certificate is trusted", %{tls: tls, cacertfile: cacertfile} do
    sink = TestHTTPSink.start(tls: tls)
    otlp = [endpoint: sink.url, cacertfile: cacertfile, interval: 50, traces_interval: 20]
    instance = start!(engine: :native, trace: [sampler: :always_on], exporters: [otlp: otlp])
    {:ok, _} = Kantoku.start_agent(instance, Relay, id: "ada")
    for n <- 1..100, do: {:ok, ^n} = Kantoku.call(instance, "ada", n)
    assert_receive {:posted, _, "/v1/metrics", %{"content-type" => "application/x-protobuf"}, _}, 10_000
    stop_supervised!(instance)
    assert length(OTLPSpans.posted()) == 200
    assert Exporters.status() == %{Exporters.status() | exporters: []}
  end

  test "whom to trust can stand in OpenTelemetry's variable", %{tls: tls, cacertfile: cacertfile} do
    sink = TestHTTPSink.start(tls: tls)
    System.put_env("OTEL_EXPORTER_OTLP_CERTIFICATE", cacertfile)
    on_exit(fn -> System.delete_env("OTEL_EXPORTER_OTLP_CERTIFICATE") end)
    send!(sink.url, signals: [:metrics])
    assert_receive {:posted, _, "/v1/metrics", _, _}, 10_000
  end

  test "one of another name, or whom nobody here trusts, is sent nothing", %{tls: tls, cacertfile: cacertfile} do
    sink = TestHTTPSink.start(tls: tls, host: "127.0.0.1")
    assert refused_because(sink.url, cacertfile: cacertfile, signals: [:metrics]) =~ ~r/certificate/i
    known = TestHTTPSink.start(tls: tls)
    {_other, authority} = TestHTTPSink.certificate("localhost")
    File.write!(cacertfile, authority)
    assert refused_because(known.url, cacertfile: cacertfile, signals: [:metrics]) =~ ~r/certificate/i
    refute_received {:posted, _, _, _, _}
  end

  test "a collector that asks who one is gets the certificate", %{tls: tls, cacertfile: cacertfile, tmp_dir: dir} do
    {own, authority} = TestHTTPSink.certificate("client")
    authorities = for {:Certificate, der, :not_encrypted} <- :public_key.pem_decode(authority), do: der
    asking = [verify: :verify_peer, fail_if_no_peer_cert: true, cacerts: authorities]
    sink = TestHTTPSink.start(tls: tls ++ asking)
    {kind, key} = own[:key]
    certfile = file(dir, "own.pem", :public_key.pem_encode([{:Certificate, own[:cert], :not_encrypted}]))
    keyfile = file(dir, "own.key", :public_key.pem_encode([{kind, key, :not_encrypted}]))
    otlp = [cacertfile: cacertfile, signals: [:metrics]]
    assert refused_because(sink.url, otlp) =~ ~r/certificate/i
    send!(sink.url, [certfile: certfile, keyfile: keyfile] ++ otlp)
    assert_receive {:posted, _, "/v1/metrics", _, _}, 10_000
  end

  test "files that cannot be used are named, while the instance runs", %{cacertfile: cacertfile, tmp_dir: dir} do
    empty = file(dir, "empty.pem", "")
    missing = Path.join(dir, "nobody.pem")

    for {otlp, named} <- [
          {[cacertfile: missing], missing},
          {[cacertfile: empty], empty},
          {[cacertfile: cacertfile, certfile: cacertfile, keyfile: missing], missing}
        ] do
      assert refused_because("https://localhost:1", otlp) =~ named
    end

    assert_raise ArgumentError,
                 ~r/expected :keyfile, or its variable, beside :certfile, got: ".*nobody.pem" alone/,
                 fn ->
                   Exporters.Config.new!(false, otlp: [certfile: missing])
                 end

    variable = "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY"
    System.put_env(variable, missing)
    on_exit(fn -> System.delete_env(variable) end)
    assert_raise ArgumentError, ~r/expected :certfile/, fn -> Exporters.Config.new!(false, otlp: []) end
    assert %{exporters: [{:otlp, %{keyfile: nil}}]} = Exporters.Config.new!(false, otlp: [signals: [:metrics]])
  end
end

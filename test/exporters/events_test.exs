defmodule Kantoku.Exporters.EventsTest do
  # Exporters are the VM's, so their events are seen while nothing else has any.
  use Kantoku.InstanceCase, async: false
  import ExUnit.CaptureLog
  import Kantoku.EventCoverage

  alias Kantoku.{RawHTTP, Telemetry}

  Module.register_attribute(__MODULE__, :covered, accumulate: true)

  scenario "a listener is started, and stopped", name, [[:exporter, :started], [:exporter, :stopped]] do
    start!(name: name, http: RawHTTP.options())
    stop_supervised!(name)
  end

  scenario "a port is taken", name, [[:exporter, :refused]] do
    {:ok, other} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(other)
    start!(name: name, http: RawHTTP.options(port: port))
  end

  scenario "nobody takes what is sent", name, [[:exporter, :dropped]] do
    {:ok, nobody} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(nobody)
    :gen_tcp.close(nobody)
    start!(name: name, exporters: [otlp: [endpoint: "http://127.0.0.1:#{port}", interval: 10, timeout: 100]])
  end

  @covered [[:exporter, :resumed]]

  test "nobody takes what is sent, and then somebody does" do
    name = subscribed()
    port = Kantoku.TestHTTPSink.closed_port()
    start!(name: name, exporters: [otlp: [endpoint: "http://127.0.0.1:#{port}", interval: 10, timeout: 100]])
    assert_told(name, [:exporter, :dropped])
    Kantoku.TestHTTPSink.start(port: port)
    assert_told(name, [:exporter, :resumed])
  end

  defmodule Unreachable do
    @behaviour Kantoku.Discovery
    def up(_endpoint), do: exit(:no_catalogue)
    def down(_endpoint), do: :ok
    def changed(_before, _endpoint), do: :ok
  end

  @tag capture_log: true
  scenario "whoever is told of listeners fails", name, [[:discovery, :failed]] do
    start!(name: name, http: RawHTTP.options(discovery: [Unreachable]))
  end

  test "panics of exporters are told each, and in the log once a minute" do
    subscribed()

    log =
      capture_log(fn ->
        for _ <- 1..3, do: send(Kantoku.Exporters.Keeper, {:kantoku_exporters, {:panic, "a test"}})
        for _ <- 1..3, do: assert_told(nil, [:native, :panic])
      end)

    assert log |> String.split("caught a panic in its exporters: a test") |> length() == 2
  end

  test "a port that is taken is an alert, until it is free" do
    {:ok, other} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(other)
    name = start!(http: RawHTTP.options(port: port), alerts: [interval: 10])
    firing = fn state -> fn -> Enum.find(alerts(name), &match?(%{name: :exporter_refused, state: ^state}, &1)) end end
    assert %{labels: %{"exporter" => "http"}, value: :eaddrinuse} = eventually(firing.(:firing))
    :gen_tcp.close(other)
    # It is tried again every five seconds.
    assert eventually(firing.(:resolved), 2_000)
  end

  defp alerts(name) do
    {:ok, alerts} = Kantoku.Alert.list(name)
    alerts
  end

  scenario "something is done over HTTP", name, [[:api, :admin]] do
    start!(name: name)
    {200, _, _} = Kantoku.Api.post(["api", "v1", "admin", "drain"], %{"instance" => Atom.to_string(name)})
  end

  @all Enum.concat(@covered)

  test "each event of exporters has a scenario" do
    assert [] ==
             for(
               %{name: [noun | _] = name} <- Telemetry.events(),
               noun in [:api, :discovery, :exporter],
               name not in @all,
               do: name
             )
  end
end

defmodule Kantoku.Exporters.EventsTest do
  # Exporters are the VM's, so their events are seen while nothing else has any.
  use Kantoku.InstanceCase, async: false
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

  @all Enum.concat(@covered)

  test "each event of exporters has a scenario" do
    assert [] == for(%{name: [:exporter | _] = name} <- Telemetry.events(), name not in @all, do: name)
  end
end

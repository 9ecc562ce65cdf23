defmodule Kantoku.Exporters.StreamTest do
  # There is one listener for the VM.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.Api.Feed
  alias Kantoku.{Exporters, JSONReader, OpenAPI, RawHTTP, Telemetry}

  setup context do
    instance = start!(http: RawHTTP.options(context[:http] || []))
    %{instance: instance, port: RawHTTP.port()}
  end

  # A stream that is open: its greeting has come, and so events that are emitted from now on do.
  defp open(port, query \\ "") do
    {socket, head} = RawHTTP.events(port, query)
    assert head =~ "HTTP/1.1 200 OK" and head =~ "content-type: text/event-stream" and head =~ "cache-control: no-store"
    eventually(fn -> :sys.get_state(Feed).subscription end)
    socket
  end

  defp data(seen, event) do
    [_, data] = Regex.run(~r/event: #{event}\ndata: (.*)\n\n/, seen)
    JSONReader.read!(data)
  end

  defp emit(instance, id),
    do:
      Telemetry.emit(instance, [:agent, :parked], %{crashes: 3, retry_in: 1_500}, %{
        domain: :default,
        id: id,
        reason: {:badmatch, "secret"}
      })

  test "tells events as they come, of one instance or all, by the beginning of their names", %{
    instance: instance,
    port: port
  } do
    all = open(port)
    mine = open(port, "?instance=#{instance}&match=agent.pa")
    other = open(port, "?instance=another")
    Telemetry.emit(instance, [:agent, :unparked], %{parked_for: 7}, %{id: "lovelace", by: :timer})
    emit(:another, "bob")
    emit(instance, {:odd, 1})
    told = RawHTTP.until(mine, "", "agent.parked")
    refute told =~ "unparked" or told =~ "bob"
    event = data(RawHTTP.until(mine, told, "}}"), "agent.parked")
    assert %{"event" => "agent.parked", "measurements" => %{"crashes" => 3, "retry_in" => 1.5}} = event
    assert event["metadata"] == %{"domain" => "default", "id" => "{:odd, 1}", "reason" => "badmatch"}
    assert event["instance"] == Atom.to_string(instance)
    document = OpenAPI.document()
    assert OpenAPI.misfits(document, document["components"]["schemas"]["Event"], event) == []
    assert RawHTTP.until(all, "", "odd") =~ ~r/agent.unparked.*bob.*odd/s
    assert RawHTTP.until(other, "", "bob") =~ "bob"
  end

  test "asks the VM for events only while somebody reads", %{port: port} do
    assert :sys.get_state(Feed).subscription == nil
    [one, another] = for _ <- 1..2, do: open(port)
    :gen_tcp.close(one)
    eventually(fn -> Exporters.status().connections == 1 end)
    assert :sys.get_state(Feed).subscription
    :gen_tcp.close(another)
    eventually(fn -> :sys.get_state(Feed).subscription == nil end)
  end

  test "goes on when who hands events in was killed", %{instance: instance, port: port} do
    socket = open(port)
    old = Process.whereis(Feed)
    kill(old)
    eventually(fn -> Process.whereis(Feed) not in [nil, old] && :sys.get_state(Feed).subscription end)
    emit(instance, "lovelace")
    assert RawHTTP.until(socket, "", "lovelace") =~ "agent.parked"
  end

  test "tells who falls behind how many it has lost, and costs the emitter nothing", %{instance: instance, port: port} do
    socket = open(port)
    :ok = :sys.suspend(Feed)
    for number <- 1..3_000, do: emit(instance, number)
    :ok = :sys.resume(Feed)
    eventually(fn -> Telemetry.outstanding(:sys.get_state(Feed).subscription) == 0 end)
    emit(instance, "the last")
    seen = RawHTTP.until(socket, "", "event: dropped")
    assert data(RawHTTP.until(socket, seen, "}\n\n"), "dropped")["count"] >= 1_000
  end

  @tag http: [connection_lifetime: 300]
  test "lives as long as its reader takes what comes", %{instance: instance, port: port} do
    socket = open(port)
    # A word comes three times in the life of a connection.
    quiet = for _ <- 1..8, into: "", do: elem({:ok, _} = :gen_tcp.recv(socket, 0, 10_000), 1)
    assert quiet =~ ":\n\n"
    emit(instance, "lovelace")
    assert RawHTTP.until(socket, "", "lovelace") =~ "agent.parked"
  end

  @tag http: [connection_lifetime: 300, request_timeout: 300]
  test "ends for who takes nothing any more", %{instance: instance, port: port} do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, recbuf: 1_024])

    :ok =
      :gen_tcp.send(
        socket,
        "GET /events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer #{RawHTTP.token()}\r\n\r\n"
      )

    eventually(fn -> :sys.get_state(Feed).subscription end)
    id = String.duplicate("x", 190)

    eventually(
      fn ->
        for number <- 1..500, do: emit(instance, "#{number}#{id}")
        Exporters.status().connections == 0
      end,
      2_000
    )

    :gen_tcp.close(socket)
  end

  @tag http: [max_connections: 64]
  test "is for so many at a time", %{port: port} do
    sockets = for _ <- 1..32, do: open(port)
    assert {503, _, body} = RawHTTP.get(port, "/events")
    assert body =~ "as many read events as may"
    Enum.each(sockets, &:gen_tcp.close/1)
    eventually(fn -> Exporters.status().connections == 0 end)
  end

  test "ends with its listener, at once", %{instance: instance, port: port} do
    sockets = for _ <- 1..5, do: open(port)
    stop_supervised!(instance)
    assert RawHTTP.threads() == []
    for socket <- sockets, do: assert(RawHTTP.read(socket, 5_000) != :timeout)
    assert {:ok, listener} = :gen_tcp.listen(port, ip: {127, 0, 0, 1}, reuseaddr: true)
    :gen_tcp.close(listener)
    # Whoever reads next has events again.
    start!(http: RawHTTP.options())
    socket = open(RawHTTP.port())
    emit(instance, "again")
    assert RawHTTP.until(socket, "", "again")
  end

  test "wants the token", %{port: port} do
    assert {401, _, ""} = RawHTTP.get(port, "/events", token: false)
  end
end

defmodule Kantoku.Exporters.HeldPlacesTest do
  # Whoever has no token cannot keep a probe, or who has one, from being answered. There is one listener for the VM.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Exporters, RawHTTP, Telemetry}

  setup context do
    instance = start!(http: RawHTTP.options(context[:http] || []))
    %{instance: instance, port: RawHTTP.port()}
  end

  # Longer than the test takes: nobody is cut off for being slow.
  @patient [header_timeout: 120_000, connection_lifetime: 120_000, request_timeout: 120_000]

  @tag http: @patient
  test "probes and who has the token are answered while two hundred hold on to their connections", %{
    instance: instance,
    port: port
  } do
    stream = stream(port)
    held = silent(port, 70) ++ dribbling(port, 70) ++ deaf(port, 60)

    for _ <- 1..20 do
      for path <- ["/livez", "/readyz", "/startupz"], do: assert({200, _, _} = RawHTTP.get(port, path, token: false))
      assert {200, _, page} = RawHTTP.get(port, "/metrics")
      assert page =~ "kantoku_native_bytes"
      assert Exporters.status().connections <= 64
    end

    assert Exporters.status().refused >= 200 - 64
    # Who showed the token keeps its place, though it is the oldest.
    Telemetry.emit(instance, [:agent, :unparked], %{parked_for: 7}, %{id: "held", by: :timer})
    assert RawHTTP.until(stream, "", "held") =~ "event: agent.unparked"
    Enum.each(held, &:gen_tcp.close/1)
    :gen_tcp.close(stream)
    eventually(fn -> Exporters.status().connections == 0 end)
  end

  @tag http: [max_connections: 8] ++ @patient
  test "who has the token keeps all places but one, and a probe that one", %{port: port} do
    streams = for _ <- 1..7, do: stream(port)
    [lingering | _] = silent(port, 10)
    assert {200, _, _} = RawHTTP.get(port, "/livez", token: false)
    # It may be asked even by one more who has the token; none of those who had it before gives way.
    assert {200, _, _} = RawHTTP.get(port, "/metrics")
    assert {:error, :timeout} = :gen_tcp.recv(hd(streams), 0, 50)
    assert RawHTTP.read(lingering, 5_000) == ""
    assert Exporters.status().connections <= 8
  end

  @tag http: [max_connections: 1] ++ @patient
  test "of one place alone each has it who comes last", %{port: port} do
    for _ <- 1..5 do
      [socket] = silent(port, 1)
      assert {200, _, _} = RawHTTP.get(port, "/livez", token: false)
      assert RawHTTP.read(socket, 5_000) == ""
    end
  end

  defp silent(port, count), do: for(_ <- 1..count, do: RawHTTP.connect(port))

  # Says a line of its head now and then, and never the last one.
  defp dribbling(port, count) do
    sockets = silent(port, count)
    for socket <- sockets, do: :gen_tcp.send(socket, "GET /livez HTTP/1.1\r\nhost: localhost\r\n")
    owner = self()
    spawn_link(fn -> dribble(sockets, Process.monitor(owner)) end)
    sockets
  end

  defp dribble(sockets, owner) do
    for socket <- sockets, do: :gen_tcp.send(socket, "x: y\r\n")

    receive do
      {:DOWN, ^owner, _, _, _} -> :ok
    after
      100 -> dribble(sockets, owner)
    end
  end

  # Asks for more than fits between the two of them, and reads nothing of it.
  defp deaf(port, count) do
    asked = String.duplicate("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", 500)

    for _ <- 1..count do
      options = [:binary, active: false, recbuf: 1_024, send_timeout: 200]
      {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, options)
      _ = :gen_tcp.send(socket, asked)
      socket
    end
  end

  defp stream(port) do
    {socket, head} = RawHTTP.events(port)
    assert head =~ "200 OK"
    socket
  end
end

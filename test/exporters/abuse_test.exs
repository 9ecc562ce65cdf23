defmodule Kantoku.Exporters.AbuseTest do
  # There is one listener for the VM.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Exporters, RawHTTP}

  setup context do
    instance = start!(http: RawHTTP.options(context[:http] || []))
    %{instance: instance, port: RawHTTP.port()}
  end

  @tag http: [header_timeout: 200]
  test "who sends a request byte by byte is cut off, and so is who sends none", %{port: port} do
    silent = RawHTTP.connect(port)
    slow = RawHTTP.connect(port)
    trickle = spawn_link(fn -> trickle(slow, Stream.cycle(["GET /livez HTTP/1.1\r\n", "x: y\r\n"])) end)
    assert RawHTTP.read(silent, 5_000) =~ ~r/\A(|HTTP\/1.1 408 .*)\z/s
    assert RawHTTP.read(slow, 5_000) =~ ~r/\A(|HTTP\/1.1 4\d\d .*)\z/s
    Process.unlink(trickle)
    kill(trickle)
    eventually(fn -> Exporters.status().connections == 0 end)
    assert {200, _, _} = RawHTTP.get(port, "/livez")
  end

  defp trickle(socket, lines) do
    Enum.find(lines, fn line ->
      Process.sleep(20)
      :gen_tcp.send(socket, line) != :ok
    end)
  end

  @tag http: [header_timeout: 200]
  test "a connection that is kept open for more requests is not kept for ever", %{port: port} do
    socket = RawHTTP.connect(port)
    request = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"
    :ok = :gen_tcp.send(socket, request)
    assert {:ok, "HTTP/1.1 200" <> _} = :gen_tcp.recv(socket, 0, 5_000)
    :ok = :gen_tcp.send(socket, request)
    assert {:ok, "HTTP/1.1 200" <> _} = :gen_tcp.recv(socket, 0, 5_000)
    assert RawHTTP.read(socket, 5_000) != :timeout
  end

  @tag http: [connection_lifetime: 200, request_timeout: 200]
  test "who reads nothing of what it asked for is cut off", %{port: port} do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, recbuf: 1_024])
    request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer #{RawHTTP.token()}\r\n\r\n"
    # More answers than fit into what lies between.
    _ = :gen_tcp.send(socket, String.duplicate(request, 2_000))
    eventually(fn -> Exporters.status().connections == 0 end)
    :gen_tcp.close(socket)
  end

  @tag http: [max_connections: 16]
  test "of thousands of connections as many stay as may, and calls do not feel it", %{instance: instance, port: port} do
    worker!(instance, :served)
    sockets = for _ <- 1..2_000, do: RawHTTP.connect(port)
    eventually(fn -> Exporters.status().refused >= 2_000 - 16 end)
    assert Exporters.status().connections <= 16
    assert {:ok, _} = Kantoku.call(instance, :served, :pid)
    Enum.each(sockets, &:gen_tcp.close/1)
    eventually(fn -> Exporters.status().connections == 0 end)
    assert {200, _, page} = RawHTTP.get(port, "/metrics")
    assert RawHTTP.value(page, "kantoku_exporter_http_refused_connections_total") >= 2_000 - 16
    assert length(RawHTTP.threads()) <= 3
  end

  test "a head without end is refused before it is held", %{port: port} do
    for junk <- [
          ["GET / HTTP/1.1\r\nx: ", String.duplicate("a", 4_000_000), "\r\n\r\n"],
          ["GET /", String.duplicate("a", 4_000_000), " HTTP/1.1\r\n\r\n"],
          ["GET / HTTP/1.1\r\n", String.duplicate("a: b\r\n", 5_000), "\r\n"]
        ] do
      assert {status, _, _} = RawHTTP.ask(port, junk)
      assert status in [400, 414, 431, :closed]
    end

    assert {200, _, _} = RawHTTP.get(port, "/livez")
  end

  test "whatever is sent, it goes on answering", %{port: port} do
    # By the suite's seed, which ExUnit prints.
    for _ <- 1..300, do: send_and_close(port, nonsense())
    for _ <- 1..100, do: send_and_close(port, mutated())
    eventually(fn -> Exporters.status().connections == 0 end)
    assert {200, _, _} = RawHTTP.get(port, "/metrics")
  end

  @paths ~w(/api/v1/agents /api/v1/agent /api/v1/top /api/v1/history /api/v1/history/series /api/v1/overview /api/v1/pools /api /events/x
            /assets/ /api/v1/ /api/v2/agents //api/v1/agents)
  @names ~w(q key after sort limit by instance series range match x)

  test "whatever is asked of the API has an answer that is no failure, and makes no atom", %{
    instance: instance,
    port: port
  } do
    worker!(instance, "ada")
    for _ <- 1..200, do: asked(port, instance)
    before = :erlang.system_info(:atom_count)
    for _ <- 1..600, do: assert(asked(port, instance) in [200, 400, 404, 414, 431])
    # Somebody else may make one meanwhile; these would make a thousand.
    assert :erlang.system_info(:atom_count) - before < 400
    eventually(fn -> Exporters.status().connections == 0 end)
    assert {200, _, _} = RawHTTP.get(port, "/api/v1/agents")
  end

  defp asked(port, instance) do
    own = if :rand.uniform(3) > 1, do: "instance=#{instance}&", else: ""
    pairs = for _ <- 1..:rand.uniform(4), do: "#{Enum.random(@names)}=#{URI.encode_www_form(value())}"
    answered(port, "#{Enum.random(@paths)}?#{own}#{Enum.join(pairs, "&")}")
  end

  # A machine that is busy with something else for two seconds is no failure of who asks.
  defp answered(port, path) do
    case RawHTTP.get(port, path) do
      {503, _headers, body} -> if body =~ ~s("unavailable"), do: answered(port, path), else: 503
      {status, _headers, _body} -> status
    end
  end

  # A key that means something, one that does not, and what is none.
  defp value do
    atom = <<131, 100, 0, 16, "unheard_of_", Base.encode16(:rand.bytes(2))::binary, "x">>

    Enum.random([
      :rand.bytes(:rand.uniform(30)),
      Base.url_encode64(:rand.bytes(:rand.uniform(60)), padding: false),
      Base.url_encode64(atom, padding: false),
      Kantoku.Api.Shown.key(Enum.random(["ada", {:a, 1}, self(), %{1 => [2]}, 1.5])),
      Enum.random(
        ~w(tag: type:Unheard.Of -status:unheard_of meta.unheard:of|so id:a phase:up|down domain:default "x y" 1 -1 99999999999999999999)
      ),
      "unheard_of_#{:rand.uniform(1_000_000)}",
      String.duplicate("%", 2_000)
    ])
  end

  test "thousands who ask the API at once have an answer, and calls do not feel it", %{instance: instance, port: port} do
    worker!(instance, :served)
    path = "/api/v1/agents?instance=#{instance}"
    asked = for _ <- 1..40, do: Task.async(fn -> for _ <- 1..50, do: elem(RawHTTP.get(port, path), 0) end)
    for _ <- 1..100, do: assert({:ok, _} = Kantoku.call(instance, :served, :pid))
    # Of too many connections those go that have not said who they are.
    assert asked |> Task.await_many(60_000) |> List.flatten() |> Enum.uniq() |> Enum.all?(&(&1 in [200, 503, :closed]))
    eventually(fn -> match?({200, _, _}, RawHTTP.get(port, path)) end)
  end

  defp send_and_close(port, bytes) do
    socket = RawHTTP.connect(port)
    _ = :gen_tcp.send(socket, bytes)
    _ = :gen_tcp.shutdown(socket, :write)
    assert RawHTTP.read(socket, 10_000) != :timeout
    :gen_tcp.close(socket)
  end

  defp nonsense, do: :rand.bytes(:rand.uniform(2_000))

  defp mutated do
    request =
      "GET /metrics HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer #{RawHTTP.token()}\r\n" <>
        Enum.random([
          "",
          "content-length: 99999999999999999999\r\n",
          "transfer-encoding: chunked\r\n",
          "upgrade: h2c\r\n"
        ]) <>
        "\r\n" <> Enum.random(["", "FFFFFFFFFFFFFFFF\r\n", "0\r\n\r\n"])

    at = :rand.uniform(byte_size(request)) - 1
    <<before::binary-size(at), _byte, rest::binary>> = request
    <<before::binary, :rand.uniform(256) - 1, rest::binary>>
  end
end

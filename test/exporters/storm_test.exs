defmodule Kantoku.Exporters.StormTest do
  # All abuse at once, while calls are made. KANTOKU_SOAK: twenty times of it. What is random comes of the suite's seed, which ExUnit prints.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Exporters, Footprint, RawHTTP}

  @soak? System.get_env("KANTOKU_SOAK") != nil
  @times if @soak?, do: 20, else: 1

  @moduletag timeout: 1_800_000
  if @soak?, do: @moduletag(:soak)

  setup context do
    instance = start!(http: RawHTTP.options(context[:http] || []))
    worker!(instance, :served)
    %{instance: instance, port: RawHTTP.port()}
  end

  # The paths that the token guards, and how one may try to reach them without it.
  @tricks [
    "/%2e%2e/metrics",
    "/livez/%2e%2e/metrics",
    "/livez/../metrics",
    "/livez%2f..%2fmetrics",
    "/./metrics",
    "//metrics",
    "///metrics",
    "//localhost/metrics",
    "/metrics/",
    "/metrics;/livez",
    "/metrics%00",
    "/metrics%00/livez",
    "/metrics%20",
    "/METRICS",
    "/%6d%65%74%72%69%63%73",
    "/metrics?/livez",
    "/assets/../metrics",
    "/assets/%2e%2e/metrics",
    "/assets/..%2f..%2fmetrics",
    "/assets//etc/passwd",
    "/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/assets/\\..\\..\\etc\\passwd",
    "/api/v1/../../metrics",
    "/api/v1/agents%00",
    "/api//v1/agents",
    "http://localhost/metrics",
    "http://localhost:1/metrics",
    "https://elsewhere.example/metrics",
    "http://user@localhost/metrics",
    "metrics",
    "*",
    "?/livez",
    "/metrics\0",
    "/livez\0/metrics",
    "/metrics\t/livez",
    "/\x80\xFF/metrics",
    "/" <> String.duplicate("../", 2_000) <> "metrics",
    "/" <> String.duplicate("a", 8_000)
  ]

  @foreign [
    "elsewhere.example",
    "localhost.elsewhere.example",
    "127.0.0.1.elsewhere.example",
    "elsewhere.example:80",
    "localhost@elsewhere.example",
    "elsewhere.example#localhost",
    "0.0.0.0",
    "10.0.0.1",
    "[::2]",
    "[::1",
    "",
    " ",
    ":80",
    "localhost, elsewhere.example",
    "ｌocalhost"
  ]

  test "no way of writing a path opens what the token guards, nor shows a file", %{port: port} do
    for path <- @tricks, token <- [true, false] do
      {status, _headers, body} = RawHTTP.get(port, path, token: token)
      assert status in [:closed, 200, 400, 401, 404, 405, 414, 421, 431], "#{inspect(path)}: #{status}"
      unless token, do: refute(status == 200 and body =~ "kantoku_", inspect(path))
      refute body =~ "root:"
    end
  end

  test "a name that is not ours is answered by nothing, with the token as without it", %{port: port} do
    for host <- @foreign, token <- [true, false], path <- ["/metrics", "/livez", "/", "/api/v1/agents"] do
      {status, _headers, body} = RawHTTP.get(port, path, host: host, token: token)
      assert status in [:closed, 400, 421], "#{inspect(host)}: #{status}"
      refute body =~ "kantoku_"
    end
  end

  @tag http: [header_timeout: 1_000, connection_lifetime: 2_000]
  test "all of it at once leaves nothing behind, and calls are answered meanwhile", %{instance: instance, port: port} do
    # What is there for good is there after the first of each.
    storm(port, 0.05)
    before = settled()
    bytes = native_bytes(port)
    caller = Task.async(fn -> calls(instance, 0) end)
    for _ <- 1..@times, do: storm(port, 1)
    send(caller.pid, :enough)
    answered = Task.await(caller, 60_000)
    assert answered > 100
    later = settled(before)
    IO.puts("\n#{answered} calls were answered in the storm;#{Footprint.compare(before, later)}")

    # As many as a collector of garbage or a logger may have.
    assert later.fds <= before.fds + 2
    assert later.processes <= before.processes + 10
    assert later.atoms <= before.atoms + 200
    assert later.rss <= before.rss + 150 * 1_048_576
    assert length(RawHTTP.threads()) <= 3
    assert {200, _, _} = RawHTTP.get(port, "/livez", token: false)
    assert native_bytes(port) <= bytes + 1_000_000
  end

  defp calls(instance, answered) do
    {:ok, pid} = Kantoku.call(instance, :served, :pid)
    true = is_pid(pid)

    receive do
      :enough -> answered + 1
    after
      1 -> calls(instance, answered + 1)
    end
  end

  defp storm(port, share) do
    some = fn count -> max(1, round(count * share)) end

    [
      Task.async(fn -> slow_heads(port, some.(96)) end),
      Task.async(fn -> open_and_go(port, some.(3_000)) end),
      Task.async(fn -> giants(port, some.(40)) end),
      Task.async(fn -> bad_tokens(port, some.(2_000)) end),
      Task.async(fn -> for(_ <- 1..some.(10), path <- @tricks, do: RawHTTP.get(port, path, token: false)) end),
      Task.async(fn -> for(_ <- 1..some.(20), host <- @foreign, do: RawHTTP.get(port, "/metrics", host: host)) end)
    ]
    |> Task.await_many(600_000)

    fuzz(port, some.(1_500))
  end

  # Each is cut off for its age, or for another's sake.
  defp slow_heads(port, count) do
    sockets = for _ <- 1..count, do: RawHTTP.connect(port)
    drip(sockets, "GET /livez HTTP/1.1\r\nhost: localhost\r\n", 200)
    Enum.each(sockets, &:gen_tcp.close/1)
  end

  defp drip([], _text, _left), do: :ok
  defp drip(_sockets, _text, 0), do: flunk("somebody may say his head for ever")

  defp drip(sockets, text, left) do
    open = for socket <- sockets, :gen_tcp.send(socket, text) == :ok, do: socket
    Process.sleep(50)
    drip(open, "x: y\r\n", left - 1)
  end

  defp open_and_go(port, count) do
    for chunk <- Enum.chunk_every(1..count, 500) do
      sockets = for _ <- chunk, do: RawHTTP.connect(port)
      Enum.each(sockets, &:gen_tcp.close/1)
    end
  end

  defp giants(port, count) do
    big = String.duplicate("a", 1_000_000)

    for _ <- 1..count,
        giant <- [
          ["GET / HTTP/1.1\r\nx: ", big, "\r\n\r\n"],
          ["GET /", big, " HTTP/1.1\r\n\r\n"],
          ["GET / HTTP/1.1\r\n", String.duplicate("a: b\r\n", 5_000), "\r\n"],
          [big, " / HTTP/1.1\r\n\r\n"],
          ["GET / HTTP/1.1\r\nhost: ", big, "\r\n\r\n"]
        ] do
      {status, _, _} = RawHTTP.ask(port, giant)
      assert status in [:closed, 400, 414, 421, 431]
    end
  end

  defp bad_tokens(port, count) do
    for n <- 1..count do
      token = Enum.at([RawHTTP.token() <> "#{n}", String.slice(RawHTTP.token(), 0, rem(n, 31)), "#{n}", ""], rem(n, 4))
      scheme = Enum.at(["Bearer", "bearer", "Basic", "Bearer  x"], rem(n, 3))
      headers = [{"authorization", "#{scheme} #{token}"}]
      {status, _, _} = RawHTTP.get(port, "/metrics", token: false, headers: headers)
      # Others take its place while it asks.
      assert status in [:closed, 401]
    end
  end

  @paths ["/", "/metrics", "/livez", "/readyz", "/startupz", "/assets/app.js", "/api/v1/agents", "/api/v1/pools"] ++
           ["/api/v1/history", "/api/v1/endpoints", "/api/v1/instances", "/api/v1/top", "/events", "/nothing"]

  defp fuzz(port, count) do
    for _ <- 1..count do
      socket = RawHTTP.connect(port)
      _ = :gen_tcp.send(socket, mutated())
      _ = :gen_tcp.shutdown(socket, :write)
      assert answered?(socket, "")
      :gen_tcp.close(socket)
    end
  end

  # To its end; but a stream of events has none for as long as somebody reads it.
  defp answered?(socket, seen) do
    case :gen_tcp.recv(socket, 0, 30_000) do
      {:ok, more} -> seen <> more =~ "text/event-stream" or answered?(socket, seen <> more)
      {:error, reason} -> reason != :timeout
    end
  end

  defp mutated do
    method = Enum.random(~w(GET HEAD GET POST PUT DELETE OPTIONS CONNECT PRI \0))
    version = Enum.random(~w(HTTP/1.1 HTTP/1.1 HTTP/1.0 HTTP/2.0 HTTP/9))
    query = Enum.random(["", "?", "?" <> Base.encode16(:rand.bytes(20)), "?a=%zz&&=", "?instance=%00"])
    token = Enum.random(["", "authorization: Bearer #{RawHTTP.token()}\r\n"])

    more =
      Enum.random(["", "content-length: 99999999999999999999\r\n", "transfer-encoding: chunked\r\n", "expect: x\r\n"])

    head = "#{method} #{Enum.random(@paths)}#{query} #{version}\r\nhost: localhost\r\n"
    Enum.reduce(1..:rand.uniform(4), head <> token <> more <> "\r\n", fn _, text -> changed(text) end)
  end

  defp changed(""), do: "\r\n"

  defp changed(text) do
    at = :rand.uniform(byte_size(text)) - 1
    <<before::binary-size(at), byte, rest::binary>> = text

    case :rand.uniform(4) do
      1 -> <<before::binary, :rand.uniform(256) - 1, rest::binary>>
      2 -> before <> rest
      3 -> <<before::binary, byte, byte, rest::binary>>
      4 -> <<before::binary, byte>>
    end
  end

  # When all connections have ended; and no more than there were `before`, if that comes to be.
  defp settled(before \\ nil) do
    eventually(fn -> Exporters.status().connections == 0 end, 6_000)
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    now = Footprint.take()

    if before,
      do: eventually(fn -> if((now = Footprint.take()).fds <= before.fds + 2, do: now) end, 500),
      else: now
  end

  defp native_bytes(port) do
    {200, _, page} = RawHTTP.get(port, "/metrics")
    lines = for "kantoku_native_bytes" <> _ = line <- String.split(page, "\n"), do: line
    lines |> Enum.map(&(&1 |> String.split() |> List.last() |> Float.parse() |> elem(0))) |> Enum.sum()
  end
end

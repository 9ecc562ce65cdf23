defmodule Kantoku.RawHTTP do
  @moduledoc """
  Requests as bytes on a socket of the loopback, as no client would send them, and what came back.
  """

  @token "a-token-of-the-tests-0123456789"

  @doc "The token that `start/1` gives."
  def token, do: @token

  @doc "The options of a listener on a free port, with the token of the tests."
  def options(more \\ []), do: Keyword.merge([port: 0, token: @token], more)

  @doc "Where the VM's listener is."
  def port do
    %{port: port} = Kantoku.Exporters.status().http
    port
  end

  @doc "Gets a path: its status, headers and body. `headers` come after those that every request needs; `token: false` leaves the token out."
  def get(port, path, opts \\ []) do
    authorization = if Keyword.get(opts, :token, true), do: [{"authorization", "Bearer #{@token}"}], else: []
    host = [{"host", Keyword.get(opts, :host, "localhost:#{port}")}]
    headers = host ++ authorization ++ Keyword.get(opts, :headers, [])
    lines = for {name, value} <- headers, do: "#{name}: #{value}\r\n"
    method = Keyword.get(opts, :method, "GET")
    ask(port, ["#{method} #{path} HTTP/1.1\r\n", lines, "connection: close\r\n\r\n"])
  end

  @doc "Sends bytes and reads until the other side closes."
  def ask(port, bytes, timeout \\ 5_000) do
    socket = connect(port)
    _ = :gen_tcp.send(socket, bytes)
    answer = read(socket, timeout)
    :gen_tcp.close(socket)
    parse(answer)
  end

  @doc "A socket to it."
  def connect(port) do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, nodelay: true], 5_000)
    socket
  end

  @doc "A stream of events that is open, and its head: what is emitted once the feed has subscribed comes on it."
  def events(port, query \\ "") do
    socket = connect(port)
    lines = ["GET /events#{query} HTTP/1.1", "host: localhost", "authorization: Bearer #{@token}", "\r\n"]
    :ok = :gen_tcp.send(socket, Enum.intersperse(lines, "\r\n"))
    {socket, until(socket, "", ": events\n\n")}
  end

  @doc "Reads until what was seen has the text. Raises when ten seconds say nothing new."
  def until(socket, seen, text) do
    if seen =~ text do
      seen
    else
      {:ok, more} = :gen_tcp.recv(socket, 0, 10_000)
      until(socket, seen <> more, text)
    end
  end

  @doc "All that comes until the other side closes; `:timeout` if it does not."
  def read(socket, timeout, seen \\ "") do
    case :gen_tcp.recv(socket, 0, timeout) do
      {:ok, more} -> read(socket, timeout, seen <> more)
      {:error, :timeout} -> :timeout
      {:error, _closed} -> seen
    end
  end

  defp parse(answer) when is_binary(answer) do
    with [head, body] <- String.split(answer, "\r\n\r\n", parts: 2),
         ["HTTP/1." <> <<_minor, " ", status::binary-size(3), _reason::binary>> | lines] <- String.split(head, "\r\n") do
      headers = for line <- lines, [name, value] = String.split(line, ": ", parts: 2), into: %{}, do: {name, value}
      {String.to_integer(status), headers, body}
    else
      _no_answer -> {:closed, %{}, answer}
    end
  end

  defp parse(:timeout), do: {:timeout, %{}, ""}

  @doc "The value of a series in a page of metrics, or `nil`."
  def value(page, series) do
    Enum.find_value(String.split(page, "\n"), fn line ->
      with [^series, value] <- String.split(line, ~r/ (?=[^ ]+$)/),
           do: value |> Float.parse() |> elem(0),
           else: (_ -> nil)
    end)
  end

  @doc "The threads of this VM that do its exports."
  def threads(pid \\ "self") do
    for task <- Path.wildcard("/proc/#{pid}/task/*/comm"),
        {:ok, "kantoku io" <> _ = name} <- [File.read(task)],
        do: name
  end
end

defmodule Kantoku.TestHTTPSink do
  @moduledoc """
  A small HTTP server on the loopback that tells the test of each request, as `{:posted, url, path, headers, body}`, and answers as it is
  told to: by a function of the request's number, from 1, with a status, `{:slow, ms, status}`, `:hang` or `:close`.
  """

  @enforce_keys [:url, :port, :listener, :server]
  defstruct @enforce_keys

  @type t :: %__MODULE__{url: String.t(), port: :inet.port_number(), listener: term, server: pid}

  @doc "Starts one that ends with the test. Options: `:answer`, `:port`; `:tls`, options of a TLS server."
  def start(opts \\ []) do
    test = self()
    module = if opts[:tls], do: :ssl, else: :gen_tcp
    own = [:binary, active: false, packet: :raw, reuseaddr: true, ip: {127, 0, 0, 1}, backlog: 64]
    {:ok, listener} = module.listen(opts[:port] || 0, own ++ (opts[:tls] || []))
    {:ok, {_ip, port}} = if opts[:tls], do: :ssl.sockname(listener), else: :inet.sockname(listener)
    scheme = if opts[:tls], do: "https", else: "http"
    url = "#{scheme}://#{opts[:host] || "localhost"}:#{port}"
    config = {module, test, url, opts[:answer] || fn _number -> 200 end, :counters.new(1, [])}
    server = spawn(fn -> accept(listener, config, Process.monitor(test)) end)
    if module == :gen_tcp, do: :ok = :gen_tcp.controlling_process(listener, server)
    sink = %__MODULE__{url: url, port: port, listener: listener, server: server}
    ExUnit.Callbacks.on_exit(fn -> stop(sink) end)
    sink
  end

  @doc "A port on which nobody listens."
  def closed_port do
    {:ok, listener} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(listener)
    :ok = :gen_tcp.close(listener)
    port
  end

  @doc "Ends it, with all connections."
  def stop(%{server: server}), do: Kantoku.TestOwner.kill(server)

  defp accept(listener, {module, _, _, _, _} = config, monitor) do
    case take(module, listener) do
      {:ok, socket} ->
        server = self()
        pid = spawn_link(fn -> receive(do: (:go -> serve(socket, config, server))) end)
        _ = module.controlling_process(socket, pid)
        send(pid, :go)

      _refused ->
        :ok
    end

    receive do
      {:DOWN, ^monitor, :process, _test, _reason} -> :ok
    after
      0 -> accept(listener, config, monitor)
    end
  end

  defp take(:gen_tcp, listener), do: :gen_tcp.accept(listener, 200)

  defp take(:ssl, listener) do
    with {:ok, socket} <- :ssl.transport_accept(listener, 200), do: :ssl.handshake(socket, 2_000)
  end

  defp serve(socket, {module, test, url, answer, counter}, _server) do
    with {:ok, path, headers, body} <- read(module, socket, "") do
      :counters.add(counter, 1, 1)
      number = :counters.get(counter, 1)
      send(test, {:posted, url, path, headers, body})
      reply(module, socket, answer.(number))
    end

    module.close(socket)
  end

  defp read(module, socket, seen) do
    case String.split(seen, "\r\n\r\n", parts: 2) do
      [head, body] -> body(module, socket, head, body)
      [_part] -> with {:ok, more} <- module.recv(socket, 0, 5_000), do: read(module, socket, seen <> more)
    end
  end

  defp body(module, socket, head, body) do
    [request | lines] = String.split(head, "\r\n")
    ["POST", path, _version] = String.split(request, " ")

    headers =
      for line <- lines,
          [name, value] = String.split(line, ": ", parts: 2),
          into: %{},
          do: {String.downcase(name), value}

    missing = String.to_integer(headers["content-length"]) - byte_size(body)

    with {:ok, rest} <- if(missing > 0, do: module.recv(socket, missing, 5_000), else: {:ok, ""}),
         do: {:ok, path, headers, body <> rest}
  end

  defp reply(_module, _socket, :close), do: :ok
  defp reply(_module, _socket, :hang), do: Process.sleep(:infinity)

  defp reply(module, socket, {:slow, ms, status}) do
    Process.sleep(ms)
    reply(module, socket, status)
  end

  defp reply(module, socket, status) do
    module.send(socket, "HTTP/1.1 #{status} Whatever\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
  end

  # Certificates -----------------------------------------------------------------------------------------------------------

  @doc "A certificate for a name, of an authority of its own: options of a TLS server, and the authority's certificate as PEM."
  def certificate(name) do
    san = {:Extension, {2, 5, 29, 17}, false, [{:dNSName, String.to_charlist(name)}]}

    # Signed by SHA-1, as is the default there, it is refused by newer OTP; signed by a curve of OTP 25's, by all but OTP.
    signed = [key: {:rsa, 2048, 65_537}, digest: :sha256]
    server = %{root: signed, intermediates: [], peer: [extensions: [san]] ++ signed}
    client = %{root: signed, intermediates: [], peer: signed}
    data = :public_key.pkix_test_data(%{server_chain: server, client_chain: client})
    pem = for der <- data.client_config[:cacerts], do: {:Certificate, der, :not_encrypted}
    {Keyword.take(data.server_config, [:cert, :key]), :public_key.pem_encode(pem)}
  end
end

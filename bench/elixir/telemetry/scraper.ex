defmodule Bench.Telemetry.Scraper do
  @moduledoc false
  # Gets the page of figures as Prometheus does: over the loopback, as OpenMetrics, a connection for each time.

  @token "a-token-of-the-benchmarks"

  @doc "The token that whoever is scraped has to be started with."
  @spec token() :: String.t()
  def token, do: @token

  @doc "The body of one page, as it comes; `encoding` is `identity` or `gzip`."
  @spec scrape(:inet.port_number(), String.t()) :: binary
  def scrape(port, encoding \\ "gzip") do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, packet: :raw])
    :ok = :gen_tcp.send(socket, request(encoding))
    page = read(socket, [])
    :ok = :gen_tcp.close(socket)
    ["HTTP/1.1 200 OK\r\n" <> _headers, body] = String.split(page, "\r\n\r\n", parts: 2)
    body
  end

  @doc "Does so each second, until it is killed."
  @spec loop(:inet.port_number()) :: no_return
  def loop(port) do
    _page = scrape(port)
    Process.sleep(1_000)
    loop(port)
  end

  defp request(encoding) do
    "GET /metrics HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer #{@token}\r\n" <>
      "accept: application/openmetrics-text; version=1.0.0\r\naccept-encoding: #{encoding}\r\nconnection: close\r\n\r\n"
  end

  defp read(socket, parts) do
    case :gen_tcp.recv(socket, 0, 10_000) do
      {:ok, part} -> read(socket, [parts | part])
      {:error, :closed} -> IO.iodata_to_binary(parts)
    end
  end
end

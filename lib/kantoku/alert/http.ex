defmodule Kantoku.Alert.HTTP do
  # Requests over OTP's own client, under a profile of the instance's, so that nobody else's settings or sessions have a part in
  # them. Says of what failed only what may be read in a log.
  @moduledoc false
  use GenServer

  @agent "kantoku"

  @typedoc "What an attempt needs; address and headers as functions."
  @type target :: %{
          required(:url) => (() -> String.t()),
          required(:headers) => (() -> [{String.t(), String.t()}]),
          required(:cacertfile) => Path.t() | nil,
          required(:timeout) => pos_integer,
          optional(atom) => term
        }

  @spec start_link({atom, (pid -> term)}) :: GenServer.on_start()
  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  # The client belongs to this process, and ends with it, however that ends.
  @impl true
  def init({instance, tell}) do
    {:ok, client} = :inets.start(:httpc, [profile: :"kantoku_alerts_#{instance}"], :stand_alone)
    tell.(client)
    {:ok, client}
  end

  @doc "Posts JSON. `:ok` for any status of 2xx; `{:refused, status}` if to send the same again is no use."
  @spec post(pid, target, path :: String.t(), iodata) :: :ok | {:refused, pos_integer} | {:error, term}
  def post(client, target, path, body) do
    url = target.url.() |> String.trim_trailing("/") |> Kernel.<>(path)
    request = {String.to_charlist(url), headers(target), ~c"application/json", IO.iodata_to_binary(body)}
    client |> request(request, http_options(url, target)) |> answer()
  end

  defp request(client, request, options), do: :httpc.request(:post, request, options, [body_format: :binary], client)

  # The connection is not used again: what waited in it would be lost with it.
  defp headers(target) do
    own = [{"user-agent", @agent}, {"connection", "close"}]
    for {name, value} <- own ++ target.headers.(), do: {String.to_charlist(name), String.to_charlist(value)}
  end

  defp http_options("https:" <> _ = _url, target), do: [{:ssl, tls(target)} | http_options("http:", target)]
  defp http_options(_url, target), do: [timeout: target.timeout, connect_timeout: target.timeout, autoredirect: false]

  # A name is checked as RFC 6125 has it for HTTPS, wildcards included. A chain may be ten certificates long.
  defp tls(target) do
    [
      verify: :verify_peer,
      depth: 10,
      customize_hostname_check: [match_fun: :public_key.pkix_verify_hostname_match_fun(:https)]
    ] ++ trusted(target.cacertfile)
  end

  defp trusted(nil), do: [cacerts: :public_key.cacerts_get()]
  defp trusted(path), do: [cacertfile: String.to_charlist(path)]

  defp answer({:ok, {{_version, status, _text}, _headers, _body}}) when status in 200..299, do: :ok

  # Too many requests, and too slow ones, may come again.
  defp answer({:ok, {{_version, status, _text}, _headers, _body}}) when status in 400..499 and status not in [408, 429],
    do: {:refused, status}

  defp answer({:ok, {{_version, status, _text}, _headers, _body}}), do: {:error, {:status, status}}
  defp answer({:error, reason}), do: {:error, told(reason)}

  defp told({:failed_connect, details}) do
    case List.keyfind(details, :inet, 0) do
      {:inet, _families, {:tls_alert, {alert, _text}}} -> {:tls_alert, alert}
      {:inet, _families, reason} when is_atom(reason) -> reason
      _other -> :failed_connect
    end
  end

  defp told(reason) when is_atom(reason), do: reason
  defp told(reason) when is_tuple(reason) and is_atom(elem(reason, 0)), do: elem(reason, 0)
  defp told(_reason), do: :failed
end

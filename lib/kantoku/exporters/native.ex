defmodule Kantoku.Exporters.Native do
  # What is asked of the library, in its words. Answers with `Kantoku.Error`s. Knows no process.
  @moduledoc false

  alias Kantoku.Exporters.{Config, Environment}
  alias Kantoku.{Error, Native}

  @typedoc "An exporter, by the library's number."
  @type id :: non_neg_integer

  # Ms for the end of anything, and for one round in between.
  @bound 2_000
  @flush 1_000

  @doc "Has exporters for the calling process, and none that were there before."
  @spec start(patience :: pos_integer) :: :ok | {:error, Error.t()}
  def start(patience) do
    with :unknown <- Native.exporters_start(patience), do: absent(:exporters)
  end

  @spec stop() :: :ok
  def stop do
    _ = Native.exporters_stop(@bound)
    :ok
  end

  @spec beat(boolean, boolean) :: :ok
  def beat(ready?, started?) do
    _ = Native.exporters_beat(ready?, started?)
    :ok
  end

  @doc "Has these told besides what is measured natively; those before are not told any more."
  @spec give([Kantoku.Engine.Metrics.family()]) :: :ok | {:error, Error.t()}
  def give(families) do
    case Native.exporters_give(families) do
      {:limit, bytes} -> {:error, Error.new(:unavailable, what: :resources, cause: :limit, why: too_much(bytes))}
      _given_or_unknown -> :ok
    end
  end

  defp too_much(bytes), do: "figures of resources and Elixir engines are more than #{bytes} bytes, and are left out"

  @doc "Listens; the address that it got."
  @spec listen(Config.http()) :: {:ok, String.t()} | {:error, Error.t()}
  def listen(http) do
    limits =
      {http.max_connections, http.max_header_bytes, http.header_timeout, http.request_timeout, http.connection_lifetime}

    case token(http.token) do
      :none -> {:error, Error.new(:unavailable, what: :http, cause: :token, why: "its :token did not return a string")}
      token -> http |> address() |> Native.exporters_listen(token, http.hosts, limits) |> said(:http)
    end
  end

  defp address(%{ip: ip, port: port}) when tuple_size(ip) == 4, do: "#{:inet.ntoa(ip)}:#{port}"
  defp address(%{ip: ip, port: port}), do: "[#{:inet.ntoa(ip)}]:#{port}"

  defp token({:token, secret}) do
    with {:ok, token} when is_binary(token) <- Config.reveal(secret), do: {:token, token}, else: (_other -> :none)
  end

  defp token({:file, path}), do: {:file, path, Base.encode16(:crypto.strong_rand_bytes(32), case: :lower)}

  @spec hang_up() :: :ok
  def hang_up do
    _ = Native.exporters_hang_up(@bound)
    :ok
  end

  @doc "Starts an exporter that sends by itself."
  @spec push(Config.exporter()) :: {:ok, id} | {:error, Error.t()}
  def push({kind, config} = exporter) do
    case target(exporter) do
      :none ->
        why = "its :headers did not return pairs of strings"
        {:error, Error.new(:unavailable, what: kind, cause: :headers, why: why)}

      target ->
        kind |> Atom.to_string() |> Native.exporters_push(config.interval, target) |> said(kind)
    end
  end

  defp target({:otlp, config}), do: target(:otlp, :metrics, config, vm_start())
  defp target({:otlp_traces, config}), do: target(:otlp_traces, :traces, config, config.instance)
  defp target({kind, config}), do: {kind, config.host, config.port, config.prefix}

  defp target(kind, signal, config, last) do
    with {:ok, pairs} <- Config.reveal_pairs(config.headers) do
      address =
        {config.endpoint, Environment.headers(signal) ++ pairs, config.timeout,
         {config.cacertfile, config.certfile, config.keyfile}}

      {kind, address, config.resource, last}
    else
      :error -> :none
    end
  end

  # Unix nanoseconds.
  defp vm_start do
    start = :erlang.system_info(:start_time) + :erlang.time_offset()
    max(System.convert_time_unit(start, :native, :nanosecond), 0)
  end

  @doc "Has an exporter send once more, and end."
  @spec finish(id) :: :ok
  def finish(id) do
    _ = Native.exporters_end(id, @bound)
    :ok
  end

  @doc "Has all exporters send now."
  @spec flush() :: :ok
  def flush do
    _ = Native.exporters_flush(@flush)
    :ok
  end

  @doc "What runs, or `:none`."
  @spec status() :: {address :: String.t() | :none, non_neg_integer, non_neg_integer, [tuple]} | :none
  def status do
    with :unknown <- Native.exporters_status(), do: :none
  end

  defp said({:ok, _value} = ok, _what), do: ok
  defp said(:unknown, what), do: absent(what)
  defp said({:error, {cause, why}}, what), do: {:error, Error.new(:unavailable, what: what, cause: cause, why: why)}

  defp absent(what) do
    why = "exporters need the native library, and none serves here; Kantoku.Native.status/0 says why"
    {:error, Error.new(:unavailable, what: what, cause: :no_library, why: why)}
  end
end

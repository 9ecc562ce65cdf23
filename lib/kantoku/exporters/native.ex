defmodule Kantoku.Exporters.Native do
  # What is asked of the library, in its words. Answers with `Kantoku.Error`s. Knows no process.
  @moduledoc false

  alias Kantoku.Exporters.{Config, Environment, Secret, Words}
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
    case checked(fn -> Native.exporters_give(families) end) do
      {:limit, bytes} -> {:error, Error.new(:unavailable, what: :resources, cause: :limit, why: too_much(bytes))}
      {:error, {cause, why}} -> {:error, Error.new(:unavailable, what: :resources, cause: cause, why: why)}
      _given_or_unknown -> :ok
    end
  end

  defp too_much(bytes), do: "figures of resources and Elixir engines are more than #{bytes} bytes, and are left out"

  @doc "Listens; the address that it got."
  @spec listen(Config.http()) :: {:ok, String.t()} | {:error, Error.t()}
  def listen(http) do
    limits =
      {http.max_connections, http.max_header_bytes, http.header_timeout, http.request_timeout, http.connection_lifetime,
       http.live_within}

    hosts = http.hosts ++ List.wrap(Words.host_of(http.advertise))

    with {:ok, token} <- token(http.token, :token), {:ok, admin} <- token(http.admin, :admin_token) do
      said(checked(fn -> Native.exporters_listen(address(http), token, admin, hosts, limits) end), :http)
    end
  end

  defp address(%{ip: ip, port: port}) when tuple_size(ip) == 4, do: "#{:inet.ntoa(ip)}:#{port}"
  defp address(%{ip: ip, port: port}), do: "[#{:inet.ntoa(ip)}]:#{port}"

  defp token(nil, _option), do: {:ok, nil}

  defp token({:token, secret}, option) do
    case Secret.reveal(secret) do
      {:ok, token} ->
        if Words.token?(token), do: {:ok, {:token, token}}, else: no_token(option, "did not return #{Words.token()}")

      {:error, why} ->
        no_token(option, why)
    end
  end

  defp token({:file, path}, _option),
    do: {:ok, {:file, path, Base.encode16(:crypto.strong_rand_bytes(32), case: :lower)}}

  defp no_token(option, why),
    do: {:error, Error.new(:unavailable, what: :http, cause: :token, why: "its #{inspect(option)} #{why}")}

  @spec hang_up() :: :ok
  def hang_up do
    _ = Native.exporters_hang_up(@bound)
    :ok
  end

  @doc "Starts an exporter that sends by itself."
  @spec push(Config.exporter()) :: {:ok, id} | {:error, Error.t()}
  def push({kind, config} = exporter) do
    case target(exporter) do
      {:error, why} ->
        {:error, Error.new(:unavailable, what: kind, cause: :headers, why: why)}

      target ->
        said(checked(fn -> Native.exporters_push(Atom.to_string(kind), config.interval, target) end), kind)
    end
  end

  defp target({:otlp, config}), do: target(:otlp, :metrics, config, vm_start())
  defp target({:otlp_traces, config}), do: target(:otlp_traces, :traces, config, config.instance)
  defp target({kind, config}), do: {kind, config.host, config.port, config.prefix}

  defp target(kind, signal, config, last) do
    with {:ok, pairs} <- headers(config.headers, signal) do
      address = {config.endpoint, pairs, config.timeout, {config.cacertfile, config.certfile, config.keyfile}}

      {kind, address, config.resource, last}
    end
  end

  defp headers(secret, signal) do
    said = Environment.headers(signal)

    with {:ok, pairs} <- of_user(Secret.reveal(secret)) do
      cond do
        not Words.headers?(pairs) -> {:error, "its :headers did not return #{Words.headers()}"}
        not Words.headers?(said) -> {:error, "the variables OTEL_EXPORTER_OTLP_*HEADERS do not have #{Words.headers()}"}
        true -> {:ok, said ++ pairs}
      end
    end
  end

  defp of_user({:ok, pairs}), do: {:ok, pairs}
  defp of_user({:error, why}), do: {:error, "its :headers #{why}"}

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

  # An exception of the library would have its arguments, and so what must not be seen, in the report of whoever it ends.
  defp checked(call) do
    call.()
  rescue
    ArgumentError -> {:error, {:argument, "the library does not take one of its options"}}
  end

  defp said({:ok, _value} = ok, _what), do: ok
  defp said(:unknown, what), do: absent(what)
  defp said({:error, {cause, why}}, what), do: {:error, Error.new(:unavailable, what: what, cause: cause, why: why)}

  defp absent(what) do
    why = "exporters need the native library, and none serves here; Kantoku.Native.status/0 says why"
    {:error, Error.new(:unavailable, what: what, cause: :no_library, why: why)}
  end
end

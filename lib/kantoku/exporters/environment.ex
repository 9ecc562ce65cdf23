defmodule Kantoku.Exporters.Environment do
  # The variables that OpenTelemetry's specification has for every SDK ("Environment Variable Specification"). Read where an option was not given.
  @moduledoc false

  alias Kantoku.Exporters.Words

  @doc "Whether `OTEL_SDK_DISABLED` turns all exporters off that send by themselves."
  @spec disabled?() :: boolean
  def disabled?, do: String.downcase(given("OTEL_SDK_DISABLED") || "") == "true"

  @typedoc "What is sent."
  @type signal :: :metrics | :traces

  # For each, what its variables begin with, its path, and how often it is sent unless told otherwise.
  @signals [
    metrics: {"METRICS", "/v1/metrics", "OTEL_METRIC_EXPORT_INTERVAL", 60_000},
    traces: {"TRACES", "/v1/traces", "OTEL_BSP_SCHEDULE_DELAY", 5_000}
  ]

  @doc "What is sent: all of which no variable says that it goes nowhere."
  @spec signals() :: [signal]
  def signals do
    for {signal, {name, _path, _variable, _ms}} <- @signals, given("OTEL_#{name}_EXPORTER") != "none", do: signal
  end

  @doc "Where the collector is."
  @spec endpoint(signal) :: String.t()
  def endpoint(signal) do
    {name, path, _variable, _ms} = @signals[signal]
    given("OTEL_EXPORTER_OTLP_#{name}_ENDPOINT") || given_base(path) || "http://localhost:4318"
  end

  # The general one is a base, whatever path it has, and what it asks comes after the path; the others are taken as they are.
  defp given_base(path) do
    with base when is_binary(base) <- given("OTEL_EXPORTER_OTLP_ENDPOINT") do
      [base | query] = String.split(base, "?", parts: 2)
      Enum.join([String.trim_trailing(base, "/") <> path | query], "?")
    end
  end

  @doc "Headers, as `name=value,...` with what is special in values percent-encoded; those of the signal win."
  @spec headers(signal) :: [{String.t(), String.t()}]
  def headers(signal) do
    {name, _path, _variable, _ms} = @signals[signal]
    own = pairs("OTEL_EXPORTER_OTLP_#{name}_HEADERS")
    Enum.uniq_by(own ++ pairs("OTEL_EXPORTER_OTLP_HEADERS"), fn {name, _value} -> String.downcase(name) end)
  end

  @doc "Files over TLS: certificate authorities to trust, one's own certificate and its key."
  @spec tls(signal) :: {Path.t() | nil, Path.t() | nil, Path.t() | nil}
  def tls(signal) do
    {name, _path, _variable, _ms} = @signals[signal]
    file = fn what -> given("OTEL_EXPORTER_OTLP_#{name}_#{what}") || given("OTEL_EXPORTER_OTLP_#{what}") end
    {file.("CERTIFICATE"), file.("CLIENT_CERTIFICATE"), file.("CLIENT_KEY")}
  end

  @doc "Ms between two rounds."
  @spec interval(signal) :: pos_integer
  def interval(signal) do
    {_name, _path, variable, otherwise} = @signals[signal]
    ms(variable) || otherwise
  end

  @doc "Ms for one try."
  @spec timeout(signal) :: pos_integer
  def timeout(signal) do
    {name, _path, _variable, _ms} = @signals[signal]
    ms("OTEL_EXPORTER_OTLP_#{name}_TIMEOUT") || ms("OTEL_EXPORTER_OTLP_TIMEOUT") || 10_000
  end

  defp ms(variable) do
    with {ms, ""} <- Integer.parse(given(variable) || ""), true <- Words.ms?(ms), do: ms, else: (_none -> nil)
  end

  @doc "The variables that ask for what is not done, with what is done instead."
  @spec unheeded(signal) :: [{variable :: String.t(), value :: String.t(), instead :: String.t()}]
  def unheeded(signal) do
    {name, _path, _variable, _ms} = @signals[signal]

    for {what, done} <- [{"PROTOCOL", "http/protobuf"}, {"COMPRESSION", "none"}],
        {variable, value} <- List.wrap(asked(name, what)),
        value != done,
        do: {variable, value, done}
  end

  defp asked(name, what) do
    Enum.find_value(["OTEL_EXPORTER_OTLP_#{name}_#{what}", "OTEL_EXPORTER_OTLP_#{what}"], fn variable ->
      with value when value != nil <- given(variable), do: {variable, value}
    end)
  end

  @doc "What figures and spans are of; what is `given` comes first, then the variables."
  @spec resource([{String.t(), String.t()}]) :: [{String.t(), String.t()}]
  def resource(given) do
    known = [
      {"service.name", "unknown_service:beam"},
      {"process.runtime.name", "BEAM"},
      {"process.runtime.version", "#{:erlang.system_info(:version)}"},
      {"process.pid", System.pid()}
    ]

    service = for name <- List.wrap(given("OTEL_SERVICE_NAME")), do: {"service.name", name}
    Enum.uniq_by(given ++ service ++ pairs("OTEL_RESOURCE_ATTRIBUTES") ++ known, &elem(&1, 0))
  end

  defp pairs(variable) do
    for pair <- String.split(given(variable) || "", ",", trim: true),
        [name, value] <- [String.split(pair, "=", parts: 2)],
        do: {String.trim(name), value |> String.trim() |> decoded()}
  end

  # What is no percent-encoding is taken as it stands.
  defp decoded(value) do
    decoded = URI.decode(value)
    if Words.text?(decoded), do: decoded, else: value
  rescue
    ArgumentError -> value
  end

  # An empty variable is one that is not set, and so is one that is no text.
  defp given(variable) do
    value = System.get_env(variable, "")
    if Words.text?(value), do: with("" <- String.trim(value), do: nil)
  end
end

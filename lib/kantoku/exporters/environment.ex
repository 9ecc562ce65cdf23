defmodule Kantoku.Exporters.Environment do
  # The variables that OpenTelemetry's specification has for every SDK ("Environment Variable Specification"). Read where an option was not given.
  @moduledoc false

  @doc "Whether `OTEL_SDK_DISABLED` turns all exporters off that send by themselves."
  @spec disabled?() :: boolean
  def disabled?, do: "OTEL_SDK_DISABLED" |> System.get_env("") |> String.downcase() == "true"

  @doc "Where the collector is."
  @spec endpoint() :: String.t()
  def endpoint, do: given("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") || given_base() || "http://localhost:4318"

  # The general one is a base, whatever path it has; the one for metrics is taken as it is.
  defp given_base do
    with base when is_binary(base) <- given("OTEL_EXPORTER_OTLP_ENDPOINT"),
         do: String.trim_trailing(base, "/") <> "/v1/metrics"
  end

  @doc "Headers, as `name=value,...` with what is special in values percent-encoded."
  @spec headers() :: [{String.t(), String.t()}]
  def headers, do: pairs("OTEL_EXPORTER_OTLP_HEADERS")

  @doc "Ms between two rounds."
  @spec interval() :: pos_integer
  def interval do
    case Integer.parse(given("OTEL_METRIC_EXPORT_INTERVAL") || "") do
      {ms, ""} when ms > 0 -> ms
      _none -> 60_000
    end
  end

  @doc "What the figures are of; what is `given` comes first, then the variables."
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
    URI.decode(value)
  rescue
    ArgumentError -> value
  end

  # An empty variable is one that is not set.
  defp given(variable) do
    with "" <- System.get_env(variable, ""), do: nil
  end
end

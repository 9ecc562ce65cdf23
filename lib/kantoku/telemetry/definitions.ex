defmodule Kantoku.Telemetry.Definitions do
  # The catalogue as definitions of Telemetry.Metrics, compiled where that is there. Knows no reporter.
  @moduledoc false

  if Code.ensure_loaded?(Telemetry.Metrics) do
    # What has few values. Ids, pids and reasons, which are any term, are none of it.
    @tags [:action, :alert, :breaker, :cause, :doing, :domain, :exporter, :feature, :from, :kind, :module, :objective] ++
            [:pool, :probe, :resource, :result, :sign, :sink, :step, :to]

    @doc "A counter of each event, and a summary of each of its durations and sizes."
    @spec all() :: [struct]
    def all, do: Enum.flat_map(Kantoku.Telemetry.Catalogue.all(), &of/1)

    defp of(%{name: name, measurements: measurements} = event) do
      options = [event_name: [:kantoku | name], tags: [:instance | tags(event)], description: event.doc]

      [
        counter(name, options)
        | for({measurement, unit} <- measurements, measured?(unit), do: summary(name, measurement, unit, options))
      ]
    end

    defp tags(%{metadata: metadata}), do: Enum.filter(metadata, &(&1 in @tags))

    defp measured?(unit), do: unit in [:native, :byte]

    # Events that measure nothing are counted as well.
    defp counter(name, options) do
      Telemetry.Metrics.counter([:kantoku | name] ++ [:count], [measurement: fn _measured -> 1 end] ++ options)
    end

    defp summary(name, measurement, unit, options) do
      Telemetry.Metrics.summary(
        [:kantoku | name] ++ [measurement],
        [measurement: measurement, unit: unit(unit)] ++ options
      )
    end

    defp unit(:native), do: {:native, :millisecond}
    defp unit(:byte), do: :byte
  else
    @doc "There are none without it."
    @spec all() :: [struct]
    def all, do: []
  end
end

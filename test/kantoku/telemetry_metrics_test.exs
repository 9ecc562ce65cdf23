defmodule Kantoku.TelemetryMetricsTest do
  use ExUnit.Case, async: true

  alias Kantoku.Telemetry

  if Code.ensure_loaded?(Elixir.Telemetry.Metrics) do
    test "each event has a counter, and a summary of each of its durations and sizes" do
      definitions = Telemetry.metrics()

      for %{name: name, measurements: measurements} <- Telemetry.events() do
        own = Enum.filter(definitions, &(&1.event_name == [:kantoku | name]))
        measured = for {measurement, unit} <- measurements, unit in [:native, :byte], do: measurement
        assert [%Elixir.Telemetry.Metrics.Counter{} = counter | summaries] = own
        assert counter.measurement.(%{}) == 1
        assert Enum.map(summaries, &List.last(&1.name)) == measured
        for %Elixir.Telemetry.Metrics.Summary{tags: tags} <- summaries, do: assert(hd(tags) == :instance)
        for %{tags: tags} <- own, do: assert(tags -- [:id, :pid, :reason] == tags)
      end
    end

    test "durations are in ms" do
      %{measurement: measurement} = Enum.find(Telemetry.metrics(), &(&1.name == [:kantoku, :agent, :ready, :duration]))

      native = System.convert_time_unit(5, :millisecond, :native)
      assert_in_delta measurement.(%{duration: native}), 5, 0.001
    end
  else
    test "without Telemetry.Metrics there are none" do
      assert Telemetry.metrics() == []
    end
  end
end

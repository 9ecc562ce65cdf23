defmodule Bench.Telemetry do
  @moduledoc false
  # What it costs to be seen.
  @behaviour Bench.Suite

  alias Bench.Telemetry.Trace

  @impl true
  def name, do: "telemetry"

  @impl true
  def stages(options), do: Trace.stages(options)
end

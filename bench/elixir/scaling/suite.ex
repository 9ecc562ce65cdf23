defmodule Bench.Scaling do
  @moduledoc false
  # What the scaler makes of loads. In simulated time: nothing of the machine is in these figures.
  @behaviour Bench.Suite

  alias Bench.Scaling.{SimulatedDays, SimulatedTurns}
  alias Bench.Stage

  @impl true
  def name, do: "scaling"

  @impl true
  def stages(options), do: [%Stage{items: [SimulatedTurns.item(options), SimulatedDays.item(options)]}]
end

defmodule Bench.Scaling do
  @moduledoc false
  # What the scaler makes of loads: in simulated time, where nothing of the machine is in the figures, and of a step on a real pool.
  @behaviour Bench.Suite

  alias Bench.Scaling.{LiveStep, SimulatedDays, SimulatedTurns}
  alias Bench.Stage

  @impl true
  def name, do: "scaling"

  @impl true
  def stages(options) do
    [
      %Stage{items: [SimulatedTurns.item(options)]},
      %Stage{build: fn -> SimulatedDays.run(options) end, items: SimulatedDays.items(options)},
      %Stage{build: fn -> LiveStep.run(options) end, items: LiveStep.items()}
    ]
  end
end

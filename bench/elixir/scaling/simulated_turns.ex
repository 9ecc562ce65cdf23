defmodule Bench.Scaling.SimulatedTurns do
  @moduledoc false
  # Loads that come and go in ten periods, under the default policy. The size may turn twice in each, once with the load and once
  # back.

  alias Bench.{Check, Options}
  alias Kantoku.Pool.Simulation
  alias Kantoku.Pool.Scaler.Policy
  alias Kantoku.Pool.Simulation.Trace

  @shapes [:step, :ramp, :sine, :square]
  @periods 10

  @spec item(Options.t()) :: Check.t()
  def item(options) do
    minutes = Options.size(options, [5, 10, 30, 60, 120], [10, 30])
    labels = for shape <- @shapes, minutes <- minutes, do: {shape, minutes}

    %Check{
      name: "scaling.turns",
      does:
        "direction changes of the size beyond two in each of #{@periods} periods of a load between 5 and 25 workers' worth, " <>
          "in simulated time; requests evenly spaced, default policy, workers ready after a second",
      zero: Enum.map(labels, &label/1),
      run: fn _stage -> Enum.map(labels, &{label(&1), beyond(&1)}) end
    }
  end

  defp label({shape, minutes}), do: "#{shape} #{minutes} min"

  defp beyond({shape, minutes}) do
    trace = apply(Trace, shape, [[low: 2.5, high: 12.5, service: 2_000, period: minutes * 60_000, periods: @periods]])
    result = Simulation.run(trace, Policy.new!(max: 200, forecast: :off), size: 8)
    max(0, result.totals.direction_changes - 2 * @periods)
  end
end

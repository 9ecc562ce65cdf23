defmodule Bench.Scaling.SimulatedDays do
  @moduledoc false
  # Days that are much alike, with the scaler alone and with its forecast, which has a say from the fourth day on.

  alias Bench.{Measurement, Options}
  alias Kantoku.Pool.Simulation
  alias Kantoku.Pool.Scaler.Policy
  alias Kantoku.Pool.Simulation.Trace

  @start_time 120_000
  @max_wait 5_000
  @stretches 96

  @spec item(Options.t()) :: Measurement.t()
  def item(options) do
    day = Options.size(options, 28_800_000, 7_200_000)

    %Measurement{
      name: "scaling.days",
      unit: "count",
      does:
        "six days of an office's load, each in #{div(day, 3_600_000)} h of simulated time, requests at random; workers are ready " <>
          "after #{div(@start_time, 1_000)} s, who waits longer than #{div(@max_wait, 1_000)} s is lost; lost requests and slow " <>
          "stretches (of #{@stretches} a day, those with a p99 wait above a second) are of the last three days, on which the " <>
          "forecast may act, the rest is of all six",
      rounds: 1,
      run: fn _stage -> Enum.flat_map([:reactive, :forecast], &figures(&1, day)) end
    }
  end

  defp figures(which, day) do
    trace = Trace.daily(low: 0.5, high: 15, service: 2_000, period: day, periods: 6, arrivals: {:poisson, 3}, seed: 5)
    policy = Policy.new!(max: 200, forecast: forecast(which, day))
    result = Simulation.run(trace, policy, start_time: @start_time, max_wait: @max_wait, bucket: div(day, @stretches))
    late = Enum.filter(result.rows, &(&1.at >= 3 * day))

    [
      {"#{which}.requests_lost", sum(late, &(&1.rejected + &1.expired))},
      {"#{which}.slow_stretches", Enum.count(late, &((&1.wait_p99 || 0) > 1_000))},
      {"#{which}.worker_hours", round(result.totals.worker_seconds / 3_600)},
      {"#{which}.direction_changes", result.totals.direction_changes}
    ]
  end

  defp forecast(:reactive, _day), do: :off
  defp forecast(:forecast, day), do: [lead: @start_time, season: day, bucket: div(day, 288)]

  defp sum(rows, count), do: rows |> Enum.map(count) |> Enum.sum()
end

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
  @learning 3

  @typedoc "What became of the days, and of their stretches since the forecast may act."
  @type days :: %{totals: Simulation.totals(), late: [Simulation.row()]}

  @spec run(Options.t()) :: [{:reactive | :forecast, days}]
  def run(options), do: for(which <- [:reactive, :forecast], do: {which, days(which, day(options))})

  defp day(options), do: Options.size(options, 28_800_000, 7_200_000)

  defp days(which, day) do
    trace = Trace.daily(low: 0.5, high: 15, service: 2_000, period: day, periods: 6, arrivals: {:poisson, 3}, seed: 5)
    policy = Policy.new!(max: 200, forecast: forecast(which, day))
    result = Simulation.run(trace, policy, start_time: @start_time, max_wait: @max_wait, bucket: div(day, @stretches))
    %{totals: result.totals, late: Enum.filter(result.rows, &(&1.at >= @learning * day))}
  end

  defp forecast(:reactive, _day), do: :off
  defp forecast(:forecast, day), do: [lead: @start_time, season: day, bucket: div(day, 288)]

  @spec items(Options.t()) :: [Measurement.t()]
  def items(options) do
    does =
      "six days of an office's load, each in #{div(day(options), 3_600_000)} h of simulated time, requests at random; workers are ready " <>
        "after #{div(@start_time, 1_000)} s, who waits longer than #{div(@max_wait, 1_000)} s is lost; lost requests, slow " <>
        "stretches (of #{@stretches} a day, those with a p99 wait above a second) and waits are of the last three days, on which " <>
        "the forecast may act, the rest is of all six"

    [
      %Measurement{
        name: "scaling.days",
        unit: "count",
        does: does,
        rounds: 1,
        run: &each(&1, fn days -> counts(days) end)
      },
      %Measurement{
        name: "scaling.days_wait",
        unit: "ms",
        does: does,
        rounds: 1,
        run: &each(&1, fn days -> waits(days) end)
      }
    ]
  end

  defp each(runs, figures), do: for({which, days} <- runs, {label, n} <- figures.(days), do: {"#{which}.#{label}", n})

  defp counts(%{totals: totals, late: late}) do
    [
      {"requests_lost", sum(late, &(&1.rejected + &1.expired))},
      {"slow_stretches", Enum.count(late, &(wait(&1) > 1_000))},
      {"worker_hours", round(totals.worker_seconds / 3_600)},
      {"direction_changes", totals.direction_changes}
    ]
  end

  # Of the p99 waits of stretches: their mean, by requests, and the worst.
  defp waits(%{late: late}) do
    [
      {"p99_mean", sum(late, &(wait(&1) * &1.arrivals)) / max(sum(late, & &1.arrivals), 1)},
      {"p99_worst", late |> Enum.map(&wait/1) |> Enum.max()}
    ]
  end

  defp wait(row), do: row.wait_p99 || 0
  defp sum(rows, count), do: rows |> Enum.map(count) |> Enum.sum()
end

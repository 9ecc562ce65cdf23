defmodule Kantoku.SLO.Families do
  # What objectives come to, as metrics. Of those that share a series it has the strictest target, the least that is left and the highest rates.
  @moduledoc false
  @behaviour Kantoku.Metrics.Standing

  alias Kantoku.Metrics.Standing
  alias Kantoku.SLO

  @families [
    {:target, :gauge, "kantoku_slo_objective_ratio", [unit: :ratio, help: "The share of calls that is to be good."]},
    {:left, :gauge, "kantoku_slo_error_budget_remaining_ratio",
     [
       unit: :ratio,
       help:
         "What is left of an objective's error budget: from 1, where nothing was spent, to below 0, where more was than there is."
     ]},
    {:rate, :gauge, "kantoku_slo_burn_rate",
     [help: "How many times faster than evenly an error budget was used up over a window (5m, 1h, 3d)."]},
    {:calls, :counter, "kantoku_slo_calls", [help: "Calls that count for an objective, by outcome: good or bad."]}
  ]

  # As Prometheus writes durations.
  @units [{86_400_000, "d"}, {3_600_000, "h"}, {60_000, "m"}, {1_000, "s"}, {1, "ms"}]

  @impl true
  def all, do: @families

  @impl true
  def figures(instance) do
    case SLO.standings(instance) do
      {:ok, standings} -> of(standings)
      {:error, _not_running} -> %{}
    end
  end

  defp of(standings) do
    named = for {report, _counted} = standing <- standings, do: {[objective: report.name], standing}
    together = Standing.capped(named, objective: "other")

    %{
      target: for({labels, all} <- together, do: {labels, Enum.max(reports(all, & &1.target)) / 100}),
      left: for({labels, all} <- together, do: {labels, Enum.min(reports(all, & &1.budget.left))}),
      rate: Enum.flat_map(together, &rates/1),
      calls: Enum.flat_map(together, &calls/1)
    }
  end

  defp reports(all, value), do: Enum.map(all, fn {report, _counted} -> value.(report) end)

  defp rates({labels, all}) do
    found =
      for {%{burn_rates: pairs}, _counted} <- all,
          pair <- pairs,
          window_and_rate <- [{pair.long, pair.long_rate}, {pair.short, pair.short_rate}],
          do: window_and_rate

    for {window, rates} <- Enum.group_by(found, &elem(&1, 0), &elem(&1, 1)),
        do: {labels ++ [window: text(window)], Enum.max(rates)}
  end

  # In the largest unit in which it is whole.
  defp text(ms) do
    {unit, name} = Enum.find(@units, fn {unit, _name} -> rem(ms, unit) == 0 end)
    "#{div(ms, unit)}#{name}"
  end

  defp calls({labels, all}) do
    {good, bad} = all |> Enum.map(&elem(&1, 1)) |> Enum.unzip()
    [{labels ++ [outcome: "good"], Enum.sum(good)}, {labels ++ [outcome: "bad"], Enum.sum(bad)}]
  end
end

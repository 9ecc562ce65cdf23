defmodule Kantoku.Api.Route.Objectives do
  # The objectives of an instance, how they are kept and how fast what may fail is used up.
  @moduledoc false
  @behaviour Kantoku.Api.Route

  alias Kantoku.Api.Shown
  alias Kantoku.SLO

  @most 500

  @impl true
  def answer(instance, _params) do
    reports = reports(instance)
    {:ok, %{objectives: reports |> Enum.take(@most) |> Enum.map(&detailed/1), total: length(reports)}}
  end

  @doc "Of each what matters at a glance, those first that burn too fast."
  @spec brief(atom) :: [map]
  def brief(instance) do
    for report <- reports(instance) do
      %{
        name: Shown.text(report.name),
        target: share(report.target),
        kept: share(report.ratio),
        burn: report.burn_rates |> Enum.map(& &1.short_rate) |> Enum.max(fn -> nil end),
        firing: firing?(report)
      }
    end
  end

  defp reports(instance) do
    case SLO.reports(instance) do
      {:ok, reports} -> Enum.sort_by(reports, &(not firing?(&1)))
      {:error, _none_or_restarting} -> []
    end
  end

  defp detailed(report) do
    %{
      name: Shown.text(report.name),
      of: Shown.text(report.of),
      kind: report.kind,
      target: share(report.target),
      latency: Shown.seconds(report.latency),
      window: Shown.seconds(report.window),
      since: Shown.seconds(report.since),
      good: report.good,
      bad: report.bad,
      kept: share(report.ratio),
      budget_left: report.budget.left,
      burn: Enum.map(report.burn_rates, &burn/1),
      firing: firing?(report)
    }
  end

  defp burn(rate) do
    %{
      window: Shown.seconds(rate.long),
      rate: rate.long_rate,
      short: %{window: Shown.seconds(rate.short), rate: rate.short_rate},
      limit: rate.rate,
      severity: rate.severity,
      firing: rate.burning
    }
  end

  defp firing?(report), do: Enum.any?(report.burn_rates, & &1.burning)

  defp share(nil), do: nil
  defp share(percent), do: Float.round(percent / 100, 9)
end

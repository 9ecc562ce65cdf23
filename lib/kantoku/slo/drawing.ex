defmodule Kantoku.SLO.Drawing do
  # A report as an SVG: what was left of the budget above, how fast it was used up below. Knows only reports.
  @moduledoc false

  alias Kantoku.Picture
  alias Kantoku.SLO.Report

  @upper {88, 212}
  @lower {346, 144}
  @height 540

  @light ".left{stroke:#2563eb;fill:none;stroke-width:2}.area{fill:#2563eb;fill-opacity:.10}\n.rate{fill:#dc2626;fill-opacity:.55}"
  @dark ".left{stroke:#60a5fa}.area{fill:#60a5fa}.rate{fill:#f87171}"

  @doc "The picture of a report."
  @spec render(Kantoku.SLO.report()) :: String.t()
  def render(%{history: [first | _] = buckets} = report) do
    time = Picture.across(first.at, List.last(buckets).until)
    rates = Picture.upwards(Enum.map(buckets, & &1.burn_rate), @lower)

    Picture.page(title(report), @height, {@light, @dark}, Picture.legend(legend(report), ["rate"]), [
      Picture.axis("error budget left", whole(), &"#{round(&1)} %"),
      Picture.axis("burn rate", rates, & &1),
      Picture.times(time, @height, &"-#{Report.span(List.last(buckets).until - first.at - &1)}"),
      Picture.area("area", course(buckets, time), whole()),
      Picture.line("left", course(buckets, time)),
      Enum.map_join(for(bucket <- buckets, bucket.bad > 0, do: bucket), "\n", &bar(&1, time, rates))
    ])
  end

  defp title(report), do: "#{inspect(report.name)}: #{Report.asked(report)} over #{Report.span(report.window)}"

  defp legend(report) do
    left = Float.round(report.budget.left * 100, 1)
    [{"left", "budget left: #{left} %"}, {"rate", "burn rate"}]
  end

  # A scale from 0 to 100 percent, where a budget that is overdrawn lies at the foot.
  defp whole, do: Picture.upwards([100], @upper)

  defp course([first | _] = buckets, time) do
    points = for bucket <- buckets, do: {Picture.place(bucket.until, time), height(bucket.left)}
    [{Picture.place(first.at, time), height(1)} | points]
  end

  defp height(left), do: Picture.place(max(left, 0) * 100, whole())

  defp bar(bucket, time, {_least, _greatest, bottom, _length} = rates) do
    top = Picture.place(bucket.burn_rate, rates)
    height = max(Float.round(bottom - top, 1), 1.0)
    Picture.bar("rate", Picture.place(bucket.at, time), Picture.place(bucket.until, time), height, @lower)
  end
end

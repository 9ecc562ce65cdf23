defmodule Kantoku.Pool.Simulation.Picture do
  # A simulated pool as an SVG: its size and its load above, the waits and who was refused below. Knows only rows.
  @moduledoc false

  alias Kantoku.Picture

  @upper {88, 212}
  @lower {346, 144}
  @height 540

  @light ".size{stroke:#2563eb;fill:none;stroke-width:2}.area{fill:#2563eb;fill-opacity:.10}\n" <>
           ".load{stroke:#d97706;fill:none;stroke-width:2;stroke-dasharray:5 3}\n" <>
           ".p99{stroke:#7c3aed;fill:none;stroke-width:1.5}.p50{stroke:#059669;fill:none;stroke-width:1.5}\n" <>
           ".refused{fill:#dc2626;fill-opacity:.35}"
  @dark ".size{stroke:#60a5fa}.area{fill:#60a5fa}.load{stroke:#fbbf24}.p99{stroke:#c4b5fd}.p50{stroke:#34d399}.refused{fill:#f87171}"

  @legend [
    {"size", "workers"},
    {"load", "load, in workers"},
    {"p50", "wait p50"},
    {"p99", "wait p99"},
    {"refused", "refused or gone"}
  ]

  @doc "The picture of a simulation's rows."
  @spec render(String.t(), [Kantoku.Pool.Simulation.row(), ...]) :: String.t()
  def render(title, rows) do
    time = Picture.across(hd(rows).at, List.last(rows).until)
    workers = scale(rows, [:size, :load], @upper)
    waits = scale(rows, [:wait_p99], @lower)

    Picture.page(title, @height, {@light, @dark}, Picture.legend(@legend, ["refused"]), [
      Picture.axis("workers", workers, & &1),
      Picture.axis("wait", waits, &duration/1),
      Picture.times(time, @height),
      Picture.area("area", corners(rows, time, workers), workers),
      Picture.line("size", corners(rows, time, workers)),
      line(rows, :load, "load", time, workers),
      refused(rows, time),
      line(rows, :wait_p99, "p99", time, waits),
      line(rows, :wait_p50, "p50", time, waits)
    ])
  end

  defp scale(rows, keys, panel),
    do: Picture.upwards(for(row <- rows, key <- keys, row[key] != nil, do: row[key]), panel)

  defp corners(rows, time, scale) do
    Enum.flat_map(rows, fn row ->
      for at <- [row.at, row.until], do: {Picture.place(at, time), Picture.place(row.size, scale)}
    end)
  end

  # A stretch in which nobody was served leaves a gap.
  defp line(rows, key, class, time, scale) do
    rows
    |> Enum.chunk_by(&is_nil(&1[key]))
    |> Enum.reject(&is_nil(hd(&1)[key]))
    |> Enum.map_join("\n", fn rows ->
      points = for row <- rows, do: {Picture.place((row.at + row.until) / 2, time), Picture.place(row[key], scale)}
      Picture.line(class, points)
    end)
  end

  # The share of a stretch's requests that was refused or had waited too long, as a bar of the lower half.
  defp refused(rows, time) do
    {_top, height} = @lower

    for row <- rows, lost = row.rejected + row.expired, lost > 0 do
      bar = Float.round(min(1.0, lost / max(row.arrivals, 1)) * height, 1) |> max(2.0)
      Picture.bar("refused", Picture.place(row.at, time), Picture.place(row.until, time), bar, @lower)
    end
    |> Enum.join("\n")
  end

  defp duration(value) when value >= 1_000, do: "#{Float.round(value / 1_000, 2)} s"
  defp duration(value), do: "#{round(value)} ms"
end

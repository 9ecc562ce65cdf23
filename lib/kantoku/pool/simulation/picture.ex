defmodule Kantoku.Pool.Simulation.Picture do
  # A simulated pool as an SVG: its size and its load above, the waits and who was refused below. Knows only rows. Its colours are
  # classes, which a reader's dark scheme changes.
  @moduledoc false

  @width 960
  @left 64
  @right 24
  @plot @width - @left - @right
  @upper {88, 212}
  @lower {346, 144}
  @height 540

  @doc "The picture of a simulation's rows."
  @spec render(String.t(), [Kantoku.Pool.Simulation.row(), ...]) :: String.t()
  def render(title, rows) do
    time = scale_of_time(rows)
    workers = scale(rows, [:size, :load], @upper)
    waits = scale(rows, [:wait_p99], @lower)

    """
    <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 #{@width} #{@height}" width="#{@width}" height="#{@height}" \
    font-family="sans-serif" font-size="12" role="img">
    <title>#{escape(title)}</title>
    #{style()}
    <rect class="page" width="100%" height="100%"/>
    <text class="title" x="16" y="26" font-size="15">#{escape(title)}</text>
    #{legend()}
    #{axes("workers", workers, & &1)}
    #{axes("wait", waits, &duration/1)}
    #{times(time)}
    #{area(rows, time, workers)}
    #{stairs(rows, time, workers)}
    #{line(rows, :load, "load", time, workers)}
    #{refused(rows, time)}
    #{line(rows, :wait_p99, "p99", time, waits)}
    #{line(rows, :wait_p50, "p50", time, waits)}
    </svg>
    """
  end

  defp style do
    """
    <style>
    .page{fill:#ffffff}.title{fill:#111827}.text{fill:#4b5563}.grid{stroke:#e5e7eb}.axis{stroke:#6b7280}
    .size{stroke:#2563eb;fill:none;stroke-width:2}.area{fill:#2563eb;fill-opacity:.10}
    .load{stroke:#d97706;fill:none;stroke-width:2;stroke-dasharray:5 3}
    .p99{stroke:#7c3aed;fill:none;stroke-width:1.5}.p50{stroke:#059669;fill:none;stroke-width:1.5}
    .refused{fill:#dc2626;fill-opacity:.35}
    @media (prefers-color-scheme: dark){
    .page{fill:#0d1117}.title{fill:#f3f4f6}.text{fill:#9ca3af}.grid{stroke:#272e38}.axis{stroke:#9ca3af}
    .size{stroke:#60a5fa}.area{fill:#60a5fa}.load{stroke:#fbbf24}.p99{stroke:#c4b5fd}.p50{stroke:#34d399}.refused{fill:#f87171}}
    </style>\
    """
  end

  defp legend do
    [
      {"size", "workers"},
      {"load", "load, in workers"},
      {"p50", "wait p50"},
      {"p99", "wait p99"},
      {"refused", "refused or gone"}
    ]
    |> Enum.with_index()
    |> Enum.map_join("\n", fn {{class, text}, index} ->
      x = @left + index * 160
      ~s(#{mark(class, x)}<text class="text" x="#{x + 30}" y="50">#{text}</text>)
    end)
  end

  defp mark("refused", x), do: ~s(<rect class="refused" x="#{x}" y="40" width="22" height="11"/>)
  defp mark(class, x), do: ~s(<line class="#{class}" x1="#{x}" y1="46" x2="#{x + 22}" y2="46"/>)

  # A scale is {least, greatest, from, length}: where a value lies on the page.
  defp scale_of_time(rows), do: {hd(rows).at, List.last(rows).until, @left, @plot}

  defp scale(rows, keys, {top, height}) do
    greatest = for(row <- rows, key <- keys, row[key] != nil, do: row[key]) |> Enum.max(fn -> 1 end) |> max(1)
    {0, round_up(greatest), top + height, -height}
  end

  # One, two or five times a power of ten, so that the marks of an axis are round.
  defp round_up(value) do
    power = :math.pow(10, floor(:math.log10(value)))
    Enum.find([1, 2, 2.5, 5, 10], &(&1 * power >= value)) * power
  end

  defp place(value, {least, greatest, from, length}) do
    Float.round(from + (value - least) / max(greatest - least, 1) * length, 1)
  end

  defp axes(name, {least, greatest, bottom, length} = scale, shown) do
    marks =
      Enum.map_join(0..4, "\n", fn quarter ->
        value = least + (greatest - least) * quarter / 4
        y = place(value, scale)

        ~s(<line class="grid" x1="#{@left}" y1="#{y}" x2="#{@left + @plot}" y2="#{y}"/>) <>
          ~s(<text class="text" x="#{@left - 8}" y="#{y + 4}" text-anchor="end">#{mark_text(shown.(value))}</text>)
      end)

    """
    <text class="text" x="#{@left}" y="#{bottom + length - 8}">#{name}</text>
    #{marks}
    <line class="axis" x1="#{@left}" y1="#{bottom}" x2="#{@left + @plot}" y2="#{bottom}"/>\
    """
  end

  defp mark_text(text) when is_binary(text), do: text
  defp mark_text(value) when value == trunc(value), do: "#{trunc(value)}"
  defp mark_text(value), do: "#{Float.round(value, 2)}"

  defp times({first, last, _, _} = time) do
    Enum.map_join(0..8, "\n", fn eighth ->
      at = first + (last - first) * eighth / 8
      anchor = if eighth == 8, do: "end", else: "middle"

      ~s(<text class="text" x="#{place(at, time)}" y="#{@height - 28}" text-anchor="#{anchor}">#{clock(at - first)}</text>)
    end)
  end

  defp area(rows, time, scale) do
    {_, _, bottom, _} = scale
    points = corners(rows, time, scale)
    {{left, _}, {right, _}} = {hd(points), List.last(points)}
    ~s(<polygon class="area" points="#{left},#{bottom} #{points(points)} #{right},#{bottom}"/>)
  end

  defp stairs(rows, time, scale), do: ~s(<polyline class="size" points="#{points(corners(rows, time, scale))}"/>)

  defp corners(rows, time, scale) do
    Enum.flat_map(rows, fn row -> for at <- [row.at, row.until], do: {place(at, time), place(row.size, scale)} end)
  end

  # A stretch in which nobody was served leaves a gap.
  defp line(rows, key, class, time, scale) do
    rows
    |> Enum.chunk_by(&is_nil(&1[key]))
    |> Enum.reject(&is_nil(hd(&1)[key]))
    |> Enum.map_join("\n", fn rows ->
      points = for row <- rows, do: {place((row.at + row.until) / 2, time), place(row[key], scale)}
      ~s(<polyline class="#{class}" points="#{points(points)}"/>)
    end)
  end

  # The share of a stretch's requests that was refused or had waited too long, as a bar of the lower half.
  defp refused(rows, time) do
    {top, height} = @lower

    for row <- rows, lost = row.rejected + row.expired, lost > 0 do
      bar = Float.round(min(1.0, lost / max(row.arrivals, 1)) * height, 1) |> max(2.0)
      {left, right} = {place(row.at, time), place(row.until, time)}
      width = Float.round(right - left, 1)
      ~s(<rect class="refused" x="#{left}" y="#{top + height - bar}" width="#{width}" height="#{bar}"/>)
    end
    |> Enum.join("\n")
  end

  defp points(points), do: Enum.map_join(points, " ", fn {x, y} -> "#{x},#{y}" end)

  defp duration(value) when value >= 1_000, do: "#{Float.round(value / 1_000, 2)} s"
  defp duration(value), do: "#{round(value)} ms"

  @doc "Ms as hours, minutes and seconds."
  @spec clock(number) :: String.t()
  def clock(ms) do
    seconds = round(ms / 1_000)
    parts = [div(seconds, 3600), rem(div(seconds, 60), 60), rem(seconds, 60)]
    Enum.map_join(parts, ":", &String.pad_leading("#{&1}", 2, "0"))
  end

  defp escape(text) do
    text |> String.replace("&", "&amp;") |> String.replace("<", "&lt;") |> String.replace(">", "&gt;")
  end
end

defmodule Bench.Picture do
  @moduledoc false
  # A bar for each ratio, on a logarithmic scale with a line at 1.0, as SVG text. Knows only labels and numbers.

  @row 26
  @top 56
  @label 300
  @plot 460
  @width @label + @plot + 90

  @type bar :: {label :: String.t(), median :: number, least :: number, greatest :: number}

  @spec render(title :: String.t(), [bar, ...]) :: String.t()
  def render(title, bars) do
    scale = scale(bars)
    height = @top + length(bars) * @row + 34
    rows = bars |> Enum.with_index() |> Enum.map(fn {bar, index} -> row(bar, @top + index * @row, scale) end)

    """
    <svg xmlns="http://www.w3.org/2000/svg" width="#{@width}" height="#{height}" font-family="sans-serif" font-size="12">
    <rect width="100%" height="100%" fill="#ffffff"/>
    <text x="16" y="24" font-size="15" fill="#1f2937">#{escape(title)}</text>
    <text x="16" y="42" fill="#6b7280">ratio to the peer, higher is better; whiskers: least and greatest round</text>
    #{grid(scale, height)}
    #{Enum.join(rows, "\n")}
    </svg>
    """
  end

  defp scale(bars) do
    values = Enum.flat_map(bars, fn {_, _, least, greatest} -> [least, greatest] end)
    {floor(:math.log2(Enum.min([0.5 | values]))), ceil(:math.log2(Enum.max([2.0 | values])))}
  end

  defp x(value, {low, high}), do: Float.round(@label + (:math.log2(value) - low) / (high - low) * @plot, 1)

  defp grid({low, high} = scale, height) do
    step = max(1, div(high - low, 8))
    powers = Enum.uniq([0 | Enum.filter(low..high, &(rem(&1, step) == 0))])
    Enum.map_join(powers, "\n", &grid_line(:math.pow(2, &1), scale, height))
  end

  defp grid_line(value, scale, height) do
    colour = if value == 1.0, do: "#111827", else: "#e5e7eb"
    x = x(value, scale)

    """
    <line x1="#{x}" y1="#{@top - 6}" x2="#{x}" y2="#{height - 26}" stroke="#{colour}"/>
    <text x="#{x}" y="#{height - 10}" text-anchor="middle" fill="#6b7280">#{tick(value)}</text>\
    """
  end

  defp tick(value) when value >= 1, do: "#{round(value)}"
  defp tick(value), do: "1/#{round(1 / value)}"

  defp row({label, median, least, greatest}, y, scale) do
    {left, right} = Enum.min_max([x(1.0, scale), x(median, scale)])
    colour = if median >= 1.0, do: "#2563eb", else: "#dc2626"
    middle = y + 9

    """
    <text x="#{@label - 12}" y="#{y + 13}" text-anchor="end" fill="#1f2937">#{escape(label)}</text>
    <rect x="#{left}" y="#{y}" width="#{Float.round(right - left, 1)}" height="18" fill="#{colour}" fill-opacity="0.75"/>
    <line x1="#{x(least, scale)}" y1="#{middle}" x2="#{x(greatest, scale)}" y2="#{middle}" stroke="#111827"/>
    <text x="#{@label + @plot + 12}" y="#{y + 13}" fill="#1f2937">#{Bench.Figure.text(median)}</text>\
    """
  end

  defp escape(text) do
    text |> String.replace("&", "&amp;") |> String.replace("<", "&lt;") |> String.replace(">", "&gt;")
  end
end

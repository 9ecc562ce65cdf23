defmodule Kantoku.Picture do
  # A page of plots as an SVG: its frame, its axes, the places of values on it. Colours are classes, which a reader's dark scheme
  # changes. Knows nothing of what is drawn.
  @moduledoc false

  @width 960
  @left 64
  @right 24
  @plot @width - @left - @right

  # What every page has, in the light and in the dark.
  @light ".page{fill:#ffffff}.title{fill:#111827}.text{fill:#4b5563}.grid{stroke:#e5e7eb}.axis{stroke:#6b7280}"
  @dark ".page{fill:#0d1117}.title{fill:#f3f4f6}.text{fill:#9ca3af}.grid{stroke:#272e38}.axis{stroke:#9ca3af}"

  @typedoc "The least and the greatest value, where the least lies on the page, and how far from it the greatest."
  @type scale :: {least :: number, greatest :: number, from :: number, length :: number}

  @typedoc "The top of a plot on its page, and how high it is."
  @type panel :: {top :: number, height :: number}

  @doc "A page `height` high, with rules of classes for the light and for the dark, its legend below the title, and what is drawn on it."
  @spec page(String.t(), pos_integer, {String.t(), String.t()}, String.t(), [String.t()]) :: String.t()
  def page(title, height, styles, legend, drawn) do
    """
    <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 #{@width} #{height}" width="#{@width}" height="#{height}" \
    font-family="sans-serif" font-size="12" role="img">
    <title>#{escape(title)}</title>
    #{style(styles)}
    <rect class="page" width="100%" height="100%"/>
    <text class="title" x="16" y="26" font-size="15">#{escape(title)}</text>
    #{legend}
    #{Enum.join(drawn, "\n")}
    </svg>
    """
  end

  defp style({light, dark}) do
    """
    <style>
    #{@light}
    #{light}
    @media (prefers-color-scheme: dark){
    #{@dark}
    #{dark}}
    </style>\
    """
  end

  @doc "One mark and one text for each class: a line, or a box for those of `boxes`."
  @spec legend([{class :: String.t(), text :: String.t()}], boxes :: [String.t()]) :: String.t()
  def legend(classes, boxes) do
    classes
    |> Enum.with_index()
    |> Enum.map_join("\n", fn {{class, text}, index} ->
      x = @left + index * 160
      ~s(#{mark(class, x, class in boxes)}<text class="text" x="#{x + 30}" y="50">#{text}</text>)
    end)
  end

  defp mark(class, x, true), do: ~s(<rect class="#{class}" x="#{x}" y="40" width="22" height="11"/>)
  defp mark(class, x, false), do: ~s(<line class="#{class}" x1="#{x}" y1="46" x2="#{x + 22}" y2="46"/>)

  # Places -----------------------------------------------------------------------------------------------------------------

  @doc "From left to right."
  @spec across(number, number) :: scale
  def across(first, last), do: {first, last, @left, @plot}

  @doc "Upwards in a panel, from 0 to a round number that is not below any of the values."
  @spec upwards([number], panel) :: scale
  def upwards(values, {top, height}) do
    greatest = values |> Enum.max(fn -> 1 end) |> max(1)
    {0, round_up(greatest), top + height, -height}
  end

  # One, two or five times a power of ten, so that the marks of an axis are round.
  defp round_up(value) do
    power = :math.pow(10, floor(:math.log10(value)))
    Enum.find([1, 2, 2.5, 5, 10], &(&1 * power >= value)) * power
  end

  @spec place(number, scale) :: float
  def place(value, {least, greatest, from, length}) do
    Float.round(from + (value - least) / max(greatest - least, 1) * length, 1)
  end

  # Axes -------------------------------------------------------------------------------------------------------------------

  @doc "An axis upwards, with its name, and what its marks show of a value."
  @spec axis(String.t(), scale, (number -> String.t() | number)) :: String.t()
  def axis(name, {least, greatest, bottom, length} = scale, shown) do
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

  @doc "The axis of time at the foot of a page: nine marks, and what they show of the ms since the first."
  @spec times(scale, page_height :: pos_integer, (number -> String.t())) :: String.t()
  def times({first, last, _, _} = time, height, shown \\ &clock/1) do
    Enum.map_join(0..8, "\n", fn eighth ->
      at = first + (last - first) * eighth / 8
      anchor = if eighth == 8, do: "end", else: "middle"

      ~s(<text class="text" x="#{place(at, time)}" y="#{height - 28}" text-anchor="#{anchor}">#{shown.(at - first)}</text>)
    end)
  end

  @doc "Ms as hours, minutes and seconds."
  @spec clock(number) :: String.t()
  def clock(ms) do
    seconds = round(ms / 1_000)
    parts = [div(seconds, 3600), rem(div(seconds, 60), 60), rem(seconds, 60)]
    Enum.map_join(parts, ":", &String.pad_leading("#{&1}", 2, "0"))
  end

  # What is drawn ----------------------------------------------------------------------------------------------------------

  @spec line(String.t(), [{float, float}]) :: String.t()
  def line(class, points), do: ~s(<polyline class="#{class}" points="#{points(points)}"/>)

  @doc "What is between a line and the foot of its panel."
  @spec area(String.t(), [{float, float}, ...], scale) :: String.t()
  def area(class, points, {_, _, bottom, _}) do
    {{left, _}, {right, _}} = {hd(points), List.last(points)}
    ~s(<polygon class="#{class}" points="#{left},#{bottom} #{points(points)} #{right},#{bottom}"/>)
  end

  @doc "A bar that stands at the foot of a panel."
  @spec bar(String.t(), left :: float, right :: float, height :: float, panel) :: String.t()
  def bar(class, left, right, bar, {top, height}) do
    width = Float.round(right - left, 1)
    ~s(<rect class="#{class}" x="#{left}" y="#{top + height - bar}" width="#{width}" height="#{bar}"/>)
  end

  defp points(points), do: Enum.map_join(points, " ", fn {x, y} -> "#{x},#{y}" end)

  defp escape(text) do
    text |> String.replace("&", "&amp;") |> String.replace("<", "&lt;") |> String.replace(">", "&gt;")
  end
end

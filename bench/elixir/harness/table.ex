defmodule Bench.Table do
  @moduledoc false
  # Rows of text as a table, which reads as it is and is Markdown too. Knows nothing of what is in the cells.

  @doc "The first column is set left, the others right."
  @spec render([String.t()], [[String.t()]]) :: String.t()
  def render(head, rows) do
    widths = [head | rows] |> Enum.zip_with(fn cells -> cells |> Enum.map(&String.length/1) |> Enum.max() end)
    [line(head, widths), rule(widths) | Enum.map(rows, &line(&1, widths))] |> Enum.join("\n")
  end

  defp line([first | cells], [width | widths]) do
    right = Enum.zip_with(cells, widths, &String.pad_leading/2)
    "| " <> Enum.join([String.pad_trailing(first, width) | right], " | ") <> " |"
  end

  defp rule([width | widths]) do
    right = Enum.map(widths, &(String.duplicate("-", &1 + 1) <> ":"))
    "|" <> Enum.join([String.duplicate("-", width + 2) | right], "|") <> "|"
  end
end

defmodule Kantoku.Health.Trial.Report do
  # The result of a trial for people. Pure.
  @moduledoc false

  alias Kantoku.Health.Trial
  alias Kantoku.Health.Trial.{Parameters, Score}

  @name 11
  @cell 9

  @doc "All of it but the last line."
  @spec text(Trial.result()) :: String.t()
  def text(%{score: score} = result) do
    Enum.join([matrix(score), delays(score), foresight(result), restarts(result), marks(score)], "\n")
  end

  # One line for each class, one column for what it was taken for.
  defp matrix(%{matrix: matrix} = score) do
    verdicts = Parameters.classes() ++ if(Enum.any?(matrix, &match?({{_, :other}, _}, &1)), do: [:other], else: [])
    head = line("is \\ found", Enum.map(verdicts, &short/1) ++ ["recall", "precis."])

    lines =
      for class <- Parameters.classes() do
        counts = for verdict <- verdicts, do: count(Map.get(matrix, {class, verdict}, 0))
        line("#{class}", counts ++ [Score.text(Score.recall(score, class)), Score.text(Score.precision(score, class))])
      end

    Enum.join([head | lines], "\n") <> "\n"
  end

  defp count(0), do: "."
  defp count(number), do: "#{number}"

  defp short(class), do: class |> Atom.to_string() |> String.slice(0, @cell - 1)

  defp line(name, cells), do: String.pad_trailing(name, @name) <> Enum.map_join(cells, &String.pad_leading(&1, @cell))

  defp delays(%{delays: delays}) do
    lines =
      for class <- Parameters.classes(), found = delays[class] do
        numbers = for part <- [50, 99, 100], do: Score.text(Score.percentile(found, part))
        line("#{class}", numbers)
      end

    Enum.join(
      ["found, periods after the limit was passed (below 0: before)", line("", ["p50", "p99", "max"]) | lines],
      "\n"
    ) <> "\n"
  end

  defp foresight(%{score: score, leads: leads, errors: errors}) do
    {precision, recall} = Score.foresight(score)
    head = "at risk: precision #{Score.text(precision)} %, recall #{Score.text(recall)} %"

    spread = fn numbers -> Enum.map_join([1, 50, 99], " / ", &Score.text(Score.percentile(numbers, &1))) end

    if leads == [],
      do: head <> "\n",
      else:
        "#{head}; told #{spread.(leads)} periods before (p1 / p50 / p99),\n  and the limit passed #{spread.(errors)} periods after the " <>
          "time that was said\n"
  end

  defp restarts(%{score: score, gaps: gaps}) do
    "restarted within their limits: #{score.restarted}\n" <>
      "beyond their limits, and not meant to be, as the machine was too slow: #{score.overdue}; gaps in our own time: #{gaps}\n"
  end

  defp marks(score) do
    case Score.missed(score) do
      [] -> "all marks are reached"
      missed -> Enum.map_join(missed, "\n", &"missed: #{&1}")
    end
  end
end

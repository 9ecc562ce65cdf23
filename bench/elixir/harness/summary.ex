defmodule Bench.Summary do
  @moduledoc false
  # Outcomes as tables for people and as lines for machines. Knows nothing of files and of the console.

  alias Bench.{Check, Figure, Result, Stage, Statistics, Table}

  @doc "All results, and for each group of several the worst of it under the group's name."
  @spec results([Stage.outcome()]) :: [Result.t()]
  def results(outcomes) do
    results = for {:result, result} <- outcomes, do: result
    results ++ Result.worst_of_groups(results)
  end

  @doc "The tables that there is something to put into, as `{title, table}`."
  @spec tables([Stage.outcome()]) :: [{String.t(), String.t()}]
  def tables(outcomes) do
    [
      {"Ratios", ~w(comparison ours peer ratio min max unit), Enum.map(results(outcomes), &ratio_row/1)},
      {"Lost, and once more", ~w(comparison first again min max A/A min max),
       for({:again, doubt} <- outcomes, do: again_row(doubt))},
      {"Figures", ~w(figure median min max unit),
       for({:measured, m, f} <- outcomes, row <- figure_rows(m, f), do: row)},
      {"Checks", ~w(check count must\ be), for({:checked, c, n} <- outcomes, row <- check_rows(c, n), do: row)},
      {"Unchanged?", ~w(decision verdict cost low high A/A low high),
       for({:decided, d, v} <- outcomes, do: decision_row(d, v))}
    ]
    |> Enum.reject(fn {_, _, rows} -> rows == [] end)
    |> Enum.map(fn {title, head, rows} -> {title, Table.render(head, rows)} end)
  end

  @doc "One line for each thing that a script may want to read."
  @spec lines([Stage.outcome()]) :: [String.t()]
  def lines(outcomes) do
    ratios = for result <- results(outcomes), do: ratio_line(result)
    ratios ++ Enum.flat_map(outcomes, &outcome_lines/1)
  end

  @doc "What each side of each comparison does, and what stands behind each figure and check."
  @spec explanations([Stage.outcome()]) :: [{String.t(), String.t()}]
  def explanations(outcomes), do: outcomes |> Enum.flat_map(&explain/1) |> Enum.uniq()

  @doc "Whether nothing failed: no item broke off, and every check counted zero where it had to."
  @spec passed?([Stage.outcome()]) :: boolean
  def passed?(outcomes) do
    Enum.all?(outcomes, fn
      {:failed, _, _} -> false
      {:checked, check, counts} -> Check.passed?(check, counts)
      _ -> true
    end)
  end

  defp ratio_row(result) do
    {median, least, greatest} = Result.ratio(result)
    sides = Enum.map([Statistics.median(result.ours), Statistics.median(result.theirs)], &Figure.text/1)
    [result.name] ++ sides ++ Enum.map([median, least, greatest], &Figure.text/1) ++ [result.unit]
  end

  defp ratio_line(result) do
    {median, least, greatest} = Result.ratio(result)
    Enum.join(["ratio", result.name | Enum.map([median, least, greatest], &Figure.ratio/1)], " ")
  end

  defp outcome_lines({:again, doubt}) do
    ratios = for result <- [doubt.again, doubt.control], n <- Tuple.to_list(Result.ratio(result)), do: Figure.ratio(n)
    [Enum.join(["again", doubt.name | ratios], " ")]
  end

  defp outcome_lines({:measured, measurement, figures}) do
    for {label, values} <- figures do
      spread = Enum.map([Statistics.median(values), Enum.min(values), Enum.max(values)], &Figure.ratio/1)
      Enum.join(["figure", "#{measurement.name}.#{label}" | spread] ++ [measurement.unit], " ")
    end
  end

  defp outcome_lines({:checked, check, counts}) do
    verdict = if Check.passed?(check, counts), do: "passed", else: "FAILED"
    ["check #{check.name} #{verdict} " <> Enum.map_join(counts, " ", fn {label, n} -> "#{dash(label)}=#{n}" end)]
  end

  defp outcome_lines({:decided, decision, verdict}) do
    estimates = for e <- [verdict.candidate, verdict.control], n <- [e.median, e.low, e.high], do: Figure.ratio(n)
    [Enum.join(["unchanged", Stage.name(decision), to_string(verdict.unchanged) | estimates], " ")]
  end

  defp outcome_lines({:failed, name, _reason}), do: ["failed #{name}"]
  defp outcome_lines({:result, _}), do: []

  defp again_row(doubt) do
    {first, _, _} = Result.ratio(doubt.first)
    ratios = for result <- [doubt.again, doubt.control], n <- Tuple.to_list(Result.ratio(result)), do: n
    [doubt.name | Enum.map([first | ratios], &Figure.text/1)]
  end

  defp figure_rows(measurement, figures) do
    for {label, values} <- figures do
      spread = Enum.map([Statistics.median(values), Enum.min(values), Enum.max(values)], &Figure.text/1)
      ["#{measurement.name}.#{label}" | spread] ++ [measurement.unit]
    end
  end

  defp check_rows(check, counts) do
    for {label, count} <- counts do
      ["#{check.name}: #{label}", Figure.text(count), if(label in check.zero, do: "0", else: "")]
    end
  end

  defp decision_row(decision, verdict) do
    estimates = for e <- [verdict.candidate, verdict.control], n <- [e.median, e.low, e.high], do: Figure.text(n)
    said = if verdict.unchanged, do: "unchanged", else: "not shown"
    [Stage.name(decision), said | estimates]
  end

  defp explain({:result, %{name: name, does: {ours, theirs}}}), do: [{name, "ours: #{ours}; peer: #{theirs}"}]

  defp explain({:again, %{name: name}}),
    do: [{name, "was below 0.9, and so played again, and with the peer on both sides (A/A)"}]

  defp explain({:measured, measurement, _}), do: [{measurement.name, measurement.does}]
  defp explain({:checked, check, _}), do: [{check.name, check.does}]
  defp explain({:failed, name, reason}), do: [{name, "failed: " <> reason}]

  defp explain({:decided, decision, verdict}) do
    %{ours: candidate, theirs: baseline} = decision.comparison

    [
      {Stage.name(decision),
       "candidate: #{candidate.does}; baseline: #{baseline.does}; unchanged if the 95 % interval of the cost ratio over " <>
         "#{verdict.candidate.rounds} interleaved rounds ends below #{verdict.bound}"}
    ]
  end

  defp dash(label), do: String.replace(label, " ", "-")
end

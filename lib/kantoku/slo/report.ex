defmodule Kantoku.SLO.Report do
  # What an objective and its history come to. Pure; times are ms of system time.
  @moduledoc false

  alias Kantoku.SLO.{History, Objective}

  @doc "See `t:Kantoku.SLO.report/0`."
  @spec of(Objective.t(), History.t(), integer) :: Kantoku.SLO.report()
  def of(objective, history, now) do
    %{good: good, bad: bad} = standing = standing(objective, history, now)
    Map.put(standing, :history, course(objective, history, now, Objective.allowed(objective, good + bad)))
  end

  @doc "The same without its history, which is most of the work."
  @spec standing(Objective.t(), History.t(), integer) :: map
  def standing(objective, history, now) do
    {good, bad} = History.total(history, objective.window, now)

    %{
      name: objective.name,
      of: objective.of,
      kind: if(objective.latency, do: :latency, else: :availability),
      target: objective.target,
      latency: objective.latency,
      window: objective.window,
      since: history.since,
      good: good,
      bad: bad,
      ratio: percent(good, good + bad),
      budget: budget(objective, good, bad),
      burn_rates: Enum.map(objective.burn_rates, &burn_rate(&1, objective, history, now))
    }
  end

  defp percent(_good, 0), do: nil
  defp percent(good, total), do: good * 100 / total

  defp budget(objective, good, bad) do
    allowed = Objective.allowed(objective, good + bad)
    spent = spent(bad, allowed)
    %{allowed: allowed, spent: spent, left: 1 - spent}
  end

  defp spent(0, _allowed), do: 0.0
  defp spent(bad, allowed), do: bad / allowed

  defp burn_rate(pair, objective, history, now) do
    {good, bad} = long = History.total(history, pair.long, now)
    long_rate = rate(objective, long)
    short_rate = rate(objective, History.total(history, pair.short, now))
    burning? = good + bad >= objective.minimum and long_rate > pair.rate and short_rate > pair.rate
    Map.merge(pair, %{long_rate: long_rate, short_rate: short_rate, burning: burning?})
  end

  # 1 uses up the whole budget in the whole window, if as much comes all the time.
  defp rate(objective, {good, bad}), do: spent(bad, Objective.allowed(objective, good + bad))

  # What was left of the budget after each bucket, of what all calls of the window allow.
  defp course(objective, history, now, allowed) do
    {buckets, _bad} =
      history
      |> History.buckets(objective.window, now)
      |> Enum.map_reduce(0, fn bucket, bad ->
        bad = bad + bucket.bad
        rate = rate(objective, {bucket.good, bucket.bad})
        {Map.merge(bucket, %{burn_rate: rate, left: 1 - spent(bad, allowed)}), bad}
      end)

    buckets
  end

  # For people -----------------------------------------------------------------------------------------------------------------

  @columns ["objective", "of", "target", "window", "calls", "good", "budget left", "burning"]

  @doc "A line for each report."
  @spec table([Kantoku.SLO.report()]) :: String.t()
  def table(reports) do
    lines = [@columns | Enum.map(reports, &cells/1)]
    widths = Enum.zip_with(lines, fn column -> column |> Enum.map(&String.length/1) |> Enum.max() end)
    Enum.map_join(lines, "\n", &line(&1, widths))
  end

  defp line(cells, widths),
    do: cells |> Enum.zip_with(widths, &String.pad_trailing/2) |> Enum.join("  ") |> String.trim_trailing()

  defp cells(report) do
    [
      inspect(report.name),
      inspect(report.of),
      asked(report),
      span(report.window),
      Integer.to_string(report.good + report.bad),
      shown(report.ratio),
      shown(report.budget.left * 100),
      burning(report.burn_rates)
    ]
  end

  @doc "What is asked for, in words."
  @spec asked(Kantoku.SLO.report()) :: String.t()
  def asked(%{latency: nil} = report), do: "#{report.target} %"
  def asked(report), do: "#{report.target} % in #{span(report.latency)}"

  defp shown(nil), do: "-"
  defp shown(percent), do: :erlang.float_to_binary(percent / 1, decimals: 3) <> " %"

  defp burning(rates) do
    case for(%{burning: true} = pair <- rates, do: "#{pair.severity} (#{pair.rate} in #{span(pair.long)})") do
      [] -> "-"
      burning -> Enum.join(burning, ", ")
    end
  end

  @doc "Ms as people say them."
  @spec span(number) :: String.t()
  def span(ms) do
    {unit, name} =
      Enum.find(
        [{86_400_000, "d"}, {3_600_000, "h"}, {60_000, "min"}, {1_000, "s"}, {1, "ms"}],
        {1, "ms"},
        fn {unit, _name} -> ms >= unit end
      )

    "#{short(ms / unit)} #{name}"
  end

  defp short(value) when value == trunc(value), do: "#{trunc(value)}"
  defp short(value), do: "#{Float.round(value, 1)}"
end

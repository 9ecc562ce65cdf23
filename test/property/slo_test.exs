Code.require_file("terms.exs", __DIR__)

defmodule Kantoku.SLOPropertyTest do
  # A report is what a plain computation over the raw events says.
  use ExUnit.Case, async: true
  import Kantoku.Terms, only: [check: 3]

  alias Kantoku.SLO.{History, Objective, Report}

  @moduletag :property
  @moduletag timeout: 300_000

  test "sums, budgets and burn rates are those of the raw events, at every time" do
    check({objective(), events(), after_all()}, &as_computed?/1, 500)
  end

  defp objective do
    {:proper_types.elements([50, 90, 99, 99.9, 99.9999]), :proper_types.integer(1, 20_000),
     :proper_types.list({:proper_types.integer(1, 100), :proper_types.integer(1, 100), :proper_types.integer(1, 30)})}
  end

  # Close together, far apart, and at times many at once.
  defp events do
    gap =
      :proper_types.oneof([:proper_types.integer(0, 5), :proper_types.integer(0, 300), :proper_types.integer(0, 30_000)])

    :proper_types.list({gap, :proper_types.integer(0, 50), :proper_types.integer(0, 3)})
  end

  defp after_all, do: :proper_types.oneof([:proper_types.integer(0, 50), :proper_types.integer(0, 30_000)])

  defp as_computed?({{target, window, pairs}, events, later}) do
    objective =
      Objective.new!(name: :o, operation: :o, target: target, window: window, burn_rates: pairs(pairs, window))

    {raw, last} =
      Enum.map_reduce(events, 1_700_000_000_000, fn {gap, good, bad}, at -> {{at + gap, good, bad}, at + gap} end)

    history = History.new(Objective.windows(objective), 1_700_000_000_000)
    history = Enum.reduce(raw, history, fn {at, good, bad}, history -> History.add(history, at, good, bad) end)
    report = Report.of(objective, history, last + later)
    Enum.each(Objective.windows(objective), &within_bounds!(history, raw, &1, last + later))
    as_raw!(report, objective, raw, last + later)
  end

  # In hundredths of the window, the short one no longer than the long one.
  defp pairs(pairs, window) do
    for {long, short, rate} <- pairs do
      long = max(div(window * long, 100), 1)
      [rate: rate, long: long, short: max(div(long * short, 100), 1), severity: :page]
    end
  end

  # H1: nothing from before the window, everything within it less two hundredths.
  defp within_bounds!(history, raw, window, now) do
    {good, bad} = History.total(history, window, now)
    step = max(div(window + 99, 100), 1)
    {most_good, most_bad} = since(raw, now - window)
    {least_good, least_bad} = since(raw, now - window + 2 * step)
    true = good in least_good..most_good//1 and bad in least_bad..most_bad//1
  end

  defp since(raw, from),
    do: for({at, good, bad} <- raw, at > from, reduce: {0, 0}, do: ({all, worse} -> {all + good, worse + bad}))

  defp as_raw!(report, objective, raw, now) do
    {good, bad} = in_window(raw, objective.window, now)
    budget = (100 - objective.target) / 100
    true = {good, bad} == {report.good, report.bad}
    true = close?(report.budget.allowed, (good + bad) * budget)
    true = close?(report.budget.left, 1 - rate({good, bad}, budget))
    true = Enum.all?(report.burn_rates, &burning_as_raw?(&1, raw, budget, now))
    {good, bad} == {sum(report.history, :good), sum(report.history, :bad)}
  end

  defp burning_as_raw?(pair, raw, budget, now) do
    long = rate(in_window(raw, pair.long, now), budget)
    short = rate(in_window(raw, pair.short, now), budget)

    close?(long, pair.long_rate) and close?(short, pair.short_rate) and
      pair.burning == (pair.long_rate > pair.rate and pair.short_rate > pair.rate)
  end

  defp rate({_good, 0}, _budget), do: 0.0
  defp rate({good, bad}, budget), do: bad / (good + bad) / budget

  # The window's last whole steps, the one now included.
  defp in_window(raw, window, now) do
    step = max(div(window + 99, 100), 1)
    from = (div(now, step) - div(window, step) + 1) * step
    since(raw, from - 1)
  end

  defp sum(buckets, key), do: buckets |> Enum.map(& &1[key]) |> Enum.sum()
  defp close?(one, other), do: abs(one - other) <= 1.0e-6 * max(abs(one), 1)
end

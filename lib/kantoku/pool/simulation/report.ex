defmodule Kantoku.Pool.Simulation.Report do
  # A simulated pool as a table for people. Knows only rows and totals.
  @moduledoc false

  alias Kantoku.Pool.Forecast.Backtest
  alias Kantoku.Pool.Simulation
  alias Kantoku.Pool.Simulation.Picture

  @columns [
    {"time", &__MODULE__.time/1},
    {"load", &__MODULE__.load/1},
    {"size", &__MODULE__.size/1},
    {"wanted", &__MODULE__.wanted/1},
    {"arrivals", &__MODULE__.arrivals/1},
    {"wait p50", &__MODULE__.p50/1},
    {"wait p99", &__MODULE__.p99/1},
    {"rejected", &__MODULE__.rejected/1},
    {"expired", &__MODULE__.expired/1}
  ]

  @doc "A line for each row, and what it comes to."
  @spec text(Simulation.t()) :: String.t()
  def text(%Simulation{rows: [%{at: first} | _]} = result) do
    body = for row <- result.rows, do: for({_, show} <- @columns, do: show.(%{row | at: row.at - first}))
    table = [Enum.map(@columns, &elem(&1, 0)) | body]

    widths =
      table |> Enum.zip_with(& &1) |> Enum.map(fn column -> column |> Enum.map(&String.length/1) |> Enum.max() end)

    Enum.map_join(table, "\n", &line(&1, widths)) <> "\n\n" <> totals(result.totals) <> forecast(result.forecast)
  end

  def time(row), do: Picture.clock(row.at)
  def load(row), do: decimal(row.load)
  def size(row), do: "#{row.size}"
  def wanted(row), do: "#{row.wanted}"
  def arrivals(row), do: "#{row.arrivals}"
  def p50(row), do: wait(row.wait_p50)
  def p99(row), do: wait(row.wait_p99)
  def rejected(row), do: "#{row.rejected}"
  def expired(row), do: "#{row.expired}"

  defp line(cells, widths), do: Enum.zip_with(cells, widths, &String.pad_leading/2) |> Enum.join("  ")

  defp totals(totals) do
    """
    #{totals.arrivals} arrivals: #{totals.served} served, #{totals.rejected} rejected, #{totals.expired} expired
    wait: p50 #{wait(totals.wait_p50)}, p99 #{wait(totals.wait_p99)}, max #{wait(totals.wait_max)}
    size: #{totals.moves} moves, #{totals.direction_changes} direction changes, #{round(totals.worker_seconds)} worker-seconds
    """
  end

  defp forecast(nil), do: ""
  defp forecast(%{backtest: backtest}), do: "forecast: #{Backtest.explain(backtest)}\n"

  defp wait(nil), do: "-"
  defp wait(ms), do: "#{round(ms)} ms"

  defp decimal(number), do: :erlang.float_to_binary(number * 1.0, decimals: 1)
end

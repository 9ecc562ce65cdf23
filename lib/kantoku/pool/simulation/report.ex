defmodule Kantoku.Pool.Simulation.Report do
  # A simulated pool as a table for people. Knows only rows and totals.
  @moduledoc false

  alias Kantoku.Pool.Forecast.Backtest
  alias Kantoku.Pool.Simulation
  alias Kantoku.Picture

  @columns [
    time: "time",
    load: "load",
    size: "size",
    wanted: "wanted",
    arrivals: "arrivals",
    wait_p50: "wait p50",
    wait_p99: "wait p99",
    rejected: "rejected",
    expired: "expired"
  ]

  @doc "A line for each row, and what it comes to."
  @spec text(Simulation.t()) :: String.t()
  def text(%Simulation{rows: [%{at: first} | _]} = result) do
    body =
      for row <- result.rows, do: for({column, _} <- @columns, do: cell(column, Map.put(row, :time, row.at - first)))

    table = [Keyword.values(@columns) | body]

    widths =
      table |> Enum.zip_with(& &1) |> Enum.map(fn column -> column |> Enum.map(&String.length/1) |> Enum.max() end)

    Enum.map_join(table, "\n", &line(&1, widths)) <> "\n\n" <> totals(result.totals) <> forecast(result.forecast)
  end

  defp cell(:time, row), do: Picture.clock(row.time)
  defp cell(:load, row), do: decimal(row.load)
  defp cell(wait, row) when wait in [:wait_p50, :wait_p99], do: wait(row[wait])
  defp cell(count, row), do: Integer.to_string(row[count])

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

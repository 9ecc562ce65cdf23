defmodule Kantoku.Pool.Simulation.Tally do
  # Adds up a simulated pool: a row for each stretch of time, and the whole. Knows neither scaler nor workers.
  @moduledoc false

  alias Kantoku.Pool.Scaler.Decision

  @enforce_keys [:width, :from]
  defstruct [:width, :from, :row, rows: [], moves: [], turns: 0, worker_ms: 0]

  @type t :: %__MODULE__{}

  @spec new(pos_integer, number) :: t
  def new(width, from), do: %__MODULE__{width: width, from: from, row: row(from)}

  @doc "Adds a tick that ended at `now`: what arrived and what ended in it, and the decision at its end."
  @spec tick(t, map) :: t
  def tick(tally, %{now: now} = seen) do
    tally = tally |> add(seen) |> moved(seen.decision)
    if now >= tally.row.at + tally.width, do: close(tally, now), else: tally
  end

  @doc "The rows, oldest first, and the totals."
  @spec result(t, number) :: {[map], map}
  def result(tally, now) do
    tally = if tally.row.ticks > 0, do: close(tally, now), else: tally
    rows = Enum.reverse(tally.rows)
    {Enum.map(rows, &Map.delete(&1, :waits)), totals(tally, rows)}
  end

  defp row(at) do
    %{
      at: at,
      arrivals: 0,
      service: 0,
      waits: [],
      rejected: 0,
      expired: 0,
      ticks: 0,
      size: 0,
      ready: 0,
      wanted: 0,
      needs: nil
    }
  end

  defp add(%{row: row} = tally, seen) do
    row = Enum.reduce(seen.ends, row, &ending/2)

    row = %{
      row
      | arrivals: row.arrivals + length(seen.arrivals),
        service: Enum.reduce(seen.arrivals, row.service, fn {_, service}, sum -> sum + service end),
        ticks: row.ticks + 1,
        size: seen.decision.size,
        ready: seen.decision.observation.ready,
        wanted: max(row.wanted, seen.decision.wanted),
        needs: seen.decision.needs
    }

    %{tally | row: row, worker_ms: tally.worker_ms + seen.decision.size * seen.span}
  end

  defp ending({_at, {:served, wait}}, row), do: %{row | waits: [wait | row.waits]}
  defp ending({_at, :rejected}, row), do: %{row | rejected: row.rejected + 1}
  defp ending({_at, :expired}, row), do: %{row | expired: row.expired + 1}

  defp moved(tally, decision) do
    case {Decision.move(decision), tally.moves} do
      {:none, _} -> tally
      {move, [{_, move, _} | _]} -> note(tally, move, decision, 0)
      {move, []} -> note(tally, move, decision, 0)
      {move, _other_way} -> note(tally, move, decision, 1)
    end
  end

  defp note(tally, move, decision, turns),
    do: %{tally | moves: [{decision.at, move, decision} | tally.moves], turns: tally.turns + turns}

  defp close(tally, now) do
    row = tally.row
    sorted = Enum.sort(row.waits)

    closed =
      row
      |> Map.drop([:service, :ticks])
      |> Map.merge(%{
        until: now,
        waits: sorted,
        load: row.service / max(1, now - row.at),
        wait_p50: percentile(sorted, 50),
        wait_p99: percentile(sorted, 99)
      })

    %{tally | rows: [closed | tally.rows], row: row(now)}
  end

  defp totals(tally, rows) do
    waits = rows |> Enum.flat_map(& &1.waits) |> Enum.sort()

    %{
      arrivals: sum(rows, :arrivals),
      served: length(waits),
      rejected: sum(rows, :rejected),
      expired: sum(rows, :expired),
      wait_p50: percentile(waits, 50),
      wait_p99: percentile(waits, 99),
      wait_max: List.last(waits),
      moves: length(tally.moves),
      direction_changes: tally.turns,
      worker_seconds: tally.worker_ms / 1_000
    }
  end

  defp sum(rows, key), do: Enum.reduce(rows, 0, &(&1[key] + &2))

  # The least value that so many percent do not exceed; nil of none.
  defp percentile([], _percent), do: nil

  defp percentile(sorted, percent) do
    count = length(sorted)
    Enum.at(sorted, max(0, div(count * percent + 99, 100) - 1))
  end
end

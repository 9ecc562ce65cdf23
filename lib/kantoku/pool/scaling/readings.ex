defmodule Kantoku.Pool.Scaling.Readings do
  # What a scaler is told of a pool: metrics, from the engine's counts now and at the tick before. Asks nobody, knows no policy.
  @moduledoc false

  # The counts of the tick before, and how long its requests waited, in ms.
  defstruct at: nil, arrived: 0, served: 0, waited: 0

  @type t :: %__MODULE__{
          at: nil | integer,
          arrived: non_neg_integer,
          served: non_neg_integer,
          waited: number
        }
  @type counts :: %{atom => non_neg_integer}
  @type metrics :: %{atom => number | nil}

  @doc "The metrics that follow from counts at `now` (ms)."
  @spec of(t, counts, max_ongoing :: pos_integer, now :: integer) :: {metrics, t}
  def of(before, counts, max_ongoing, now) do
    elapsed = if before.at, do: max(now - before.at, 1)
    waited = waited(before, counts, elapsed || 0)

    metrics = %{
      ongoing: counts.ongoing + counts.queue,
      utilization: utilization(counts, counts.ready * max_ongoing),
      queue_wait: waited,
      arrival_rate: elapsed && since(before.arrived, counts.arrived) * 1_000 / elapsed,
      service_time: if(counts.hold > 0, do: counts.hold / 1_000)
    }

    {metrics, %__MODULE__{at: now, arrived: counts.arrived, served: counts.served, waited: waited}}
  end

  # The engine began to count anew.
  defp since(before, now) when now < before, do: now
  defp since(before, now), do: now - before

  defp utilization(_counts, 0), do: nil
  defp utilization(%{free: free}, permits), do: max(permits - free, 0) / permits

  # The engine's mean moves only when somebody is served. When nobody is, who waits has waited as much longer.
  defp waited(%{served: served}, %{served: served, queue: 0}, _elapsed), do: 0
  defp waited(%{served: served, waited: waited}, %{served: served}, elapsed), do: waited + elapsed
  defp waited(_before, %{wait: wait}, _elapsed), do: wait / 1_000
end

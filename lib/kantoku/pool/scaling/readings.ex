defmodule Kantoku.Pool.Scaling.Readings do
  # What a scaler is told of a pool: metrics, from the engine's counts now and at the tick before. Asks nobody, knows no policy.
  @moduledoc false

  # So long, in ms, quotas are seen to hold work back after they refused any; and all work to be under quotas of tenants when none came
  # that is not.
  @refused 1_000
  @unlimited 10_000

  # The counts of the tick before, and how long its requests waited, in ms; when quotas refused something last, and when something came
  # last under no tenant's quota.
  defstruct at: nil,
            arrived: 0,
            served: 0,
            waited: 0,
            over_quota: 0,
            refused_at: nil,
            unlimited: 0,
            unlimited_at: nil

  @type t :: %__MODULE__{
          at: nil | integer,
          arrived: non_neg_integer,
          served: non_neg_integer,
          waited: number,
          over_quota: non_neg_integer,
          refused_at: nil | integer,
          unlimited: non_neg_integer,
          unlimited_at: nil | integer
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

    {metrics,
     %__MODULE__{at: now, arrived: counts.arrived, served: counts.served, waited: waited} |> quotas(before, counts)}
  end

  defp quotas(readings, before, counts) do
    {over_quota, unlimited} = {Map.get(counts, :over_quota, 0), Map.get(counts, :unlimited, 0)}
    refused? = before.at != nil and over_quota > before.over_quota
    # What has waited since then keeps it so.
    unlimited? = unlimited > before.unlimited or (counts.queue > 0 and unlimited_lately?(before))

    %{
      readings
      | over_quota: over_quota,
        refused_at: if(refused?, do: readings.at, else: before.refused_at),
        unlimited: unlimited,
        unlimited_at: if(unlimited?, do: readings.at, else: before.unlimited_at)
    }
  end

  defp unlimited_lately?(%{at: at, unlimited_at: last}), do: last != nil and at - last < @unlimited

  @doc "Whether quotas refuse what comes, nobody waits, and nothing comes that is under no quota of its tenant."
  @spec held_by_quota?(t, counts) :: boolean
  def held_by_quota?(%{at: at, refused_at: refused} = readings, %{queue: queue}),
    do: queue == 0 and refused != nil and at - refused < @refused and not unlimited_lately?(readings)

  @doc "Requests a minute that the quotas of tenants let through, where nothing else comes: one or none."
  @spec of_tenants(t, counts) :: [pos_integer]
  def of_tenants(readings, counts) do
    let_through = Map.get(counts, :let_through, 0)
    if let_through > 0 and not unlimited_lately?(readings), do: [let_through], else: []
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

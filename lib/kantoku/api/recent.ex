defmodule Kantoku.Api.Recent do
  # What was counted of late: the difference between an instance's metrics now and when they were last asked for, up to a minute ago. So who
  # asks once in a while sees what goes on, and nothing runs where nobody asks. Knows no request.
  #
  # Row: {instance, readings}, newest first, five seconds apart at least.
  @moduledoc false

  alias Kantoku.{Instances, Metrics}

  @table __MODULE__
  @apart 5_000
  @longest 60_000

  @typedoc "Counts by upper bounds, in seconds."
  @type spread :: %{float => number}

  @typedoc "By the pool's name as text."
  @type reading :: %{
          at: integer,
          restarts: number,
          ended: %{String.t() => number},
          spreads: %{String.t() => spread},
          utilization: %{String.t() => number}
        }

  @typedoc "`seconds`: since when, `nil` where there is nothing to compare with; then nothing is said to be of late."
  @type t :: %{
          seconds: float | nil,
          restarts: %{total: number, recent: number | nil},
          ended: %{String.t() => number},
          spreads: %{String.t() => spread},
          utilization: %{String.t() => number}
        }

  @doc "Makes the table, which lives as long as the calling process."
  @spec new_table() :: :ok
  def new_table do
    :ets.new(@table, [:named_table, :public])
    :ok
  end

  @doc "What an instance did of late."
  @spec of(atom) :: t
  def of(instance) do
    now = read(instance)
    readings = kept(instance, now)
    since(now, List.last(readings))
  end

  # What two write at once is as good as what either writes.
  defp kept(instance, %{at: at, restarts: restarts} = now) do
    before = for [{_instance, readings}] <- [:ets.lookup(@table, instance)], reading <- readings, do: reading
    # An instance that was started anew has counted less.
    before = Enum.filter(before, &(at - &1.at <= @longest and &1.restarts <= restarts))

    unless match?([%{at: last} | _] when at - last < @apart, before) do
      :ets.insert(@table, {instance, [now | before]})
      forget_ended()
    end

    before
  end

  defp forget_ended do
    ended = :ets.select(@table, [{{:"$1", :_}, [], [:"$1"]}]) -- Instances.names()
    for instance <- ended, do: :ets.delete(@table, instance)
  end

  # What was counted since the beginning says nothing of now.
  defp since(now, nil),
    do: %{
      seconds: nil,
      restarts: %{total: now.restarts, recent: nil},
      ended: %{},
      spreads: %{},
      utilization: now.utilization
    }

  defp since(now, before) do
    %{
      seconds: max(now.at - before.at, 1) / 1_000,
      restarts: %{total: now.restarts, recent: now.restarts - before.restarts},
      ended: less(now.ended, before.ended),
      spreads: Map.new(now.spreads, fn {pool, spread} -> {pool, less(spread, Map.get(before.spreads, pool, %{}))} end),
      utilization: now.utilization
    }
  end

  defp less(counts, before),
    do: Map.new(counts, fn {name, count} -> {name, max(count - Map.get(before, name, 0), 0)} end)

  # Reading ------------------------------------------------------------------------------------------------------------------

  defp read(instance) do
    families =
      case Metrics.snapshot(instance) do
        {:ok, families} -> Map.new(families, &{&1.name, &1.series})
        {:error, _metrics_are_about_to_be_there} -> %{}
      end

    %{
      at: System.monotonic_time(:millisecond),
      restarts: families |> series("kantoku_agent_restarts") |> Enum.map(&trunc(&1.value)) |> Enum.sum(),
      ended: by_pool(families, "kantoku_pool_requests", &Enum.sum/1),
      spreads: by_pool(families, "kantoku_pool_request_duration_seconds", &spread/1),
      utilization: by_pool(families, "kantoku_pool_utilization_ratio", &hd/1)
    }
  end

  defp series(families, name), do: Map.get(families, name, [])

  defp by_pool(families, name, fun) do
    families
    |> series(name)
    |> Enum.group_by(& &1.labels["pool"], & &1.value)
    |> Map.new(fn {pool, values} -> {pool, fun.(values)} end)
  end

  defp spread(values) do
    for %{buckets: buckets} <- values, {upper, count} <- buckets, count > 0, reduce: %{} do
      spread -> Map.update(spread, upper, count, &(&1 + count))
    end
  end

  # Quantiles ----------------------------------------------------------------------------------------------------------------

  @doc "All pools' spreads as one."
  @spec merged(%{String.t() => spread}) :: spread
  def merged(spreads),
    do: spreads |> Map.values() |> Enum.reduce(%{}, &Map.merge(&1, &2, fn _upper, one, other -> one + other end))

  @doc "What so many of all are not above (0 to 1), in seconds; `nil` of none. One of a share is the bucket's upper bound."
  @spec quantile(spread, float) :: float | nil
  def quantile(spread, share) do
    ordered = for {_upper, count} = bucket <- Enum.sort(spread), count > 0, do: bucket
    total = ordered |> Enum.map(&elem(&1, 1)) |> Enum.sum()
    reached(ordered, share * total, nil)
  end

  defp reached([], _rank, last), do: last
  defp reached([{upper, count} | _rest], rank, _last) when count >= rank, do: upper
  defp reached([{upper, count} | rest], rank, _last), do: reached(rest, rank - count, upper)
end

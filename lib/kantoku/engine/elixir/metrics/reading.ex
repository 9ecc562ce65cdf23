defmodule Kantoku.Engine.Elixir.Metrics.Reading do
  # What is read when somebody looks, of pools, breakers and spans of the Elixir engine. It has no native bytes but those of spans that are exported.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.Measures
  alias Kantoku.Engine.Elixir.{Breakers, Pools}
  alias Kantoku.Engine.Traces
  alias Kantoku.Native

  @gauges [:ejected, :leaving, :not_ready, :ongoing, :queue, :ready]
  @counters [:arrived, :cancelled, :drained, :dropped, :expired, :failed, :given_up, :lost, :over_quota] ++
              [:returned, :succeeded]

  @typep value :: float | Kantoku.Engine.Metrics.spread() | nil

  @doc "How to read any of these, each pool of which is asked once."
  @spec look([Kantoku.Engine.Metrics.reading()]) :: (Kantoku.Engine.Metrics.reading() -> value)
  def look(readings) do
    pools = for {:pool, instance, pool, _figure} <- readings, uniq: true, do: {instance, pool}

    said =
      Map.new(pools, fn {instance, pool} = of ->
        {of, {ask(instance, pool, :status), ask(instance, pool, :measures)}}
      end)

    &read(&1, said)
  end

  defp ask(instance, pool, what), do: with(:unknown <- Pools.ask(instance, pool, what), do: nil)

  defp read({:bytes, instance, :traces}, _said) do
    case Native.trace_counts(instance) do
      %{bytes: bytes} -> bytes * 1.0
      :unknown -> nil
    end
  end

  defp read({:bytes, _instance, _owner}, _said), do: nil

  defp read({:spans, instance, outcome}, _said) do
    case Traces.trace_counts(instance) do
      %{^outcome => count} -> count * 1.0
      :unknown -> nil
    end
  end

  defp read({:breaker, instance, name, figure}, _said) do
    case Breakers.totals(instance, name) do
      {_state, %{^figure => count}} -> count * 1.0
      {state, _totals} -> if state == figure, do: 1.0, else: 0.0
      :unknown -> nil
    end
  end

  defp read({:pool, instance, pool, figure}, said) do
    {status, measures} = Map.fetch!(said, {instance, pool})

    if figure in [:requests, :waits],
      do: measures && Measures.spread(measures, figure),
      else: status && counted(status, figure)
  end

  defp counted(status, figure) when figure in @gauges or figure in @counters, do: Map.fetch!(status, figure) * 1.0

  defp counted(status, :queue_full),
    do: (status.refused - status.over_quota - status.dropped - status.drained) * 1.0

  defp counted(status, :utilization), do: status.ongoing / max(status.ongoing + status.free, 1)
end

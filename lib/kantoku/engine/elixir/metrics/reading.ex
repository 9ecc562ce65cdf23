defmodule Kantoku.Engine.Elixir.Metrics.Reading do
  # What is read when somebody looks, of pools, breakers and spans of the Elixir engine. It has no native bytes.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.Measures
  alias Kantoku.Engine.Elixir.{Breakers, Pools, Traces}

  @gauges [:ejected, :leaving, :not_ready, :ongoing, :queue, :ready]
  @counters [:arrived, :cancelled, :drained, :dropped, :expired, :failed, :given_up, :lost, :over_quota] ++
              [:returned, :succeeded]

  @spec read(Kantoku.Engine.Metrics.reading()) :: float | Kantoku.Engine.Metrics.spread() | nil
  def read({:bytes, _instance, _owner}), do: nil

  def read({:spans, instance, outcome}) do
    case Traces.counts(instance) do
      %{^outcome => count} -> count * 1.0
      :unknown -> nil
    end
  end

  def read({:breaker, instance, name, figure}) do
    case Breakers.totals(instance, name) do
      {_state, %{^figure => count}} -> count * 1.0
      {state, _totals} -> if state == figure, do: 1.0, else: 0.0
      :unknown -> nil
    end
  end

  def read({:pool, instance, pool, figure}) when figure in [:requests, :waits] do
    case Pools.ask(instance, pool, :measures) do
      %Measures{} = measures -> Measures.spread(measures, figure)
      :unknown -> nil
    end
  end

  def read({:pool, instance, pool, figure}) do
    case Pools.ask(instance, pool, :status) do
      %{} = status -> counted(status, figure)
      :unknown -> nil
    end
  end

  defp counted(status, figure) when figure in @gauges or figure in @counters, do: Map.fetch!(status, figure) * 1.0

  defp counted(status, :queue_full),
    do: (status.refused - status.over_quota - status.dropped - status.drained) * 1.0

  defp counted(status, :utilization), do: status.ongoing / max(status.ongoing + status.free, 1)
end

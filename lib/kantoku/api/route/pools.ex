defmodule Kantoku.Api.Route.Pools do
  # The pools of an instance: how large they are against what is asked of them, and why.
  @moduledoc false
  @behaviour Kantoku.Api.Route

  alias Kantoku.Api.{Decided, Recent, Shown}
  alias Kantoku.{Engine, Pool}
  alias Kantoku.Pool.{Notes, Worker}

  @most_workers 200
  @most_decisions 50

  @impl true
  def answer(instance, _params) do
    with {:ok, pools} <- all(instance, Recent.of(instance)),
         {:ok, names} <- Pool.names(instance) do
      known = Map.new(names, &{Shown.text(&1), &1})
      {:ok, %{pools: for(pool <- pools, name = known[pool.name], do: detailed(pool, instance, name))}}
    end
  end

  @doc "All pools at a glance."
  @spec all(atom, Recent.t()) :: {:ok, [map]} | {:error, Kantoku.Error.t()}
  def all(instance, recent) do
    with {:ok, names} <- Pool.names(instance),
         do:
           {:ok, for(name <- names, {:ok, status} <- [Pool.status({instance, name})], do: brief(name, status, recent))}
  end

  defp brief(name, status, recent) do
    text = Shown.text(name)

    %{
      name: text,
      size: status.workers,
      target: target(status),
      min: status.min,
      max: status.max,
      busy: status.ongoing,
      ready: status.ready,
      waiting: status.queue,
      utilization: Map.get(recent.utilization, text),
      state: state(status),
      p99: recent.spreads |> Map.get(text, %{}) |> Recent.quantile(0.99)
    }
  end

  # Nobody has looked at it yet.
  defp target(%{wanted: 0, target: target}), do: target
  defp target(%{wanted: wanted}), do: wanted

  defp state(%{draining: true}), do: :draining
  defp state(%{degraded: true}), do: :degraded
  defp state(%{missing: missing, leaving: leaving}) when missing > 0 or leaving > 0, do: :scaling
  defp state(_status), do: :ready

  defp detailed(pool, instance, name) do
    Map.merge(pool, %{
      strategy: strategy(instance, name),
      engine: Engine.kind(instance),
      workers: workers(instance, name),
      decisions: decisions(instance, name)
    })
  end

  defp strategy(instance, name) do
    case Kantoku.Instances.reading(instance, fn _rows, book -> Notes.config(book, name) end) do
      %{strategy: strategy} -> Shown.text(strategy)
      _gone -> nil
    end
  end

  # Those in the pool, which its engine knows; who else is to come back is among the agents.
  defp workers(instance, name) do
    case Engine.Pools.pool_workers(instance, name) do
      :unknown -> []
      workers -> workers |> Enum.sort_by(&elem(&1, 1)) |> Enum.take(@most_workers) |> Enum.map(&worker(&1, name))
    end
  end

  defp worker({_pid, member, state, ongoing, _latency, served}, name) do
    id = Worker.id(name, member)
    %{key: Shown.key(id), id: Shown.text(id), busy: ongoing, served: served, ejected: state == :ejected}
  end

  defp decisions(instance, name) do
    case Pool.explain({instance, name}) do
      {:ok, %{decisions: decisions}} -> decisions |> Enum.take(@most_decisions) |> Enum.map(&decision/1)
      {:error, _gone} -> []
    end
  end

  defp decision(%{at: at, size: from, wanted: to} = decision),
    do: %{at: Shown.seconds(at), from: from, to: to, reasons: Decided.words(decision)}
end

defmodule Kantoku.Api.Route.Pools do
  # The pools of an instance: how large they are against what is asked of them, and why; and one of them with its workers and decisions. Those
  # come first about which something is to be done.
  @moduledoc false
  @behaviour Kantoku.Api.Route

  alias Kantoku.Api.{Decided, Params, Recent, Shown}
  alias Kantoku.{Engine, Error, Pool}
  alias Kantoku.Pool.{Notes, Worker}

  @most_workers 200
  @most_decisions 50

  # The first are those about which something is to be done.
  @states [:degraded, :scaling, :draining, :ready]
  @order @states |> Enum.with_index() |> Map.new()

  @impl true
  def answer(instance, params) do
    with {:ok, name} <- Params.text(params, "name"),
         {:ok, limit} <- Params.integer(params, "limit", 200, 1..1_000),
         {:ok, names} <- Pool.names(instance) do
      recent = Recent.of(instance)
      names = Enum.filter(names, &(name == nil or Shown.text(&1) == name))
      answer(instance, all(instance, names, recent), name, limit)
    end
  end

  defp answer(instance, pools, nil, limit) do
    shown = for {name, pool} <- Enum.take(pools, limit), do: strategic(pool, instance, name)
    {:ok, %{pools: shown, total: length(pools), states: states(pools)}}
  end

  # More than one pool may have the same text.
  defp answer(instance, [{_name, _pool} | _] = pools, _name_given, limit) do
    shown =
      for {name, pool} <- Enum.take(pools, limit), do: pool |> strategic(instance, name) |> detailed(instance, name)

    {:ok, %{pools: shown, total: length(pools), states: states(pools)}}
  end

  defp answer(instance, [], name, _limit), do: {:error, Error.new(:not_found, pool: {instance, name})}

  @doc "All pools at a glance, the worst first, with their names."
  @spec all(atom, Recent.t()) :: {:ok, [{term, map}]} | {:error, Error.t()}
  def all(instance, recent) do
    with {:ok, names} <- Pool.names(instance), do: {:ok, all(instance, names, recent)}
  end

  defp all(instance, names, recent) do
    pools = for name <- names, {:ok, status} <- [Pool.status({instance, name})], do: {name, brief(name, status, recent)}
    Enum.sort_by(pools, fn {_name, pool} -> {Map.fetch!(@order, pool.state), -pool.waiting, pool.name} end)
  end

  @doc "How many are in which state."
  @spec states([{term, map}]) :: %{atom => non_neg_integer}
  def states(pools) do
    found = Enum.frequencies_by(pools, fn {_name, pool} -> pool.state end)
    Map.new(@states, &{&1, Map.get(found, &1, 0)})
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
      missing: status.missing,
      reason: if(status.reason != nil, do: Shown.reason(status.reason)),
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

  defp strategic(pool, instance, name),
    do: Map.merge(pool, %{strategy: strategy(instance, name), engine: Engine.kind(instance)})

  defp detailed(pool, instance, name) do
    workers = workers(instance, name)
    shown = workers |> Enum.sort_by(&elem(&1, 1)) |> Enum.take(@most_workers)

    Map.merge(pool, %{
      workers: Enum.map(shown, &worker(&1, name)),
      workers_total: length(workers),
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
      workers -> workers
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

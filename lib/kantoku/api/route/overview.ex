defmodule Kantoku.Api.Route.Overview do
  # An instance at a glance.
  @moduledoc false
  @behaviour Kantoku.Api.Route

  alias Kantoku.Api.{Recent, Route, Shown}
  alias Kantoku.{Alert, Health, Resources}

  # Of domains, pools and objectives, the worst first.
  @most 100

  @impl true
  def answer(instance, _params) do
    recent = Recent.of(instance)

    with {:ok, pools} <- Route.Pools.all(instance, recent), {:ok, domains} <- Route.Domains.all(instance) do
      objectives = Route.Objectives.brief(instance)

      {:ok,
       %{
         at: Shown.now(),
         seconds: recent.seconds,
         instance: Shown.text(instance),
         throughput: %{per_second: per_second(recent)},
         latency: latency(Recent.merged(recent.spreads)),
         queue: %{waiting: pools |> Enum.map(fn {_name, pool} -> pool.waiting end) |> Enum.sum()},
         restarts: %{total: recent.restarts.total, last_minute: recent.restarts.recent},
         domains: Enum.take(domains, @most),
         domains_total: length(domains),
         domain_states: Route.Domains.states(domains),
         pools: for({_name, pool} <- Enum.take(pools, @most), do: pool),
         pools_total: length(pools),
         pool_states: Route.Pools.states(pools),
         breakers: Route.Breakers.counts(instance),
         objectives: Enum.take(objectives, @most),
         objectives_total: length(objectives),
         alerts: firing(instance),
         at_risk: at_risk(instance),
         stuck: domains |> Enum.map(& &1.stuck) |> Enum.sum(),
         vm: vm()
       }}
    end
  end

  defp per_second(%{seconds: nil}), do: nil
  defp per_second(%{seconds: seconds, ended: ended}), do: (ended |> Map.values() |> Enum.sum()) / seconds

  defp latency(spread),
    do: for({name, share} <- [p50: 0.5, p95: 0.95, p99: 0.99], into: %{}, do: {name, Recent.quantile(spread, share)})

  defp firing(instance) do
    case Alert.list(instance) do
      {:ok, alerts} -> Enum.count(alerts, &(&1.state == :firing))
      {:error, _off} -> 0
    end
  end

  defp at_risk(instance) do
    case Health.status(instance) do
      {:ok, %{at_risk: count}} -> count
      {:error, _off} -> 0
    end
  end

  defp vm do
    vm = Resources.vm()

    %{
      memory: vm.memory.total,
      processes: vm.processes.count,
      run_queue: Enum.sum(vm.schedulers.run_queues),
      schedulers: Map.take(vm.schedulers, [:online, :utilization, :run_queues])
    }
  end
end

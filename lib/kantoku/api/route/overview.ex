defmodule Kantoku.Api.Route.Overview do
  # An instance at a glance.
  @moduledoc false
  @behaviour Kantoku.Api.Route

  alias Kantoku.Api.{Recent, Route, Shown}
  alias Kantoku.Domain.{Book, Gauges, Rows}
  alias Kantoku.{Alert, Health, Instances, Resources}

  @impl true
  def answer(instance, _params) do
    recent = Recent.of(instance)

    with {:ok, domains} <- domains(instance), {:ok, pools} <- Route.Pools.all(instance, recent) do
      {:ok,
       %{
         at: Shown.now(),
         seconds: recent.seconds,
         instance: Shown.text(instance),
         throughput: %{per_second: per_second(recent)},
         latency: latency(Recent.merged(recent.spreads)),
         queue: %{waiting: pools |> Enum.map(& &1.waiting) |> Enum.sum()},
         restarts: %{total: recent.restarts.total, last_minute: recent.restarts.recent},
         domains: domains,
         pools: pools,
         breakers: Route.Breakers.counts(instance),
         objectives: Route.Objectives.brief(instance),
         alerts: firing(instance),
         at_risk: at_risk(instance),
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

  # Domains ------------------------------------------------------------------------------------------------------------------

  defp domains(instance) do
    Instances.reading(instance, fn rows, book ->
      parked = Rows.by_domain(rows, :parked)
      {:ok, for(name <- Book.domains(book), do: domain(instance, book, name, Map.get(parked, name, 0)))}
    end)
  end

  defp domain(instance, book, name, parked) do
    agents = book |> Book.chain(name) |> hd() |> Gauges.agents()

    %{
      name: Shown.text(name),
      parent: Shown.text_or_nil(Book.shape(book, name).parent),
      agents: agents,
      parked: parked,
      budget: budget(agents, Book.policy(book, name).limits.max_agents),
      health: health(instance, name)
    }
  end

  defp budget(_agents, :infinity), do: nil
  defp budget(agents, most), do: %{used: agents, limit: most}

  defp health(instance, name) do
    case Health.status(instance, {:domain, name}) do
      {:ok, %{state: state, members: members}} -> Map.put(members, :state, state)
      {:error, _off} -> nil
    end
  end
end

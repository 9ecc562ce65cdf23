defmodule Kantoku.Health.Families do
  # How domains and pools fare, as metrics. Judges nobody.
  @moduledoc false
  @behaviour Kantoku.Metrics.Standing

  alias Kantoku.Health
  alias Kantoku.Metrics.Standing

  @families [
    {:state, :gauge, "kantoku_health_state",
     [
       help:
         "1 for the state that a domain or a pool is in, else 0; without either, the instance. Of those that have no series (other), how many are."
     ]},
    {:members, :gauge, "kantoku_health_members",
     [help: "What belongs to a domain (its agents, and domains in it) or a pool (its workers), by state."]}
  ]

  @impl true
  def all, do: @families

  @impl true
  def figures(instance) do
    case Health.groups(instance) do
      {:ok, groups} -> of(groups)
      {:error, _not_running} -> %{}
    end
  end

  defp of(groups) do
    together = groups |> Enum.map(fn {of, _, _} = group -> {labels(of), group} end) |> Standing.capped(other())
    %{state: each(together, &in_state/2), members: together |> Enum.reject(&instance?/1) |> each(&members/2)}
  end

  defp labels(:instance), do: [domain: "", pool: ""]
  defp labels({:domain, name}), do: [domain: name, pool: ""]
  defp labels({:pool, name}), do: [domain: "", pool: name]

  defp other, do: [domain: "other", pool: "other"]

  defp instance?({labels, _groups}), do: labels == labels(:instance)

  defp each(together, count) do
    for {labels, groups} <- together,
        state <- Health.states(),
        do: {labels ++ [state: state], groups |> Enum.map(&count.(&1, state)) |> Enum.sum()}
  end

  defp in_state({_of, state, _members}, state), do: 1
  defp in_state(_group, _other_state), do: 0

  defp members({_of, _state, members}, state), do: Map.fetch!(members, state)
end

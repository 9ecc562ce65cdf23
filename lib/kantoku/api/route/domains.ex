defmodule Kantoku.Api.Route.Domains do
  # The domains of an instance as a part of its overview: trees of those that are nested, one after the other, and those first in which somebody is
  # worst off. Asks no process.
  @moduledoc false
  import Kantoku.Domain.Rows, only: [row: 1]

  alias Kantoku.Api.{Fates, Shown}
  alias Kantoku.Domain.{Book, Gauges, Rows}
  alias Kantoku.{Health, Instances}

  @states [:unhealthy, :degraded, :unknown, :starting, :healthy]
  @order @states |> Enum.with_index() |> Map.new()
  # Where nobody looks.
  @last length(@states)

  @doc "All of them, in that order."
  @spec all(atom) :: {:ok, [map]} | {:error, Kantoku.Error.t()}
  def all(instance) do
    Instances.reading(instance, fn rows, book ->
      counts = {Rows.by_domain(rows, :parked), stuck(instance, rows)}
      found = for name <- Book.domains(book), into: %{}, do: {name, domain(instance, book, name, counts)}
      {:ok, found |> Map.keys() |> Enum.group_by(&Book.shape(book, &1).parent) |> ordered(nil, found, 0)}
    end)
  end

  @doc "How many are in which state of health."
  @spec states([map]) :: %{atom => non_neg_integer}
  def states(domains) do
    found = Enum.frequencies_by(domains, &(&1.health && &1.health.state))
    Map.new(@states, &{&1, Map.get(found, &1, 0)})
  end

  defp stuck(instance, rows) do
    domains = for id <- Fates.stuck(instance), row(domain: domain) <- [Rows.get(rows, id)], do: domain
    Enum.frequencies(domains)
  end

  # A domain is followed by those in it.
  defp ordered(nested, parent, found, depth) do
    trees =
      for name <- Map.get(nested, parent, []),
          do: [Map.put(found[name], :depth, depth) | ordered(nested, name, found, depth + 1)]

    trees
    |> Enum.sort_by(fn [top | _] = tree -> {tree |> Enum.map(&rank/1) |> Enum.min(), top.name} end)
    |> Enum.concat()
  end

  defp rank(%{health: nil, parked: parked}), do: {@last, -parked}
  defp rank(%{health: %{state: state}, parked: parked}), do: {Map.fetch!(@order, state), -parked}

  defp domain(instance, book, name, {parked, stuck}) do
    agents = book |> Book.chain(name) |> hd() |> Gauges.agents()

    %{
      name: Shown.text(name),
      parent: Shown.text_or_nil(Book.shape(book, name).parent),
      agents: agents,
      parked: Map.get(parked, name, 0),
      stuck: Map.get(stuck, name, 0),
      budget: budget(agents, Book.policy(book, name).limits.max_agents)
    }
    |> Map.merge(health(instance, name))
  end

  defp budget(_agents, :infinity), do: nil
  defp budget(agents, most), do: %{used: agents, limit: most}

  defp health(instance, name) do
    case Health.status(instance, {:domain, name}) do
      {:ok, %{state: state, members: members, at_risk: at_risk}} ->
        %{health: Map.put(members, :state, state), at_risk: at_risk}

      {:error, _off} ->
        %{health: nil, at_risk: 0}
    end
  end
end

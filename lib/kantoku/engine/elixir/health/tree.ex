defmodule Kantoku.Engine.Elixir.Health.Tree do
  # Who belongs to whom, and how each fares: the rules of `Kantoku.Engine.Health` as functions of the tree and the time. Each answers
  # `{answer, changes, tree}`. Knows no process.
  @moduledoc false

  @order [:healthy, :degraded, :starting, :unknown, :unhealthy]
  @none Map.new(@order, &{&1, 0})

  defstruct nodes: %{}

  @type t :: %__MODULE__{nodes: map}

  @spec new() :: t
  def new, do: %__MODULE__{}

  @doc "Whether a group is there, or nobody is asked for."
  @spec group?(t, non_neg_integer | nil) :: boolean
  def group?(_tree, nil), do: true
  def group?(%{nodes: nodes}, handle), do: match?(%{^handle => %{body: {:group, _, _}}}, nodes)

  @spec add(t, non_neg_integer, non_neg_integer | nil, tuple, pid | nil, integer) :: {tuple, [tuple], t}
  def add(tree, handle, parent, spec, pid, now) do
    body = body(spec, [], now)
    node = %{parent: parent, body: body, state: state(body), since: now, pid: pid}
    tree = put(tree, handle, node)
    {changes, tree} = count(tree, parent, nil, node.state, now)
    {{:ok, handle}, changes, tree}
  end

  @spec change(t, non_neg_integer, tuple, integer) :: {atom, [tuple], t}
  def change(%{nodes: nodes} = tree, handle, spec, now) do
    case {nodes, spec} do
      {%{^handle => %{body: {:group, _rule, counts}} = node}, {:group, rule}} ->
        settled(put(tree, handle, %{node | body: {:group, rule, counts}}), handle, now)

      {%{^handle => %{body: {:agent, old}} = node}, {:agent, _new}} ->
        settled(put(tree, handle, %{node | body: body(spec, old, now)}), handle, now)

      _other ->
        {:none, [], tree}
    end
  end

  defp settled(tree, handle, now) do
    {changes, tree} = reconsider(tree, handle, now)
    {:ok, changes, tree}
  end

  @spec remove(t, non_neg_integer, integer) :: {atom, [tuple], t}
  def remove(%{nodes: nodes} = tree, handle, now) do
    case nodes do
      %{^handle => %{body: {:group, _rule, counts}}} when counts != @none -> {:busy, [], tree}
      %{^handle => node} -> removed(%{tree | nodes: Map.delete(nodes, handle)}, node, now)
      %{} -> {:none, [], tree}
    end
  end

  defp removed(tree, node, now) do
    {changes, tree} = count(tree, node.parent, node.state, nil, now)
    {:ok, changes, tree}
  end

  @spec report(t, non_neg_integer, non_neg_integer, atom, integer) :: {tuple | atom, [tuple], t}
  def report(%{nodes: nodes} = tree, handle, id, outcome, now) do
    with %{^handle => %{body: {:agent, probes}} = node} <- nodes,
         %{} = probe <- Enum.find(probes, &(&1.id == id)) do
      found = if counts?(probes, probe), do: found(probe, outcome, now), else: probe
      probes = Enum.map(probes, &if(&1.id == id, do: found, else: &1))
      {changes, tree} = tree |> put(handle, %{node | body: {:agent, probes}}) |> reconsider(handle, now)
      {{probe.verdict, found.verdict}, changes, tree}
    else
      _absent -> {:none, [], tree}
    end
  end

  @spec status(t, non_neg_integer, integer, term) :: tuple | :none
  def status(%{nodes: nodes}, handle, now, pulse) do
    case nodes do
      %{^handle => %{body: body} = node} -> {node.state, now - node.since, counts(body), probes(body, now), pulse}
      %{} -> :none
    end
  end

  defp counts({:group, _rule, counts}), do: Enum.map(@order, &counts[&1])
  defp counts({:agent, _probes}), do: Enum.map(@order, fn _ -> 0 end)

  defp probes({:group, _rule, _counts}, _now), do: []
  defp probes({:agent, probes}, now), do: for(probe <- probes, do: {probe.id, probe.verdict, now - probe.since})

  @doc "The process of an agent that is there."
  @spec agent(t, non_neg_integer) :: {:ok, pid | nil} | :none
  def agent(%{nodes: nodes}, handle) do
    case nodes do
      %{^handle => %{body: {:agent, _probes}, pid: pid}} -> {:ok, pid}
      %{} -> :none
    end
  end

  # Verdicts ---------------------------------------------------------------------------------------------------------------

  defp body({:group, rule}, _old, _now), do: {:group, rule, @none}

  defp body({:agent, probes}, old, now) do
    {:agent,
     for {id, kind, success, failure} <- probes do
       new = %{id: id, kind: kind, verdict: :pending, since: now, last: nil, run: 0}
       Map.merge(Enum.find(old, new, &(&1.id == id and &1.kind == kind)), %{success: success, failure: failure})
     end}
  end

  defp counts?(probes, probe), do: started?(probes) != (probe.kind == :startup)
  defp started?(probes), do: Enum.all?(probes, &(&1.kind != :startup or &1.verdict == :passing))

  defp found(probe, outcome, now) do
    run = if probe.last == outcome, do: probe.run + 1, else: 1
    verdict = verdict(probe, outcome, run)
    since = if verdict == probe.verdict, do: probe.since, else: now
    %{probe | last: outcome, run: run, verdict: verdict, since: since}
  end

  defp verdict(%{success: success}, :success, run) when run >= success, do: :passing
  defp verdict(%{failure: failure}, :failure, run) when run >= failure, do: :failing
  defp verdict(_probe, :unknown, _run), do: :unknown
  defp verdict(probe, _outcome, _run), do: probe.verdict

  # States -----------------------------------------------------------------------------------------------------------------

  defp state({:agent, probes}) do
    any? = fn kinds, verdict -> Enum.any?(probes, &(&1.kind in kinds and &1.verdict == verdict)) end

    cond do
      any?.([:startup], :failing) -> :unhealthy
      not started?(probes) -> :starting
      any?.([:liveness, :readiness], :failing) -> :unhealthy
      any?.([:readiness], :pending) -> :starting
      Enum.any?(probes, &(&1.verdict == :unknown)) -> :unknown
      any?.([:custom], :failing) -> :degraded
      true -> :healthy
    end
  end

  defp state({:group, :worst, counts}), do: @order |> Enum.reverse() |> Enum.find(:healthy, &(counts[&1] > 0))

  defp state({:group, percent, counts}) do
    total = counts |> Map.values() |> Enum.sum()
    serving = counts.healthy + counts.degraded
    enough? = &(&1 * 100 >= percent * total)

    cond do
      enough?.(serving) -> if counts.degraded + counts.unhealthy > 0, do: :degraded, else: :healthy
      not enough?.(serving + counts.starting + counts.unknown) -> :unhealthy
      counts.starting > 0 -> :starting
      true -> :unknown
    end
  end

  defp put(tree, handle, node), do: %{tree | nodes: Map.put(tree.nodes, handle, node)}

  defp count(tree, nil, _gone, _come, _now), do: {[], tree}
  defp count(tree, group, gone, come, now), do: tree |> tally(group, gone, come) |> reconsider(group, now)

  defp tally(%{nodes: nodes} = tree, group, gone, come) do
    %{body: {:group, rule, counts}} = node = Map.fetch!(nodes, group)
    counts = if gone, do: Map.update!(counts, gone, &(&1 - 1)), else: counts
    counts = if come, do: Map.update!(counts, come, &(&1 + 1)), else: counts
    put(tree, group, %{node | body: {:group, rule, counts}})
  end

  defp reconsider(%{nodes: nodes} = tree, handle, now) do
    %{state: from, parent: parent, body: body} = node = Map.fetch!(nodes, handle)
    to = state(body)

    if from == to,
      do: {[], tree},
      else: changed(put(tree, handle, %{node | state: to, since: now}), handle, parent, from, to, now)
  end

  defp changed(tree, handle, nil, from, to, _now), do: {[{handle, from, to}], tree}

  defp changed(tree, handle, parent, from, to, now) do
    {above, tree} = count(tree, parent, from, to, now)
    {[{handle, from, to} | above], tree}
  end
end

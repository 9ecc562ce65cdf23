defmodule Kantoku.Agent.Literals do
  # Terms that many agents hold alike, held once for all of them. Knows nothing of what they are.
  @moduledoc false

  # Terms in persistent storage are shared, not copied. They are never erased (that would cost a collection of every process), so there
  # is a bound to those of each kind; what comes later is held by each agent.
  @most 2_048
  @counters {__MODULE__, :counters}

  @doc "The same term, shared if it may be."
  @spec shared(:config | :ancestors, term) :: term when term: term
  def shared(kind, term) do
    case :persistent_term.get({__MODULE__, term}, nil) do
      nil -> share(term, kind, :counters.get(counters(), index(kind)))
      shared -> shared
    end
  end

  defp index(:config), do: 1
  defp index(:ancestors), do: 2

  defp share(term, _kind, count) when count >= @most, do: term

  defp share(term, kind, _count) do
    :counters.add(counters(), index(kind), 1)
    :persistent_term.put({__MODULE__, term}, term)
    :persistent_term.get({__MODULE__, term})
  end

  defp counters do
    with nil <- :persistent_term.get(@counters, nil) do
      :persistent_term.put(@counters, :counters.new(2, []))
      :persistent_term.get(@counters)
    end
  end
end

defmodule Kantoku.Resources.Ports do
  @moduledoc false
  # Whose ports carry how much. Goes over ports, of which there are few, and not over agents. Keeps nothing.

  import Kantoku.Domain.Rows

  alias Kantoku.Domain.Rows

  @typedoc "Bytes since each port was opened, and how many ports."
  @type io :: %{ports: non_neg_integer, input: non_neg_integer, output: non_neg_integer}

  @doc "By agent, and what is nobody's; `names` are those of a process."
  @spec by_agent(:ets.tid(), (pid -> [term])) :: %{agents: [%{id: term, io: io}], unattributed: io}
  def by_agent(rows, names) do
    by_owner = for {owner, io} <- ports(), reduce: %{}, do: (all -> Map.update(all, owner, io, &add(&1, io)))
    owned = for {owner, io} <- by_owner, do: {agent_of(owner, rows, names), io}
    {nobodys, agents} = Enum.split_with(owned, &match?({nil, _io}, &1))
    agents = for {{:agent, id}, io} <- agents, reduce: %{}, do: (all -> Map.update(all, id, io, &add(&1, io)))

    %{
      agents: for({id, io} <- agents, do: %{id: id, io: io}),
      unattributed: nobodys |> Enum.map(&elem(&1, 1)) |> Enum.reduce(none(), &add/2)
    }
  end

  @doc "Of a process and those that are linked to it, whoever else they are linked to."
  @spec of(pid, links :: [pid | port]) :: io
  def of(pid, links) do
    owners = MapSet.new([pid | Enum.filter(links, &is_pid/1)])
    for({owner, io} <- ports(), owner in owners, do: io) |> Enum.reduce(none(), &add/2)
  end

  defp ports do
    for port <- Port.list(), {owner, io} <- [read(port)], do: {owner, io}
  end

  # One that was closed meanwhile has no information.
  defp read(port) do
    with {:connected, owner} <- Port.info(port, :connected),
         {:input, input} <- Port.info(port, :input),
         {:output, output} <- Port.info(port, :output) do
      {owner, %{ports: 1, input: input, output: output}}
    else
      nil -> nil
    end
  end

  defp agent_of(owner, rows, names) do
    case agents([owner], rows, names) do
      [id] -> {:agent, id}
      [] -> owner |> linked() |> agents(rows, names) |> only()
      _several -> nil
    end
  end

  defp only([id]), do: {:agent, id}
  defp only(_none_or_several), do: nil

  defp linked(owner) do
    case Process.info(owner, :links) do
      {:links, links} -> Enum.filter(links, &(is_pid(&1) and node(&1) == node()))
      nil -> []
    end
  end

  defp agents(pids, rows, names),
    do: for(pid <- pids, id <- names.(pid), row(pid: ^pid) <- [Rows.get(rows, id)], do: id)

  defp none, do: %{ports: 0, input: 0, output: 0}
  defp add(one, other), do: Map.merge(one, other, fn _figure, left, right -> left + right end)
end

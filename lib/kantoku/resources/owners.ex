defmodule Kantoku.Resources.Owners do
  @moduledoc false
  # Whose a process is, for what it owns: an agent is its own; who is linked to one agent and no other is that agent's; all others are
  # nobody's. One rule for all who ask. Agents of instances that are not looked at are taken for none. Keeps nothing.
  import Kantoku.Domain.Rows, only: [row: 1]

  alias Kantoku.Domain.Rows
  alias Kantoku.{Engine, Instances}
  alias Kantoku.Resources.Board

  # As many are asked at a time, and so long nobody may answer before those that have not are given up, in ms.
  @asked 64
  @patience 100

  @typedoc "`rows` are those of the instance that is meant, and no later one of that name."
  @type agent :: {instance :: atom, rows :: :ets.tid(), id :: term, Kantoku.Domain.name(), pid}

  @doc "The instances whose agents are looked at."
  @spec instances() :: [atom]
  def instances do
    for name <- Instances.names(), Instances.reading(name, fn _rows, book -> Board.wanted?(book) end) == true, do: name
  end

  @doc """
  Whose these processes are. Who is no agent is asked for its links, which it answers when it comes to it: who has not in time, or is
  dead, is left out.
  """
  @spec of([pid], [instance :: atom]) :: %{pid => agent | nil}
  def of(pids, instances) do
    {own, others} = pids |> Enum.map(&{&1, agents([&1], instances)}) |> Enum.split_with(fn {_pid, is} -> is != [] end)
    linked = for {pid, links} <- gather(Enum.map(others, &elem(&1, 0)), %{}, []), do: {pid, agents(links, instances)}
    Map.new(own ++ linked, fn {pid, agents} -> {pid, only(agents)} end)
  end

  defp only([agent]), do: agent
  defp only(_none_or_several), do: nil

  # No more than two: then it is nobody's, however many there are. Supervisors have links to all agents of theirs.
  defp agents(pids, instances) do
    Enum.reduce_while(pids, [], fn pid, found ->
      found = Enum.flat_map(instances, &named(&1, pid)) ++ found
      if match?([_, _ | _], found), do: {:halt, found}, else: {:cont, found}
    end)
  end

  # By one of its names, if it has several. An instance may end meanwhile.
  defp named(instance, pid) do
    found =
      Instances.reading(instance, fn rows, _book ->
        for id <- names(instance, pid), row(pid: ^pid, domain: domain) <- [Rows.get(rows, id)], do: {rows, id, domain}
      end)

    case found do
      [{rows, id, domain} | _others] -> [{instance, rows, id, domain, pid}]
      _none_or_ended -> []
    end
  end

  defp names(instance, pid) do
    with :unknown <- Engine.keys(instance, pid), do: []
  end

  # Each is asked by a process of its own, which may be given up.
  defp gather([], asked, answers) when asked == %{}, do: answers

  defp gather([pid | waiting], asked, answers) when map_size(asked) < @asked do
    asker = spawn_monitor(fn -> exit({:links, links(pid)}) end)
    gather(waiting, Map.put(asked, asker, pid), answers)
  end

  defp gather(waiting, asked, answers) do
    receive do
      {:DOWN, ref, :process, asker, reason} when is_map_key(asked, {asker, ref}) ->
        {pid, asked} = Map.pop!(asked, {asker, ref})
        gather(waiting, asked, answered(reason, pid) ++ answers)
    after
      @patience ->
        Enum.each(Map.keys(asked), &give_up/1)
        answers
    end
  end

  defp links(pid) do
    with {:links, links} <- Process.info(pid, :links), do: Enum.filter(links, &(is_pid(&1) and node(&1) == node()))
  end

  defp answered({:links, links}, pid) when is_list(links), do: [{pid, links}]
  defp answered(_dead_or_killed, _pid), do: []

  defp give_up({asker, ref}) do
    Process.demonitor(ref, [:flush])
    Process.exit(asker, :kill)
  end
end

defmodule Demo.Chaos do
  # Kills agents at a rate, whichever they are and whatever they do. Knows nothing of the work.
  #
  # Until `deadline` it asks nobody. After that, while the last pass is being finished, it goes on at the same rate but leaves half of
  # each kind: in a fleet of which all are parked there is no end of work to show.
  @moduledoc false

  alias Demo.{Fleet, Gauges, Witness}

  @tick 20
  # Ids drawn for one victim before it is taken that nobody is up.
  @draws 100

  @doc "Begins, in a process of its own, linked to the caller."
  @spec start_link(Fleet.t(), rate :: non_neg_integer, deadline :: integer, Witness.t()) :: pid
  def start_link(fleet, rate, deadline, witness) do
    ids = fleet.sizes |> Map.keys() |> Enum.flat_map(&Fleet.ids(fleet, &1)) |> List.to_tuple()
    state = %{fleet: fleet, ids: ids, rate: rate, deadline: deadline, witness: witness, began: now(), drawn: 0}
    spawn_link(fn -> rage(state) end)
  end

  @doc "Ends it."
  @spec stop(pid) :: :ok
  def stop(chaos) do
    monitor = Process.monitor(chaos)
    send(chaos, :stop)
    receive do: ({:DOWN, ^monitor, _, _, _} -> :ok)
  end

  defp rage(state) do
    due = div((now() - state.began) * state.rate, 1_000) - state.drawn
    kill(state, due, if(due > 0, do: protected(state), else: []))

    receive do
      :stop -> :ok
    after
      @tick -> rage(%{state | drawn: state.drawn + due})
    end
  end

  # The kinds that are spared for now.
  defp protected(%{fleet: fleet, deadline: deadline}) do
    for {kind, size} <- fleet.sizes,
        now() >= deadline,
        2 * (Kantoku.count(fleet.instance, capability: kind) - 1) < size,
        do: kind
  end

  defp kill(_state, 0, _protected), do: :ok

  defp kill(%{fleet: %{instance: instance}} = state, count, protected) do
    with {{kind, _number} = id, pid} <- draw(state, @draws) do
      if kind in protected, do: Gauges.add(instance, :spared), else: kill_one(state, id, pid)
    end

    kill(state, count - 1, protected)
  end

  defp draw(_state, 0), do: nil

  defp draw(%{ids: ids, fleet: fleet} = state, draws) do
    id = elem(ids, :rand.uniform(tuple_size(ids)) - 1)
    pid = Kantoku.whereis(fleet.instance, id)
    if pid, do: {id, pid}, else: draw(state, draws - 1)
  end

  defp kill_one(%{fleet: fleet, witness: witness}, id, pid) do
    Witness.killing(witness, id)
    Process.exit(pid, :kill)
    Gauges.add(fleet.instance, :kills)
  end

  defp now, do: System.monotonic_time(:millisecond)
end

defmodule Demo.Chaos do
  # Kills agents at a rate, whichever they are and whatever they do. Knows nothing of the work.
  #
  # It asks nobody until `deadline`. After that, while the last pass is being finished, it goes on at the same rate but leaves half of
  # each kind: a fleet of which all are parked has no end of work to show.
  @moduledoc false

  alias Demo.{Fleet, Gauges, Witness}

  @tick 5

  @doc "Begins, in a process of its own, linked to the caller."
  @spec start_link(Fleet.t(), rate :: non_neg_integer, deadline :: integer, Witness.t()) :: pid
  def start_link(fleet, rate, deadline, witness) do
    spawn_link(fn ->
      rage(%{fleet: fleet, rate: rate, deadline: deadline, witness: witness, began: now(), killed: 0})
    end)
  end

  @doc "Ends it."
  @spec stop(pid) :: :ok
  def stop(chaos) do
    monitor = Process.monitor(chaos)
    send(chaos, :stop)
    receive do: ({:DOWN, ^monitor, _, _, _} -> :ok)
  end

  defp rage(state) do
    due = div((now() - state.began) * state.rate, 1_000) - state.killed
    kill(state, due)

    receive do
      :stop -> :ok
    after
      @tick -> rage(%{state | killed: state.killed + due})
    end
  end

  defp kill(_state, 0), do: :ok

  defp kill(%{fleet: fleet} = state, count) do
    victims = Kantoku.find(fleet.instance, any: [capabilities: Map.keys(fleet.sizes)], order_by: :random, limit: count)

    for {id, pid} <- victims,
        do: if(spare?(state, id), do: Gauges.add(fleet.instance, :spared), else: kill_one(state, id, pid))
  end

  defp spare?(%{deadline: deadline, fleet: fleet}, {kind, _number}) do
    now() >= deadline and 2 * (Kantoku.count(fleet.instance, capability: kind) - 1) < fleet.sizes[kind]
  end

  defp kill_one(%{fleet: fleet, witness: witness}, id, pid) do
    if Process.alive?(pid) do
      Witness.killing(witness, id)
      Process.exit(pid, :kill)
      Gauges.add(fleet.instance, :kills)
    end
  end

  defp now, do: System.monotonic_time(:millisecond)
end

defmodule Demo.Chaos do
  # Kills agents at a rate, the workers of all pools alike, whatever they do. Knows nothing of the work.
  #
  # Until `deadline` it asks nobody. After that, while the last pass is being finished, it goes on at the same rate but leaves half of
  # each kind: in a fleet of which all are parked there is no end of work to show.
  @moduledoc false

  alias Demo.{Fleet, Gauges, Witness}

  @tick 20
  # Ids drawn for one victim before it is taken that nobody is up.
  @draws 100
  # ms between two looks at how many are up.
  @look 250

  @doc "Begins, in a process of its own, linked to the caller."
  @spec start_link(Fleet.t(), rate :: non_neg_integer, deadline :: integer, Witness.t()) :: pid
  def start_link(fleet, rate, deadline, witness) do
    ids = fleet.sizes |> Map.keys() |> Enum.flat_map(&Fleet.ids(fleet, &1)) |> List.to_tuple()

    state = %{
      fleet: fleet,
      ids: ids,
      rate: rate,
      deadline: deadline,
      witness: witness,
      began: now(),
      drawn: 0,
      dying: 0,
      spare: nil,
      looked: deadline - @look
    }

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
    state |> look(now()) |> kill(due) |> Map.update!(:drawn, &(&1 + due)) |> hear(now() + @tick)
  end

  defp hear(state, until) do
    receive do
      :stop -> bury(state)
      {:DOWN, _monitor, :process, _pid, reason} -> state |> dead(reason) |> hear(until)
    after
      max(0, until - now()) -> rage(state)
    end
  end

  defp bury(%{dying: 0}), do: :ok
  defp bury(state), do: receive(do: ({:DOWN, _monitor, :process, _pid, reason} -> state |> dead(reason) |> bury()))

  # Counted when it is dead of this: one that is drawn twice before that is not killed twice.
  defp dead(state, reason) do
    if reason == :killed, do: Gauges.add(state.fleet.instance, :kills)
    %{state | dying: state.dying - 1}
  end

  # How many of each kind may be killed until the next look; `nil` while nobody is asked.
  defp look(%{deadline: deadline, looked: looked} = state, now) when now < deadline or now < looked + @look, do: state

  defp look(%{fleet: fleet} = state, now) do
    spare =
      Map.new(fleet.sizes, fn {kind, size} ->
        {kind, Kantoku.count(fleet.instance, capability: kind) - div(size + 1, 2)}
      end)

    %{state | spare: spare, looked: now}
  end

  defp kill(state, 0), do: state

  defp kill(state, count) do
    case draw(state, @draws) do
      nil -> state
      {id, pid} -> state |> kill_one(id, pid) |> kill(count - 1)
    end
  end

  defp kill_one(%{spare: nil} = state, id, pid), do: kill_it(state, id, pid)

  defp kill_one(%{spare: spare, fleet: fleet} = state, {:pool, kind, _number} = id, pid) do
    if spare[kind] > 0 do
      kill_it(%{state | spare: Map.update!(spare, kind, &(&1 - 1))}, id, pid)
    else
      Gauges.add(fleet.instance, :spared)
      state
    end
  end

  defp draw(_state, 0), do: nil

  defp draw(%{ids: ids, fleet: fleet} = state, draws) do
    id = elem(ids, :rand.uniform(tuple_size(ids)) - 1)
    pid = Kantoku.whereis(fleet.instance, id)
    if pid, do: {id, pid}, else: draw(state, draws - 1)
  end

  defp kill_it(%{witness: witness, dying: dying} = state, id, pid) do
    Process.monitor(pid)
    Witness.killing(witness, id)
    Process.exit(pid, :kill)
    %{state | dying: dying + 1}
  end

  defp now, do: System.monotonic_time(:millisecond)
end

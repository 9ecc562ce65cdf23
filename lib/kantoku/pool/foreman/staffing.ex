defmodule Kantoku.Pool.Foreman.Staffing do
  # As many workers as are wanted: who is a member, who is started and who is let go, and what is told of that. Knows nothing of why so
  # many are wanted.
  @moduledoc false
  import Kantoku.Pool.Foreman.State, only: [emit: 2, status: 1]

  alias Kantoku.Engine.Pools
  alias Kantoku.Pool.{Condition, Errands, Members, Notes, Size}
  alias Kantoku.Pool.Foreman.State

  @doc "Compares who is there with how many are wanted, and sees to the difference."
  @spec reconcile(State.t()) :: State.t()
  def reconcile(%{config: config} = state) do
    members = members(state)
    state = %{state | numbers: kept(state, members), leaving: Map.take(state.leaving, Enum.map(members, & &1.number))}
    wanted = Size.wanted(state.size, config)
    state |> finish_stops(members) |> change(members, wanted) |> note(members, wanted) |> warm()
  end

  @doc "The members, with those whose start has only begun."
  @spec members(State.t()) :: [Members.member()]
  def members(%{rows: rows, config: config, numbers: numbers} = state) do
    found = Members.look(rows, config, MapSet.union(numbers, Errands.numbers(state)), state.leaving)
    found ++ Errands.beginning(state, found)
  end

  defp kept(state, members), do: MapSet.union(MapSet.new(members, & &1.number), Errands.numbers(state))

  # Who is not wanted any more, and whose end was cut short with a predecessor.
  defp finish_stops(state, members) do
    for %{wanted: false, number: number} <- members, reduce: state, do: (state -> Errands.stop(state, number))
  end

  defp change(%{draining: true} = state, _members, _wanted), do: state

  defp change(state, members, wanted) do
    {start, leave} = Members.plan(members, wanted, Map.keys(state.idle))
    state = if state.held, do: state, else: Enum.reduce(start, state, &Errands.start(&2, &1))
    Enum.reduce(leave, state, &dismiss/2)
  end

  defp dismiss(%{pid: nil, number: number}, state), do: Errands.stop(state, number)

  defp dismiss(%{pid: pid, number: number}, %{instance: instance, pool: pool} = state) do
    state = %{state | leaving: Map.put(state.leaving, number, pid), pids: Map.put(state.pids, pid, number)}
    if Pools.pool_leave(instance, pool, pid) == :ok, do: state, else: Errands.stop(state, number)
  end

  defp note(%{condition: before, config: config} = state, members, wanted) do
    condition = Condition.of(members, {wanted, Size.overflow(state.size, config)}, state.held, state.reason)
    if condition != before, do: Notes.put_condition(state.book, state.pool, condition)
    emit(state, Condition.events(before, condition, state.cause))
    %{state | condition: condition, reason: if(condition.missing > 0, do: state.reason)}
  end

  defp warm(%{warming: []} = state), do: state

  defp warm(%{warming: waiting, config: config, condition: condition} = state) do
    ready = status(state).ready

    if ready >= min(config.warm_up, condition.wanted) do
      for from <- waiting, do: GenServer.reply(from, :ok)
      %{state | warming: []}
    else
      state
    end
  end
end

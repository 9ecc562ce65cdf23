defmodule Kantoku.Engine.Elixir.Pool.Tickets do
  # The ways of a ticket from state to state (State's S1 and S2): each step here touches all the places that have to agree.
  # Decides nothing.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.{Codel, Mean, Measures, State, Ticket, Waiting, Workers}

  @doc "A request that comes: numbered, but in no state yet."
  @spec arrive(State.t(), Ticket.t(), integer) :: {Ticket.t(), State.t()}
  def arrive(state, ticket, now) do
    {Ticket.arrive(ticket, state.next, now), State.count(%{state | next: state.next + 1}, :arrived)}
  end

  @spec wait(State.t(), Ticket.t()) :: State.t()
  def wait(state, ticket) do
    ticket = %{ticket | state: :waiting}
    %{state | waiting: Waiting.join(state.waiting, ticket)} |> put(ticket) |> own(ticket)
  end

  @doc "Hands a ticket over to a worker with a permit free."
  @spec give(State.t(), Ticket.t(), pid, integer) :: State.t()
  def give(state, %{state: :waiting} = ticket, pid, now) do
    state = %{state | waiting: Waiting.serve(state.waiting, ticket)} |> hand_over(ticket, pid, now)
    if ticket.kind == :checkout, do: State.tell(state, ticket, {:granted, pid}), else: state
  end

  def give(state, ticket, pid, now), do: state |> own(ticket) |> hand_over(ticket, pid, now)

  defp hand_over(state, ticket, pid, now) do
    wait = now - ticket.since

    %{
      state
      | workers: Workers.take(state.workers, pid, ticket.number),
        wait: Mean.add(state.wait, wait),
        measures: Measures.waited(state.measures, wait),
        codel: note_wait(state, wait, now)
    }
    |> put(Ticket.give(ticket, pid, now))
    |> State.count(:served)
    |> deliver(ticket, pid)
  end

  defp note_wait(%{config: config, waiting: waiting} = state, wait, now) do
    state.codel
    |> Codel.advance(config, fn -> nil end, now)
    |> Codel.handed_over(config, wait, map_size(waiting.lines), fn -> longest_wait(state, now) end, now)
  end

  @doc "How long who waits longest has; `nil` if nobody waits."
  @spec longest_wait(State.t(), integer) :: non_neg_integer | nil
  def longest_wait(state, now) do
    state.waiting
    |> Waiting.tenants()
    |> Enum.map(&Map.fetch!(state.tickets, Waiting.oldest(state.waiting, &1)).since)
    |> Enum.min(fn -> nil end)
    |> then(&(&1 && now - &1))
  end

  defp deliver(state, %{kind: :call} = ticket, pid) do
    State.effect(state, {:send, pid, {:"$gen_call", {ticket.owner, ticket.tag}, ticket.request}})
  end

  defp deliver(state, %{kind: :checkout}, _pid), do: state

  defp deliver(state, %{kind: :cast} = ticket, pid) do
    state |> State.effect({:send, pid, {:"$gen_cast", ticket.request}}) |> note_abandoned(ticket, pid)
  end

  @doc "Nobody waits for what a worker is at."
  @spec abandon(State.t(), Ticket.t()) :: State.t()
  def abandon(state, ticket) do
    state |> put(%{ticket | state: :abandoned}) |> note_abandoned(ticket, ticket.worker)
  end

  defp note_abandoned(state, %{number: number} = ticket, pid) do
    State.tell_foreman(%{state | abandoned: MapSet.put(state.abandoned, number)}, unheeded(ticket, pid))
  end

  @doc "What the foreman is told of what a worker is at, and nobody waits for."
  @spec unheeded(Ticket.t(), pid) :: {:abandoned | :cast, non_neg_integer, pid}
  def unheeded(%{kind: :cast, number: number}, pid), do: {:cast, number, pid}
  def unheeded(%{number: number}, pid), do: {:abandoned, number, pid}

  @doc "A worker is done with a ticket, after a hold that tells how long it takes."
  @spec finish(State.t(), Ticket.t(), integer) :: State.t()
  def finish(state, ticket, now) do
    hold = now - ticket.given
    release(%{state | hold: Mean.add(state.hold, hold), measures: measure(state, ticket, now)}, ticket, hold, now)
  end

  defp measure(%{measures: measures}, %{state: :abandoned}, _now), do: measures
  defp measure(%{measures: measures}, ticket, now), do: Measures.took(measures, now - ticket.since)

  @doc "A worker gets a ticket off that it did nothing for."
  @spec return(State.t(), Ticket.t(), integer) :: State.t()
  def return(state, ticket, now), do: release(state, ticket, nil, now)

  defp release(state, ticket, hold, now) do
    workers = Workers.give_back(state.workers, ticket.worker, ticket.number, hold, now)
    %{state | workers: workers} |> forget(ticket) |> let_go(ticket.worker)
  end

  @doc "A worker that leaves and has nothing left is gone."
  @spec let_go(State.t(), pid) :: State.t()
  def let_go(state, pid) do
    worker = Workers.fetch(state.workers, pid)

    if worker.state == :leaving and MapSet.size(worker.tickets) == 0 do
      State.tell_foreman(%{state | workers: Workers.drop(state.workers, pid)}, {:left, pid})
    else
      state
    end
  end

  @doc "A ticket that waited ends; `why` is what it counts as."
  @spec drop(State.t(), Ticket.t(), :refused | :expired | :cancelled) :: State.t()
  def drop(state, ticket, why) do
    %{state | waiting: Waiting.remove(state.waiting, ticket)} |> forget(ticket) |> State.count(why)
  end

  @doc "A ticket that waited is refused."
  @spec refuse(State.t(), Ticket.t(), Kantoku.Engine.Pools.reason(), non_neg_integer) :: State.t()
  def refuse(state, ticket, reason, retry_in) do
    why = if reason == :deadline, do: :expired, else: :refused
    state = if reason == :overloaded, do: State.count(state, :dropped), else: state
    state |> drop(ticket, why) |> State.tell(ticket, {:refused, reason, retry_in})
  end

  @doc "Nothing is known of a ticket any more. Its worker, if it had one, is dead or has given it back."
  @spec forget(State.t(), Ticket.t()) :: State.t()
  def forget(state, ticket) do
    state = %{state | abandoned: MapSet.delete(state.abandoned, ticket.number)}
    disown(%{state | tickets: Map.delete(state.tickets, ticket.number)}, ticket)
  end

  defp put(state, ticket), do: %{state | tickets: Map.put(state.tickets, ticket.number, ticket)}

  defp own(state, %{owner: nil}), do: state

  # Who is known stays so until its death: it is watched once.
  defp own(%{owners: owners} = state, %{owner: owner} = ticket) do
    case owners do
      %{^owner => numbers} -> %{state | owners: %{owners | owner => MapSet.put(numbers, ticket.number)}}
      _new -> State.effect(%{state | owners: Map.put(owners, owner, MapSet.new([ticket.number]))}, {:watch, owner})
    end
  end

  defp disown(%{owners: owners} = state, %{owner: owner, number: number}) do
    case owners do
      %{^owner => numbers} -> %{state | owners: %{owners | owner => MapSet.delete(numbers, number)}}
      _nobody -> state
    end
  end
end

defmodule Kantoku.Engine.Elixir.Pool.Core do
  # A pool as a function: each command takes the state and the time (ns, monotonic), and gives an answer, the effects that
  # have to follow in their order, and the state after. It sends nothing, reads no clock, and draws only from its state.
  #
  #   C1. After every command nobody waits while a live worker has a permit free.
  #   C2. A ticket's owner gets at most one message for it.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.{
    Credits,
    Deaths,
    Handover,
    Lending,
    Mean,
    Quota,
    Standing,
    State,
    Ticket,
    Tickets,
    Waiting,
    Workers
  }

  @type answer :: term
  @type done :: {answer, [State.effect()], State.t()}

  @spec new(atom, pid, Kantoku.Engine.Pools.config(), State.start(), integer) :: State.t()
  defdelegate new(name, foreman, config, start, now), to: State

  @doc "Another foreman and configuration: more permits go to those who wait."
  @spec configure(State.t(), pid, Kantoku.Engine.Pools.config(), integer) :: done
  def configure(%{config: before} = state, foreman, config, now) do
    state |> State.configure(foreman, config) |> Standing.judge_anew(before, now) |> freed(now) |> answer(:ok)
  end

  # Workers ---------------------------------------------------------------------------------------------------------

  @spec join(State.t(), pid, non_neg_integer, integer) :: done
  def join(state, pid, member, now) do
    if state.alive?.(pid), do: admit(state, pid, member, now), else: answer(state, {:error, :noproc})
  end

  # Who is here keeps its place; if it was leaving, it stays, unless another has its place by now.
  defp admit(state, pid, member, now) do
    case Workers.fetch(state.workers, pid) do
      nil -> seat(state, pid, member, &inherit(&1, pid, member, now), now)
      %{state: :leaving} = worker -> seat(state, pid, worker.member, &stay(&1, pid), now)
      _ready -> state |> Standing.put_aside(pid, :shut, false) |> freed(now) |> answer(:ok)
    end
  end

  defp inherit(state, pid, member, now),
    do: Standing.inherit(%{state | workers: Workers.add(state.workers, pid, member)}, pid, member, now)

  defp stay(state, pid), do: %{state | workers: Workers.stay(state.workers, pid)}

  defp seat(state, pid, member, take, now) do
    case clear_seat(state, Workers.holder(state.workers, member)) do
      {:taken, _holder} = taken ->
        answer(state, {:error, taken})

      {:free, state} ->
        state |> take.() |> State.effect({:watch, pid}) |> Standing.feel() |> freed(now) |> answer(:ok)
    end
  end

  # Who leaves gives its place up to who takes it.
  defp clear_seat(state, nil), do: {:free, state}

  defp clear_seat(state, %{pid: pid} = holder) do
    cond do
      not state.alive?.(pid) -> {:free, Deaths.worker(state, pid)}
      holder.state == :leaving -> {:free, state}
      true -> {:taken, pid}
    end
  end

  @spec leave(State.t(), pid, integer) :: done
  def leave(state, pid, now) do
    case Workers.fetch(state.workers, pid) do
      nil -> answer(state, :none)
      %{state: :leaving} -> answer(state, :ok)
      worker -> state |> depart(worker) |> freed(now) |> answer(:ok)
    end
  end

  defp depart(state, %{pid: pid, member: member}) do
    state = Standing.forgive(state, pid, member)
    %{state | workers: Workers.leave(state.workers, pid)} |> Standing.feel() |> Tickets.let_go(pid)
  end

  @doc "A probe says that a worker is not ready: it is given nothing new until it joins again."
  @spec shut(State.t(), pid, integer) :: done
  def shut(state, pid, now) do
    if Workers.fetch(state.workers, pid),
      do: state |> Standing.put_aside(pid, :shut, true) |> freed(now) |> answer(:ok),
      else: answer(state, :none)
  end

  @doc "Ejects a worker by hand."
  @spec eject(State.t(), non_neg_integer, pos_integer | :infinity, integer) :: done
  def eject(state, member, ms, now), do: stood(Standing.eject(state, member, ms, now), now)

  @doc "Lets an ejected worker in again."
  @spec readmit(State.t(), non_neg_integer, integer) :: done
  def readmit(state, member, now), do: stood(Standing.let_in(state, member, now), now)

  defp stood({answer, state}, now), do: state |> freed(now) |> answer(answer)

  @doc "A process that was watched is dead. It may have been a worker, a caller, or both."
  @spec down(State.t(), pid, integer) :: done
  def down(state, pid, now), do: state |> Deaths.worker(pid) |> Deaths.owner(pid) |> freed(now) |> answer(:ok)

  # Requests --------------------------------------------------------------------------------------------------------

  @doc "A request that comes: given to a worker, queued, or refused."
  @spec request(State.t(), Ticket.t(), integer) :: done
  def request(state, ticket, now) do
    {ticket, state} = Tickets.arrive(state, ticket, now)

    cond do
      state.config.draining -> state |> State.count(:drained) |> refuse(:draining, 0)
      over = over_quota(state, ticket, now) -> state |> State.count(:over_quota) |> refuse(:quota, over)
      true -> place(state, ticket, now)
    end
  end

  defp over_quota(%{config: %{over_quota: true} = config}, _ticket, _now), do: config.queue_interval

  defp over_quota(state, ticket, now) do
    with {:error, retry_in} <- Quota.check(state.quota, ticket.tenant, ticket.cost, now),
         do: retry_in,
         else: (:ok -> nil)
  end

  # Where a permit is free nobody waits (C1), so nobody is passed.
  defp place(state, ticket, now) do
    case Handover.worker(state, ticket.route, now) do
      {nil, state} -> queue(state, ticket, now)
      {pid, state} -> state |> charge(ticket, now) |> Tickets.give(ticket, pid, now) |> answer(given(ticket, pid))
    end
  end

  # For who may not wait there is no room in any queue.
  defp queue(state, ticket, now) do
    cond do
      ticket.wait == 0 -> full(state)
      state.waiting.size < state.config.max_queue -> wait(state, ticket, now)
      last = Waiting.outcrowded(state.waiting, ticket.tenant, state.weights) -> displace(state, last, ticket, now)
      true -> full(state)
    end
  end

  defp full(state), do: state |> State.press() |> refuse(:queue_full, Handover.patience(state))

  defp wait(state, ticket, now),
    do: state |> charge(ticket, now) |> Tickets.wait(ticket) |> State.press() |> answer(queued(ticket))

  # Another has to go for this one.
  defp displace(state, last, ticket, now) do
    state
    |> Tickets.refuse(Map.fetch!(state.tickets, last), :queue_full, Handover.patience(state))
    |> wait(ticket, now)
  end

  defp charge(%{config: %{quotas: []}} = state, _ticket, _now), do: state

  defp charge(%{quota: quota} = state, %{tenant: tenant, cost: cost}, now) do
    state = if Quota.limits?(quota, tenant), do: state, else: State.count(state, :unlimited)
    %{state | quota: Quota.charge(quota, tenant, cost, now), cost: Mean.add(state.cost, cost * 1_000)}
  end

  defp refuse(state, reason, retry_in) do
    state |> State.count(:refused) |> answer({:error, reason, retry_in})
  end

  defp given(%{kind: :call, number: number}, pid), do: {:sent, number, pid}
  defp given(%{kind: :checkout, number: number}, pid), do: {:granted, number, pid}
  defp given(%{kind: :cast}, pid), do: {:sent, pid}

  defp queued(%{kind: :cast}), do: :queued
  defp queued(%{number: number}), do: {:queued, number}

  @spec checkin(State.t(), pid, non_neg_integer, Kantoku.Engine.Pools.outcome(), integer) :: done
  def checkin(state, owner, number, outcome, now) do
    case owned(state, owner, number) do
      %Ticket{state: :waiting} -> answer(state, {:error, :foreign})
      %Ticket{} = ticket -> state |> ended(ticket, outcome, now) |> freed(now) |> answer(:ok)
      no -> answer(state, no)
    end
  end

  defp ended(state, ticket, :ok, now), do: state |> Standing.succeeded(ticket.worker) |> Tickets.finish(ticket, now)

  defp ended(state, ticket, :error, now),
    do: state |> Standing.failed(ticket.worker, now) |> State.count(:failed) |> Tickets.finish(ticket, now)

  defp ended(state, ticket, :abandoned, now), do: given_up(state, ticket, now)

  # Its owner does not wait any more for what a worker has: to it, that failed.
  defp given_up(state, ticket, now), do: state |> Tickets.abandon(ticket) |> Standing.failed(ticket.worker, now)

  @doc "A worker answers the call of a tag, which ends with that; whoever is next gets the worker."
  @spec reply(State.t(), pid, tag :: term, reply :: term, integer) :: done
  def reply(state, worker, tag, reply, now) do
    case called(state, worker, tag) do
      nil -> answer(state, :none)
      # The foreman's: it may be about to replace the worker.
      %Ticket{state: :abandoned} -> answer(state, :late)
      ticket -> state |> ended(ticket, :ok, now) |> State.tell(ticket, {:reply, reply}) |> freed(now) |> answer(:ok)
    end
  end

  defp called(state, worker, tag) do
    with %{tickets: numbers} <- Workers.fetch(state.workers, worker) do
      numbers |> Enum.map(&Map.fetch!(state.tickets, &1)) |> Enum.find(&match?(%{kind: :call, tag: ^tag}, &1))
    end
  end

  @spec cancel(State.t(), pid, non_neg_integer, integer) :: done
  def cancel(state, owner, number, now) do
    case owned(state, owner, number) do
      %Ticket{state: :waiting} = ticket ->
        state |> Tickets.drop(ticket, :cancelled) |> Lending.run(now) |> answer(:cancelled)

      %Ticket{state: :served} = ticket ->
        state |> given_up(ticket, now) |> freed(now) |> answer(:abandoned)

      %Ticket{state: :held} = ticket ->
        state |> State.count(:returned) |> Tickets.return(ticket, now) |> freed(now) |> answer(:returned)

      no ->
        answer(state, no)
    end
  end

  # What was given up is gone for everybody.
  defp owned(state, owner, number) do
    case state.tickets do
      %{^number => %{state: :abandoned}} -> :gone
      %{^number => %{owner: ^owner} = ticket} -> ticket
      %{^number => _of_another} -> {:error, :foreign}
      _ended -> :gone
    end
  end

  # Credits ---------------------------------------------------------------------------------------------------------

  @doc "How many requests of a cost a tenant may send now."
  @spec room(State.t(), Kantoku.Engine.Pools.tenant(), pos_integer, integer) :: done
  def room(state, tenant, cost, now) do
    state = %{state | credits: Credits.lapse(state.credits, now)}
    answer(state, Lending.room(state, tenant, cost, now))
  end

  @spec lend(State.t(), pid, term, {Kantoku.Engine.Pools.tenant(), pos_integer, pos_integer}) :: done
  def lend(state, owner, tag, terms) do
    {answer, state} = Lending.open(state, owner, tag, terms)
    answer(state, answer)
  end

  @spec deal(State.t(), pid, non_neg_integer, Kantoku.Engine.Pools.dealing(), non_neg_integer, integer) :: done
  def deal(state, owner, loan, dealing, count, now) do
    {answer, state} = Lending.deal(state, owner, loan, dealing, count, now)
    answer(state, answer)
  end

  # The foreman's ---------------------------------------------------------------------------------------------------

  @spec answered(State.t(), non_neg_integer, integer) :: done
  def answered(state, number, now) do
    case state.tickets do
      %{^number => %{state: :abandoned} = ticket} ->
        state |> worked_off(ticket) |> Tickets.finish(ticket, now) |> freed(now) |> answer(:ok)

      _other ->
        answer(state, :gone)
    end
  end

  # That nobody waits for a cast is as it should be.
  defp worked_off(state, %{kind: :cast}), do: state
  defp worked_off(state, _given_up), do: State.count(state, :given_up)

  @spec tick(State.t(), integer) :: done
  def tick(state, now),
    do:
      %{state | pressed: false, quota: Quota.tick(state.quota, now)}
      |> Standing.review(now)
      |> Handover.run(now)
      |> Handover.clear(now)
      |> Lending.run(now, :tick)
      |> answer(:ok)

  @doc "Ends the pool: who waits for it, or for a worker's answer, is told."
  @spec close(State.t()) :: done
  def close(state) do
    state.tickets
    |> Map.values()
    |> Enum.sort_by(& &1.number)
    |> Enum.reduce(state, &closed(&2, &1))
    |> Lending.close()
    |> answer(:ok)
  end

  defp closed(state, %{state: :waiting} = ticket), do: Tickets.refuse(state, ticket, :closed, 0)
  defp closed(state, %{state: :served} = ticket), do: State.tell(state, ticket, {:refused, :closed, 0})
  defp closed(state, _nobody_waits), do: state

  # Whoever waits goes before whoever may send.
  defp freed(state, now), do: state |> Handover.run(now) |> Lending.run(now)

  defp answer(state, answer) do
    {effects, state} = State.effects(state)
    {answer, effects, state}
  end
end

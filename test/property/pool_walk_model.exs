defmodule Kantoku.PoolWalkModel do
  @moduledoc """
  Who waits for a pool and who is next, in lists and as the rules are told: round the ring one visit at a time. And what must
  hold of the core's state, looked at from outside.
  """
  import ExUnit.Assertions

  defstruct waiting: [], ring: []

  @doc "A ticket joins; its tenant goes to the tail of the ring if it had none waiting."
  def join(model, ticket) do
    ring = if waits?(model, ticket.tenant), do: model.ring, else: model.ring ++ [{ticket.tenant, 0, 0}]
    %{model | waiting: model.waiting ++ [ticket], ring: ring}
  end

  @doc "A ticket goes, for whatever reason; a tenant that has none waiting leaves the ring."
  def remove(model, number) do
    model = %{model | waiting: Enum.reject(model.waiting, &(&1.number == number))}
    %{model | ring: Enum.filter(model.ring, fn {tenant, _credit, _taken} -> waits?(model, tenant) end)}
  end

  @doc "Who has to be served next, and the model after that."
  def serve(%{ring: [{tenant, credit, taken} | ring]} = model, weights, overloaded) do
    credit = if credit <= 0, do: credit + Map.get(weights, tenant, 1), else: credit

    if credit <= 0 do
      serve(%{model | ring: ring ++ [{tenant, credit, taken}]}, weights, overloaded)
    else
      ticket = next(for(ticket <- model.waiting, ticket.tenant == tenant, do: ticket), taken + 1, overloaded)
      left = credit - ticket.cost
      entry = {tenant, left, taken + 1}
      ring = if left > 0, do: [entry | ring], else: ring ++ [entry]
      {ticket.number, remove(%{model | ring: ring}, ticket.number)}
    end
  end

  @doc "Who may have to make room for a ticket of a tenant: the newest of the lowest priority of whoever has most for its weight."
  def outcrowded(model, tenant, weights) do
    lines = Enum.group_by(model.waiting, & &1.tenant)
    weight = &Map.get(weights, &1, 1)
    comer = length(Map.get(lines, tenant, [])) + 1

    others =
      for {other, tickets} <- lines, other != tenant, length(tickets) > 1, do: {other, length(tickets) / weight.(other)}

    most = others |> Enum.map(&elem(&1, 1)) |> Enum.max(fn -> 0 end)

    if others != [] and (comer == 1 or most > comer / weight.(tenant)),
      do: for({other, ^most} <- others, do: last(lines[other])),
      else: []
  end

  defp last(tickets), do: Enum.max_by(tickets, &{&1.priority, &1.number}).number

  defp next(tickets, nth, overloaded) do
    highest = tickets |> Enum.map(& &1.priority) |> Enum.min()
    among = if rem(nth, 8) == 0, do: tickets, else: Enum.filter(tickets, &(&1.priority == highest))
    if overloaded, do: Enum.max_by(among, & &1.number), else: Enum.min_by(among, & &1.number)
  end

  defp waits?(model, tenant), do: Enum.any?(model.waiting, &(&1.tenant == tenant))

  @doc "Raises where something does not hold of a state."
  def check!(state, alive?) do
    tickets = Map.values(state.tickets)
    permits!(state, tickets, alive?)
    panic!(state)
    waiting!(state, tickets)
    owners!(state, tickets)
    counts!(state)
    credits!(state.credits)
  end

  # S1, P1: each ticket past waiting is at one worker, and each at a worker is such a ticket. P2: who has a permit free is known.
  # C1.
  defp permits!(state, tickets, alive?) do
    at = for ticket <- tickets, ticket.state != :waiting, do: {ticket.worker, ticket.number}
    held = for {pid, worker} <- state.workers.workers, number <- worker.tickets, do: {pid, number}
    assert Enum.sort(at) == Enum.sort(held)

    free =
      for {pid, worker} <- state.workers.workers,
          worker.state == :ready,
          state.workers.panic or not (worker.ejected or worker.shut),
          MapSet.size(worker.tickets) < state.config.max_ongoing,
          do: pid

    known = for {_rank, _member, pid} <- :gb_sets.to_list(state.workers.free), do: pid
    assert Enum.sort(free) == Enum.sort(known)
    assert state.waiting.size == 0 or not Enum.any?(free, alive?), "somebody waits while a permit is free"

    for {pid, worker} <- state.workers.workers do
      assert worker.state == :ready or MapSet.size(worker.tickets) > 0, "#{inspect(pid)} has left"
      assert worker.state == :leaving or state.workers.members[worker.member] == pid, "#{inspect(pid)} has no place"
    end

    for {member, pid} <- state.workers.members, do: assert(state.workers.workers[pid].member == member)
  end

  # E3.
  defp panic!(state) do
    staying = for {_pid, %{state: :ready} = worker} <- state.workers.workers, do: worker
    healthy = Enum.count(staying, &(not (&1.ejected or &1.shut)))
    few = healthy * 100 < state.config.healthy_panic_threshold * length(staying)
    assert state.workers.panic == (few and length(staying) > 1)
    assert state.workers.growing == Enum.count(state.workers.workers, fn {_pid, worker} -> worker.grows != nil end)
  end

  # S1, W1, W2.
  defp waiting!(state, tickets) do
    waiting = for %{state: :waiting} = ticket <- tickets, do: {ticket.tenant, ticket.priority, ticket.number}

    lined_up =
      for {tenant, line} <- state.waiting.lines,
          {queue, priority} <- Enum.with_index(Tuple.to_list(line.queues)),
          number <- :gb_sets.to_list(queue),
          do: {tenant, priority, number}

    assert Enum.sort(waiting) == Enum.sort(lined_up)
    assert state.waiting.size == length(waiting)
    places = for {tenant, line} <- state.waiting.lines, do: {line.place, tenant}
    ring = :gb_trees.to_list(state.waiting.ring)
    assert Enum.sort(places) == ring
    assert Enum.sort(Map.keys(state.waiting.lines)) == waiting |> Enum.map(&elem(&1, 0)) |> Enum.uniq() |> Enum.sort()

    for {{_place, tenant}, index} <- Enum.with_index(ring), index > 0 do
      assert state.waiting.lines[tenant].credit <= 0, "credit away from the head"
    end

    timed = for %{state: :waiting, deadline: at} = ticket when is_integer(at) <- tickets, do: {at, ticket.number}
    assert Enum.sort(timed) == :gb_sets.to_list(state.waiting.deadlines)
  end

  # S2. Who is dead is no owner any more, and leaves only what is abandoned.
  defp owners!(state, tickets) do
    for {owner, numbers} <- state.owners do
      assert Enum.sort(numbers) == Enum.sort(for(%{owner: ^owner} = ticket <- tickets, do: ticket.number))
    end

    for ticket <- tickets, ticket.owner != nil and ticket.state != :abandoned do
      assert ticket.number in Map.get(state.owners, ticket.owner, []), "#{ticket.number} is not its owner's"
    end

    assert Enum.sort(state.abandoned) ==
             Enum.sort(for(%{state: :abandoned} = ticket <- tickets, do: ticket.number))
  end

  # C1 to C3 of credits.
  defp credits!(credits) do
    loans = Map.values(credits.loans)
    assert credits.held == loans |> Enum.map(& &1.held) |> Enum.sum()
    held = Enum.reduce(loans, %{}, fn loan, held -> Map.update(held, loan.tenant, loan.held, &(&1 + loan.held)) end)
    assert credits.of_tenant == Map.reject(held, fn {_tenant, count} -> count == 0 end)
    tally = credits.tally
    assert tally.granted == tally.taken + tally.returned + tally.lapsed + credits.held
    wishing = for {name, %{wished: wished}} when wished > 0 <- credits.loans, do: name
    assert Enum.sort(wishing) == Enum.sort(:queue.to_list(credits.line))
  end

  # S3.
  defp counts!(state) do
    counts = state.counts
    assert counts.arrived == state.waiting.size + counts.served + counts.refused + counts.expired + counts.cancelled
    assert state.effects == []
  end
end

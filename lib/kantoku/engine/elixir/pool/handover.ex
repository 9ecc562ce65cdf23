defmodule Kantoku.Engine.Elixir.Pool.Handover do
  # Gives free permits to those who wait, until there is none left of the one or the other; and refuses those whose time is over.
  # At a hand-over, worker and caller are asked whether they live.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.{Choice, Codel, Deaths, Mean, State, Ticket, Tickets, Waiting, Workers}

  # So many of a tenant that are too late are refused before it is looked who is next.
  @slough 8

  @doc "Serves who waits, as far as permits go."
  @spec run(State.t(), integer) :: State.t()
  def run(state, now) do
    if state.waiting.size > 0, do: state |> bury_first() |> serve(now), else: state
  end

  # Nobody is looked at for a turn that only the dead could serve.
  defp bury_first(state) do
    with true <- Workers.any_free?(state.workers),
         %{pid: pid} = Workers.first(state.workers),
         false <- state.alive?.(pid) do
      state |> Deaths.worker(pid) |> bury_first()
    else
      _alive_or_none -> state
    end
  end

  defp serve(state, now) do
    if Workers.any_free?(state.workers), do: state |> advance(now) |> visit(now), else: state
  end

  defp visit(state, now) do
    {tenant, waiting} = Waiting.visit(state.waiting, state.weights)
    state = slough(%{state | waiting: waiting}, tenant, now, @slough)

    case Waiting.next(state.waiting, tenant, from(state)) do
      nil -> run(state, now)
      number -> offer(state, Map.fetch!(state.tickets, number), now)
    end
  end

  defp from(state), do: if(State.overloaded?(state), do: :newest, else: :oldest)

  defp offer(state, ticket, now) do
    late = late(state, ticket, now)

    cond do
      late -> state |> refuse(ticket, late) |> run(now)
      not reachable?(state, ticket) -> state |> Tickets.drop(ticket, :cancelled) |> run(now)
      true -> give(state, ticket, now)
    end
  end

  defp reachable?(_state, %{owner: nil}), do: true
  defp reachable?(state, %{owner: owner}), do: state.alive?.(owner)

  defp give(state, ticket, now) do
    case worker(state, ticket.route, now) do
      {nil, state} -> state
      {pid, state} -> state |> Tickets.give(ticket, pid, now) |> run(now)
    end
  end

  @doc "A live worker with a permit free, as route and strategy have it; `nil` if there is none. The dead ones it meets are buried."
  @spec worker(State.t(), Ticket.route(), integer) :: {pid | nil, State.t()}
  def worker(state, route, now) do
    case Choice.choose(state.workers, route, now) do
      {nil, _workers} -> {nil, state}
      {pid, workers} -> living(%{state | workers: workers}, pid, route, now)
    end
  end

  defp living(state, pid, route, now) do
    if state.alive?.(pid), do: {pid, state}, else: state |> Deaths.worker(pid) |> worker(route, now)
  end

  @doc "Refuses everybody whose time is over."
  @spec clear(State.t(), integer) :: State.t()
  def clear(state, now) do
    state = state |> advance(now) |> expire(now)
    Enum.reduce(Waiting.tenants(state.waiting), state, &slough(&2, &1, now, :all))
  end

  defp expire(state, now) do
    case Waiting.expired(state.waiting, now) do
      nil -> state
      number -> state |> Tickets.refuse(Map.fetch!(state.tickets, number), :deadline, 0) |> expire(now)
    end
  end

  # From the oldest end of a tenant's line, whatever their priorities.
  defp slough(state, _tenant, _now, 0), do: state

  defp slough(state, tenant, now, left) do
    with number when number != nil <- Waiting.oldest(state.waiting, tenant),
         ticket = Map.fetch!(state.tickets, number),
         {_reason, _retry_in} = late <- late(state, ticket, now) do
      state |> refuse(ticket, late) |> slough(tenant, now, less(left))
    else
      _none_too_late -> state
    end
  end

  defp less(:all), do: :all
  defp less(left), do: left - 1

  # Why one that waits is not to be served any more: past its own deadline, or stale under overload.
  defp late(state, ticket, now) do
    waited = now - ticket.since

    cond do
      Ticket.expired?(ticket, now) -> {:deadline, 0}
      Codel.stale?(state.codel, state.config, waited) -> {:overloaded, max(patience(state), in_ms(waited))}
      true -> nil
    end
  end

  defp refuse(state, ticket, {reason, retry_in}), do: Tickets.refuse(state, ticket, reason, retry_in)

  @doc "In how many ms who would wait now may hope to be served: after as many holds as all permits need for the queue."
  @spec patience(State.t()) :: pos_integer
  def patience(state) do
    case map_size(state.workers.workers) * state.config.max_ongoing do
      0 -> state.config.queue_interval
      permits -> in_ms(div(Mean.read(state.hold, 1) * (state.waiting.size + 1), permits))
    end
  end

  # Rounded up, and never 0.
  defp in_ms(ns), do: max(div(ns + 999_999, 1_000_000), 1)

  defp advance(state, now) do
    %{state | codel: Codel.advance(state.codel, state.config, fn -> Tickets.longest_wait(state, now) end, now)}
  end
end

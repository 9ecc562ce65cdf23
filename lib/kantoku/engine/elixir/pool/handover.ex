defmodule Kantoku.Engine.Elixir.Pool.Handover do
  # Gives free permits to those who wait, until there is none left of the one or the other; and refuses those whose time is over.
  # At a hand-over, worker and caller are asked whether they live.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.{Choice, Codel, Deaths, State, Ticket, Tickets, Waiting, Workers}

  # So many of a tenant that waited too long are refused before one is served: a hand-over stays short.
  @slough 8

  @doc "Serves who waits, as far as permits go."
  @spec run(State.t(), integer) :: State.t()
  def run(state, now), do: state |> advance(now) |> serve(now)

  defp serve(state, now) do
    if state.waiting.size > 0 and Workers.any_free?(state.workers), do: visit(state, now), else: state
  end

  defp visit(state, now) do
    {tenant, waiting} = Waiting.visit(state.waiting, state.weights)
    state = slough(%{state | waiting: waiting}, tenant, now, @slough)

    case Waiting.next(state.waiting, tenant, from(state)) do
      nil -> serve(state, now)
      number -> offer(state, Map.fetch!(state.tickets, number), now)
    end
  end

  defp from(state), do: if(State.overloaded?(state), do: :newest, else: :oldest)

  defp offer(state, ticket, now) do
    cond do
      Ticket.expired?(ticket, now) -> state |> Tickets.refuse(ticket, :deadline, 0) |> serve(now)
      not reachable?(state, ticket) -> state |> Tickets.drop(ticket, :cancelled) |> serve(now)
      true -> give(state, ticket, now)
    end
  end

  defp reachable?(_state, %{owner: nil}), do: true
  defp reachable?(state, %{owner: owner}), do: state.alive?.(owner)

  defp give(state, ticket, now) do
    case worker(state, ticket.route, now) do
      {nil, state} -> state
      {pid, state} -> state |> Tickets.give(ticket, pid, now) |> serve(now)
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

  # From the oldest end of a tenant's line, whatever their priorities. Who is past its own deadline hears of that.
  defp slough(%{codel: %{overloaded: false}} = state, _tenant, _now, _left), do: state
  defp slough(state, _tenant, _now, 0), do: state

  defp slough(state, tenant, now, left) do
    with number when number != nil <- Waiting.oldest(state.waiting, tenant),
         ticket = Map.fetch!(state.tickets, number),
         true <- Codel.stale?(state.codel, state.config, now - ticket.since) do
      {reason, retry_in} = if Ticket.expired?(ticket, now), do: {:deadline, 0}, else: {:overloaded, relief(state, now)}
      state |> Tickets.refuse(ticket, reason, retry_in) |> slough(tenant, now, less(left))
    else
      _none_too_old -> state
    end
  end

  defp less(:all), do: :all
  defp less(left), do: left - 1

  # Until the interval is over, at whose end it is judged again.
  defp relief(state, now), do: max(div(state.codel.ends - now - 1, 1_000_000) + 1, 1)

  defp advance(state, now) do
    %{state | codel: Codel.advance(state.codel, state.config, state.waiting.size > 0, now)}
  end
end

defmodule Kantoku.Engine.Elixir.Pool.Deaths do
  # What the death of a worker or of a caller ends. Frees no permit of any other worker, so nobody's turn comes by it but in a panic.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.{Credits, Standing, State, Tickets, Workers}

  @doc "A worker is dead: its tickets end with it, and those who wait for an answer hear of it. Nothing if it is no worker."
  @spec worker(State.t(), pid) :: State.t()
  def worker(state, pid) do
    case Workers.fetch(state.workers, pid) do
      nil ->
        state

      worker ->
        failures = Enum.count(worker.tickets, &(Map.fetch!(state.tickets, &1).state != :abandoned))
        state = Standing.bequeath(state, worker, failures)
        state = State.tell_foreman(%{state | workers: Workers.drop(state.workers, pid)}, {:down, pid})
        state = Enum.reduce(worker.tickets, state, fn _number, state -> State.count(state, :lost) end)
        worker.tickets |> Enum.sort() |> Enum.reduce(state, &ended(&2, Map.fetch!(&2.tickets, &1))) |> Standing.feel()
    end
  end

  defp ended(state, %{state: :served} = ticket), do: state |> Tickets.forget(ticket) |> State.tell(ticket, :down)
  defp ended(state, ticket), do: Tickets.forget(state, ticket)

  @doc "A caller is dead: what it waited for vanishes, what workers are at is abandoned."
  @spec owner(State.t(), pid) :: State.t()
  def owner(state, pid) do
    state = %{state | credits: Credits.widow(state.credits, pid)}
    {numbers, owners} = Map.pop(state.owners, pid, MapSet.new())
    numbers |> Enum.sort() |> Enum.reduce(%{state | owners: owners}, &widowed(&2, Map.fetch!(&2.tickets, &1)))
  end

  defp widowed(state, %{state: :waiting} = ticket), do: Tickets.drop(state, ticket, :cancelled)
  defp widowed(state, %{state: :abandoned}), do: state
  defp widowed(state, ticket), do: Tickets.abandon(state, ticket)
end

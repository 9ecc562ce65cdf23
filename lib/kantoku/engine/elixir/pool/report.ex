defmodule Kantoku.Engine.Elixir.Pool.Report do
  # What can be asked of a pool, all of it read and nothing changed.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.{Credits, Mean, Quota, State, Tickets, Worker, Workers}

  @spec status(State.t()) :: %{atom => non_neg_integer}
  def status(state) do
    workers = Workers.all(state.workers)
    staying = Enum.filter(workers, &(&1.state == :ready))
    ready = Enum.reject(staying, &Workers.barred?(state.workers, &1))

    Map.merge(state.counts, %{
      succeeded: succeeded(state.counts, workers),
      workers: length(workers),
      ready: length(ready),
      leaving: length(workers) - length(staying),
      free: ready |> Enum.map(&free(state, &1)) |> Enum.sum(),
      ongoing: workers |> Enum.map(&Worker.ongoing/1) |> Enum.sum(),
      abandoned: MapSet.size(state.abandoned),
      queue: state.waiting.size,
      tenants: map_size(state.waiting.lines),
      cost: Mean.read(state.cost, 1),
      let_through: Quota.let_through(state.quota, Mean.read(state.cost, 1)),
      credits: state.credits.held,
      wishes: Credits.wishing(state.credits),
      ejected: Enum.count(staying, & &1.ejected),
      not_ready: Enum.count(staying, & &1.shut),
      growing: state.workers.growing,
      panic: if(state.workers.panic, do: 1, else: 0),
      held_back: state.standing.held_back,
      overloaded: if(State.overloaded?(state), do: 1, else: 0),
      wait: Mean.read(state.wait, 1_000),
      hold: Mean.read(state.hold, 1_000)
    })
  end

  # Of those that workers were given, the ones that ended in no other way: so a success has nothing to count.
  defp succeeded(counts, workers) do
    otherwise = counts.failed + counts.given_up + counts.lost + counts.returned
    counts.served - otherwise - (workers |> Enum.map(&Worker.ongoing/1) |> Enum.sum())
  end

  @spec workers(State.t()) :: [
          {pid, non_neg_integer, Kantoku.Engine.Pools.Standing.t(), non_neg_integer, non_neg_integer, non_neg_integer}
        ]
  def workers(state) do
    for worker <- Workers.all(state.workers) do
      latency = trunc(worker.latency.value / 1_000)
      {worker.pid, worker.member, standing(state, worker), Worker.ongoing(worker), latency, worker.served}
    end
  end

  defp standing(_state, %{state: :leaving}), do: :leaving

  defp standing(state, worker) do
    cond do
      Workers.barred?(state.workers, worker) -> if(worker.shut, do: :not_ready, else: :ejected)
      free(state, worker) > 0 -> :ready
      true -> :busy
    end
  end

  # A limit that was lowered may be below what a worker has.
  defp free(state, worker), do: max(state.config.max_ongoing - Worker.ongoing(worker), 0)

  @doc "What workers are at that nobody waits for, oldest first."
  @spec abandoned(State.t()) :: [{:abandoned | :cast, non_neg_integer, pid}]
  def abandoned(state) do
    for number <- Enum.sort(state.abandoned), ticket = Map.fetch!(state.tickets, number) do
      Tickets.unheeded(ticket, ticket.worker)
    end
  end
end

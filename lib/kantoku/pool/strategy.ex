defmodule Kantoku.Pool.Strategy do
  @moduledoc """
  How a pool chooses a worker, in your own words: a module as a pool's `:strategy`.

      defmodule MyApp.LeastLatency do
        @behaviour Kantoku.Pool.Strategy

        @impl true
        def choose(workers, _request), do: Enum.min_by(workers, & &1.latency_us).pid
      end

  It is run by the process that asks, before each request, over all workers that take work: so it costs that process a list of
  them, and no other process anything. The choice is a wish: if the worker chosen has no free permit when it comes to it, another
  one is taken by `:power_of_two`, so nobody waits while a worker is free. What it raises is raised where the request was made; an answer
  that is no worker of the pool is an `ArgumentError`.
  """

  @typedoc "A worker as the strategy sees it. `latency_us` is a peak-sensitive mean of how long requests took, in microseconds."
  @type worker :: %{
          pid: pid,
          member: non_neg_integer,
          ongoing: non_neg_integer,
          latency_us: non_neg_integer
        }

  @typedoc "What is known of the request: the options that it was made with."
  @type request :: %{
          pool: Kantoku.Pool.t(),
          tenant: term,
          priority: :high | :normal | :low,
          cost: pos_integer,
          key: term
        }

  @doc "Chooses one of the workers, of which there is at least one."
  @callback choose([worker, ...], request) :: pid

  alias Kantoku.Pool.Detours

  @doc false
  @spec set(Kantoku.Pool.t(), module | nil) :: :ok
  def set(pool, nil), do: Detours.erase(:choice, pool)
  def set(pool, module), do: Detours.put(:choice, pool, module)

  @doc false
  @spec of(Kantoku.Pool.t()) :: module | nil
  def of(pool), do: Detours.get(:choice, pool)

  @doc false
  @spec route(Kantoku.Pool.t(), Kantoku.Pool.Request.t()) :: pid | nil
  def route(pool, request) do
    case of(pool) do
      nil -> nil
      module -> choice(module, pool, workers(pool), request)
    end
  end

  defp workers({instance, pool}) do
    case Kantoku.Engine.Pools.pool_workers(instance, pool) do
      :unknown ->
        []

      workers ->
        for {pid, member, state, ongoing, latency, _served} when state in [:ready, :busy] <- workers,
            do: worker(pid, member, ongoing, latency)
    end
  end

  defp worker(pid, member, ongoing, latency), do: %{pid: pid, member: member, ongoing: ongoing, latency_us: latency}

  defp choice(_module, _pool, [], _request), do: nil

  defp choice(module, pool, workers, request) do
    chosen = module.choose(workers, about(pool, request))

    if Enum.any?(workers, &(&1.pid == chosen)),
      do: chosen,
      else:
        raise(
          ArgumentError,
          "#{inspect(module)}.choose/2: expected the pid of a worker of the pool, got: #{inspect(chosen)}"
        )
  end

  defp about(pool, request) do
    key = with {:key, key} <- request.key, do: key
    priority = elem({:high, :normal, :low}, request.priority)
    %{pool: pool, tenant: request.tenant, priority: priority, cost: request.cost, key: key}
  end
end

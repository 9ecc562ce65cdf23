defmodule Kantoku.Pool.Measured do
  # Requests of a pool that has objectives, in the process that makes them: counted when they have ended. Where they go on knows
  # nothing of it.
  @moduledoc false

  alias Kantoku.Error
  alias Kantoku.Pool.{Detours, Guard, Lease, Leases, Ways}
  alias Kantoku.SLO.Watch

  @doc "As `Kantoku.Pool.call/3`."
  @spec call(Kantoku.Pool.t(), term, keyword) :: {:ok, term} | {:error, Error.t()}
  def call(pool, request, opts) do
    begun = Watch.now()

    answer = Ways.call(Detours.beyond(pool, opts), pool, request, opts)
    count(pool, Watch.outcome(answer), begun)
    answer
  end

  @doc "As `Kantoku.Pool.checkout/2`; the lease knows when it began."
  @spec checkout(Kantoku.Pool.t(), keyword) :: {:ok, Lease.t()} | {:error, Error.t()}
  def checkout(pool, opts) do
    begun = Watch.now()

    case further(pool, opts) do
      {:ok, lease} ->
        {:ok, %{lease | begun: begun}}

      refused ->
        count(pool, Watch.outcome(refused), begun)
        refused
    end
  end

  defp further(pool, opts) do
    case Detours.beyond(pool, opts) do
      nil -> Leases.checkout(pool, opts)
      :choice -> Leases.routed(pool, opts)
      :breaker -> Guard.checkout(pool, opts)
      {:error, _shed} = refused -> refused
    end
  end

  @doc "As `Kantoku.Pool.checkin/2`."
  @spec checkin(Lease.t(), Kantoku.Pool.outcome()) :: :ok | {:error, Error.t()}
  def checkin(%Lease{pool: pool, permit: permit, begun: begun} = lease, outcome) do
    answer = if permit, do: Guard.checkin(lease, outcome), else: Leases.checkin(pool, lease.ticket, outcome)
    unless match?({:error, %{reason: :not_owner}}, answer), do: count(pool, Guard.ending(answer, outcome), begun)
    answer
  end

  @doc "As `Kantoku.Pool.run/3`. What leaves by an exception is bad."
  @spec run(Kantoku.Pool.t(), (pid -> result), keyword) :: {:ok, result} | {:error, Error.t()} when result: term
  def run(pool, fun, opts) when is_function(fun, 1) do
    with {:ok, lease} <- checkout(pool, opts), do: Leases.hold(lease, fun, &checkin/2)
  end

  # Its objectives may have been taken away meanwhile.
  defp count(pool, outcome, begun), do: Watch.count(Detours.get(:objective, pool) || [], outcome, Watch.now() - begun)
end

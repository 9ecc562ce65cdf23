defmodule Kantoku.Pool.Ways do
  # How requests reach the engine past whatever a pool has that is asked first; and those who want a worker for themselves by its short
  # way, where they say nothing but how long they would wait and a worker is free. Knows nothing of what becomes of them there.
  @moduledoc false

  alias Kantoku.Engine.Pools
  alias Kantoku.Error
  alias Kantoku.Pool.{Calls, Detours, Guard, Lease, Leases, Measured}
  alias Kantoku.Trace

  @doc "A call that goes that way."
  @spec call(Detours.further(), Kantoku.Pool.t(), term, keyword) :: {:ok, term} | {:error, Error.t()}
  def call(nil, pool, request, opts), do: Calls.call(pool, request, opts)
  def call(:choice, pool, request, opts), do: Calls.routed(pool, request, opts)
  def call(:breaker, pool, request, opts), do: Guard.call(pool, request, opts)
  def call(:objective, pool, request, opts), do: Measured.call(pool, request, opts)
  def call({:error, _shed} = refused, _pool, _request, _opts), do: refused

  @doc "A cast that goes that way."
  @spec cast(:breaker | :choice | nil | {:error, Error.t()}, Kantoku.Pool.t(), term, keyword) ::
          :ok | {:error, Error.t()}
  def cast(:breaker, pool, request, opts), do: Guard.cast(pool, request, opts)
  def cast({:error, _shed} = refused, _pool, _request, _opts), do: refused
  def cast(_straight_or_routed, pool, request, opts), do: Calls.cast(pool, request, opts)

  # For a worker that is free it is no matter how long one would wait.
  @doc "See `Kantoku.Pool.checkout/2`."
  @spec checkout(Kantoku.Pool.t(), keyword) :: {:ok, Lease.t()} | {:error, Error.t()}
  def checkout(pool, []), do: take(Lease, pool, [])
  # Word by word: a list that is written out is compared by a function of the VM.
  def checkout(pool, [{option, ms}] = opts) when option == :timeout and ms == :infinity, do: take(Lease, pool, opts)
  def checkout(pool, opts), do: checkout_past(pool, opts)

  # Calls are few here, as each around a native one costs as much as a part of it. And where a struct's name is written in it, it is
  # made by updating a literal map, which costs a tenth of all that is done: so the name comes as an argument.
  defp take(module, {instance, pool} = whose, opts) do
    case Pools.pool_take(instance, pool) do
      [ticket | pid] ->
        {:ok, %{__struct__: module, pool: whose, ticket: ticket, pid: pid, permit: nil, begun: nil, span: nil}}

      _none ->
        checkout_past(whose, opts)
    end
  end

  defp checkout_past(pool, opts) do
    case Detours.way(pool, opts) do
      :trace -> Trace.Pools.checkout(pool, opts)
      way -> checkout(way, pool, opts)
    end
  end

  @doc "A check-out that goes that way."
  @spec checkout(Detours.further(), Kantoku.Pool.t(), keyword) :: {:ok, Lease.t()} | {:error, Error.t()}
  def checkout(nil, pool, opts), do: Leases.checkout(pool, opts)
  def checkout(:choice, pool, opts), do: Leases.routed(pool, opts)
  def checkout(:breaker, pool, opts), do: Guard.checkout(pool, opts)
  def checkout(:objective, pool, opts), do: Measured.checkout(pool, opts)
  def checkout({:error, _shed} = refused, _pool, _opts), do: refused

  @doc "See `Kantoku.Pool.checkin/2`."
  @spec checkin(Lease.t(), Pools.outcome()) :: :ok | {:error, Error.t()}
  def checkin(%Lease{permit: nil, begun: nil, span: nil, pool: {instance, pool}, ticket: ticket}, :ok) do
    case Pools.pool_checkin(instance, pool, ticket, :ok) do
      :ok -> :ok
      not_done -> Leases.kept({instance, pool}, not_done)
    end
  end

  def checkin(%Lease{span: span} = lease, outcome) when span != nil, do: Trace.Pools.checkin(lease, outcome)

  def checkin(%Lease{begun: nil, permit: nil, pool: pool, ticket: ticket}, outcome),
    do: Leases.checkin(pool, ticket, outcome)

  def checkin(%Lease{begun: nil} = lease, outcome), do: Guard.checkin(lease, outcome)
  def checkin(lease, outcome), do: Measured.checkin(lease, outcome)

  @doc "See `Kantoku.Pool.run/3`."
  @spec run(Kantoku.Pool.t(), (pid -> result), keyword) :: {:ok, result} | {:error, Error.t()} when result: term
  def run(pool, fun, []) when is_function(fun, 1), do: run_at_once(pool, fun, [])

  def run(pool, fun, [{option, ms}] = opts) when is_function(fun, 1) and option == :timeout and ms == :infinity,
    do: run_at_once(pool, fun, opts)

  def run(pool, fun, opts), do: run_past(pool, fun, opts)

  defp run_at_once({instance, pool} = whose, fun, opts) do
    case Pools.pool_take(instance, pool) do
      [ticket | pid] -> Leases.work(instance, pool, ticket, fun, pid)
      _none -> run_past(whose, fun, opts)
    end
  end

  defp run_past(pool, fun, opts) do
    case Detours.way(pool, opts) do
      :trace -> Trace.Pools.run(pool, fun, opts)
      way -> run(way, pool, fun, opts)
    end
  end

  @doc "A function's run that goes that way."
  @spec run(Detours.further(), Kantoku.Pool.t(), (pid -> result), keyword) :: {:ok, result} | {:error, Error.t()}
        when result: term
  def run(nil, pool, fun, opts), do: Leases.run(pool, fun, opts)
  def run(:choice, pool, fun, opts), do: Leases.run_routed(pool, fun, opts)
  def run(:breaker, pool, fun, opts), do: Guard.run(pool, fun, opts)
  def run(:objective, pool, fun, opts), do: Measured.run(pool, fun, opts)
  def run({:error, _shed} = refused, _pool, _fun, _opts), do: refused
end

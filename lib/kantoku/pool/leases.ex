defmodule Kantoku.Pool.Leases do
  # Workers checked out and handed in, in the process that holds them. Knows no foreman.
  @moduledoc false

  alias Kantoku.Engine.Pools
  alias Kantoku.Error
  alias Kantoku.Pool.{Calls, Lease, Request, Strategy, Tenants}
  alias Kantoku.Trace.Open

  @doc "See `Kantoku.Pool.checkout/2`."
  @spec checkout(Kantoku.Pool.t(), keyword) :: {:ok, Lease.t()} | {:error, Error.t()}
  def checkout({instance, pool} = whose, opts) do
    with {:ok, ticket, pid} <- take(instance, pool, opts), do: {:ok, %Lease{pool: whose, ticket: ticket, pid: pid}}
  end

  @doc "As `checkout/2`, of a pool whose workers a module may choose."
  @spec routed(Kantoku.Pool.t(), keyword) :: {:ok, Lease.t()} | {:error, Error.t()}
  def routed({instance, pool} = whose, opts) do
    with {:ok, ticket, pid} <- take_routed(instance, pool, opts),
         do: {:ok, %Lease{pool: whose, ticket: ticket, pid: pid}}
  end

  defp take(instance, pool, []), do: take(instance, pool, nil, unquote(Request.timeout()))
  defp take(instance, pool, timeout: :infinity), do: take(instance, pool, nil, :infinity)
  defp take(instance, pool, opts), do: take_routed(instance, pool, opts)

  defp take_routed(instance, pool, opts) do
    request = Request.new!(opts)
    params = Request.params(request, Strategy.route({instance, pool}, request))
    Tenants.take({instance, pool}, request.tenant, fn -> take(instance, pool, params, request.timeout) end)
  end

  defp take(instance, pool, params, timeout) do
    ref = make_ref()

    case Pools.pool_checkout(instance, pool, ref, params) do
      {:granted, ticket, pid} -> {:ok, ticket, pid}
      {:queued, ticket} -> queued(instance, pool, ticket, ref, timeout)
      refusal -> Calls.refused(instance, pool, refusal)
    end
  end

  defp queued(instance, pool, ticket, ref, timeout) do
    Open.event("kantoku.queued", [])
    await(instance, pool, ticket, ref, timeout)
  end

  defp await(instance, pool, ticket, ref, timeout) do
    receive do
      {:kantoku_pool, ^ref, {:granted, pid}} -> {:ok, ticket, pid}
      {:kantoku_pool, ^ref, {:refused, reason, retry_in}} -> Calls.refused(instance, pool, {:error, reason, retry_in})
    after
      timeout -> give_up(instance, pool, ticket, ref, timeout)
    end
  end

  # A grant that crossed this went back in the engine; only its message is left to take away.
  defp give_up(instance, pool, ticket, ref, timeout) do
    outcome = Pools.pool_cancel(instance, pool, ticket)
    notice = if outcome in [:returned, :gone], do: Calls.notice(ref)

    case notice do
      {:refused, reason, retry_in} -> Calls.refused(instance, pool, {:error, reason, retry_in})
      _ -> {:error, Error.new(:timeout, pool: {instance, pool}, timeout: timeout, begun: false)}
    end
  end

  @doc "See `Kantoku.Pool.checkin/2`."
  @spec checkin(Kantoku.Pool.t(), Pools.ticket(), Pools.outcome()) :: :ok | {:error, Error.t()}
  def checkin({instance, pool}, ticket, outcome) when outcome in [:ok, :error, :abandoned] do
    with not_done when not_done != :ok <- Pools.pool_checkin(instance, pool, ticket, outcome),
         do: kept({instance, pool}, not_done)
  end

  def checkin(_pool, _ticket, outcome),
    do: raise(ArgumentError, "outcome of a lease: expected :ok, :error or :abandoned, got: #{inspect(outcome)}")

  @doc "Why a worker could not be handed in."
  @spec kept(Kantoku.Pool.t(), :gone | :unknown | {:error, :foreign}) :: {:error, Error.t()}
  def kept(pool, {:error, :foreign}), do: {:error, Error.new(:not_owner, pool: pool)}
  def kept(pool, _gone), do: {:error, Error.new(:not_held, pool: pool)}

  @doc "See `Kantoku.Pool.run/3`."
  @spec run(Kantoku.Pool.t(), (pid -> result), keyword) :: {:ok, result} | {:error, Error.t()} when result: term
  def run({instance, pool}, fun, opts) when is_function(fun, 1) do
    with {:ok, ticket, pid} <- take(instance, pool, opts), do: work(instance, pool, ticket, fun, pid)
  end

  @doc "As `run/3`, of a pool whose workers a module may choose."
  @spec run_routed(Kantoku.Pool.t(), (pid -> result), keyword) :: {:ok, result} | {:error, Error.t()} when result: term
  def run_routed({instance, pool}, fun, opts) when is_function(fun, 1) do
    with {:ok, ticket, pid} <- take_routed(instance, pool, opts), do: work(instance, pool, ticket, fun, pid)
  end

  @doc "Runs `fun` with the worker of a lease, and hands it in by `checkin`."
  @spec hold(Lease.t(), (pid -> result), (Lease.t(), Pools.outcome() -> term)) :: {:ok, result} when result: term
  def hold(lease, fun, checkin) do
    result = fun.(lease.pid)
    checkin.(lease, :ok)
    {:ok, result}
  catch
    kind, reason ->
      checkin.(lease, :abandoned)
      :erlang.raise(kind, reason, __STACKTRACE__)
  end

  @doc "Runs a function with a worker that was taken. Whoever leaves by an exception may have left the worker at work."
  @spec work(atom, atom, Pools.ticket(), (pid -> result), pid) :: {:ok, result} when result: term
  def work(instance, pool, ticket, fun, pid) do
    result = fun.(pid)
    Pools.pool_checkin(instance, pool, ticket, :ok)
    {:ok, result}
  catch
    kind, reason ->
      Pools.pool_checkin(instance, pool, ticket, :abandoned)
      :erlang.raise(kind, reason, __STACKTRACE__)
  end
end

defmodule Kantoku.Pool.Guard do
  # Requests of a pool that has a breaker, in the process that makes them: let in by it, and told to it when they have ended.
  # Where it is missing, as while the instance's core is being started again, the pool alone decides. Knows no worker.
  @moduledoc false

  alias Kantoku.Breaker
  alias Kantoku.Breaker.{Clerk, Door, Notes}
  alias Kantoku.{Error, Instances}
  alias Kantoku.Pool.{Calls, Detours, Lease, Leases}

  @doc "Gives a pool a breaker of these options, or takes it away."
  @spec set(Kantoku.Pool.t(), Breaker.Config.t() | nil) :: :ok
  def set({instance, pool}, nil) do
    forget({instance, pool})

    with {:ok, {_rows, book}} <- Instances.tables(instance), {_config, _state} <- Notes.fetch(book, {:pool, pool}) do
      Clerk.ask(instance, {:remove, {:pool, pool}})
    end

    :ok
  end

  def set({instance, pool}, config) do
    _ = Clerk.ask(instance, {:install, {:pool, pool}, config})
    Detours.put(:breaker, {instance, pool}, true)
  end

  @doc "Lets requests of a pool pass by its breaker, which stays."
  @spec forget(Kantoku.Pool.t()) :: :ok
  def forget(pool), do: Detours.erase(:breaker, pool)

  @doc "As `Kantoku.Pool.call/3`."
  @spec call(Kantoku.Pool.t(), term, keyword) :: {:ok, term} | {:error, Error.t()}
  def call(pool, request, opts), do: through(pool, fn -> Calls.routed(pool, request, opts) end)

  @doc "As `Kantoku.Pool.cast/3`. How it ends nobody hears."
  @spec cast(Kantoku.Pool.t(), term, keyword) :: :ok | {:error, Error.t()}
  def cast(pool, request, opts), do: through(pool, fn -> Calls.cast(pool, request, opts) end)

  @doc "As `Kantoku.Pool.checkout/2`; the lease has the permit."
  @spec checkout(Kantoku.Pool.t(), keyword) :: {:ok, Lease.t()} | {:error, Error.t()}
  def checkout(pool, opts) do
    with {:ok, permit} <- enter(pool) do
      case leaving_on_raise(pool, permit, fn -> Leases.routed(pool, opts) end) do
        {:ok, lease} ->
          {:ok, %{lease | permit: permit}}

        refused ->
          leave(pool, permit, :ignore)
          refused
      end
    end
  end

  @doc "As `Kantoku.Pool.checkin/2`."
  @spec checkin(Lease.t(), Kantoku.Pool.outcome()) :: :ok | {:error, Error.t()}
  def checkin(%Lease{pool: pool, ticket: ticket, permit: permit}, outcome) do
    answer = Leases.checkin(pool, ticket, outcome)
    unless match?({:error, %{reason: :not_owner}}, answer), do: leave(pool, permit, ending(answer, outcome))
    answer
  end

  @doc "How a lease ended that was handed in so. What ended with its worker was a failure if its holder says that it was one."
  @spec ending(:ok | {:error, Error.t()}, Kantoku.Pool.outcome()) :: :ok | :error | :ignore
  def ending(_answer, outcome) when outcome in [:error, :abandoned], do: :error
  def ending(:ok, :ok), do: :ok
  def ending(_not_held, :ok), do: :ignore

  @doc "As `Kantoku.Pool.run/3`. What leaves by an exception has failed."
  @spec run(Kantoku.Pool.t(), (pid -> result), keyword) :: {:ok, result} | {:error, Error.t()} when result: term
  def run(pool, fun, opts) when is_function(fun, 1) do
    with {:ok, lease} <- checkout(pool, opts), do: Leases.hold(lease, fun, &checkin/2)
  end

  defp through(pool, request) do
    with {:ok, permit} <- enter(pool) do
      answer = leaving_on_raise(pool, permit, request)
      leave(pool, permit, ending(answer))
      answer
    end
  end

  # A bad option says nothing of the pool.
  defp leaving_on_raise(pool, permit, request) do
    request.()
  catch
    kind, reason ->
      leave(pool, permit, :ignore)
      :erlang.raise(kind, reason, __STACKTRACE__)
  end

  # A refusal says nothing of who would have served; nor does a time-out before anybody began.
  defp ending({:ok, _reply}), do: :ok
  defp ending({:error, %{reason: :crashed}}), do: :error
  defp ending({:error, %{reason: :timeout, details: %{begun: true}}}), do: :error
  defp ending(_cast_or_refused), do: :ignore

  defp enter({instance, name} = pool) do
    case Door.acquire({instance, {:pool, name}}) do
      {:ok, ticket} -> {:ok, {ticket, now()}}
      {:error, %{reason: :breaker_open, details: %{retry_in: ms}}} -> refused(pool, ms)
      {:error, _no_breaker} -> {:ok, nil}
    end
  end

  defp refused(pool, retry_in), do: {:error, Error.new(:breaker_open, pool: pool, retry_in: retry_in)}

  defp leave(_pool, nil, _ending), do: :ok

  defp leave({instance, name}, {ticket, begun}, ending),
    do: Door.record({instance, {:pool, name}}, ticket, ending, now() - begun)

  defp now, do: System.monotonic_time(:nanosecond)
end

defmodule Kantoku.Pool.Tenants do
  # Counts requests by whose they are, where they say it, and how long they took: in the process that made one, when it knows how that
  # ended. Whoever names no tenant pays for none of it. Shares nothing out; the engine does.
  @moduledoc false

  alias Kantoku.Engine.Pools
  alias Kantoku.Instances
  alias Kantoku.Metrics.Own

  # Tenants of an instance whose times are told apart: two histograms each, of 8.8 KB. The rest is one.
  @timed 100

  @doc "A request of a tenant came to this answer, which is handed on."
  @spec count(Kantoku.Pool.t(), Pools.tenant() | nil, answer) :: answer when answer: term
  def count(_pool, nil, answer), do: answer

  def count({instance, pool}, tenant, answer) do
    Own.count(instance, "kantoku_pool_tenant_requests", pool: pool, tenant: tenant, outcome: outcome(answer))
    answer
  end

  @doc "Makes a call; counts it as `count/3`, and says how long it took."
  @spec call(Kantoku.Pool.t(), Pools.tenant() | nil, (() -> answer)) :: answer when answer: term
  def call(_pool, nil, fun), do: fun.()
  def call(pool, tenant, fun), do: timed(pool, tenant, "kantoku_pool_tenant_request_duration_seconds", fun)

  @doc "Takes a worker; counts that as `count/3`, and says how long it took to have it."
  @spec take(Kantoku.Pool.t(), Pools.tenant() | nil, (() -> answer)) :: answer when answer: term
  def take(_pool, nil, fun), do: fun.()
  def take(pool, tenant, fun), do: timed(pool, tenant, "kantoku_pool_tenant_wait_duration_seconds", fun)

  defp timed({instance, name} = pool, tenant, metric, fun) do
    begun = System.monotonic_time()
    answer = fun.()
    Own.time(instance, metric, System.monotonic_time() - begun, labels(instance, name, tenant))
    count(pool, tenant, answer)
  end

  # Who comes first has times of its own, for as long as the instance runs.
  defp labels(instance, pool, tenant) do
    case Instances.reading(instance, fn _rows, book -> own?(book, {:tenant, pool, tenant}) end) do
      true -> [pool: pool, tenant: tenant]
      _others -> [pool: pool, tenant: "other"]
    end
  end

  defp own?(book, key), do: :ets.member(book, key) or (left?(book) and :ets.insert(book, {key}))
  defp left?(book), do: :ets.update_counter(book, :tenants, {2, 1, @timed + 1, @timed + 1}, {:tenants, 0}) <= @timed

  defp outcome({:error, %{reason: reason}}), do: reason
  defp outcome(_answer), do: :ok
end

defmodule Kantoku.Pool.Tenants do
  # Counts requests by whose they are, where they say it: in the process that made one, when it knows how that ended. Shares nothing out; the engine does.
  @moduledoc false

  alias Kantoku.Engine.Pools
  alias Kantoku.Metrics.Own

  @doc "A request of a tenant came to this answer, which is handed on."
  @spec count(Kantoku.Pool.t(), Pools.tenant() | nil, answer) :: answer when answer: term
  def count(_pool, nil, answer), do: answer

  def count({instance, pool}, tenant, answer) do
    Own.count(instance, "kantoku_pool_tenant_requests", pool: pool, tenant: tenant, outcome: outcome(answer))
    answer
  end

  defp outcome({:error, %{reason: reason}}), do: reason
  defp outcome(_answer), do: :ok
end

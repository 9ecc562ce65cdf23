defmodule Kantoku.Metrics.Events do
  # Which events are counted, and by what: one addition each. Whoever emits many is not among them. Knows nobody who listens.
  @moduledoc false

  alias Kantoku.Metrics.{Own, Whose}

  @counted [
    [:agent, :crashed],
    [:agent, :restarting],
    [:agent, :parked],
    [:agent, :stuck],
    [:agent, :restored],
    [:agent, :snapshot, :written],
    [:agent, :snapshot, :failed],
    [:agent, :snapshot, :damaged],
    [:domain, :throttled],
    [:domain, :escalated],
    [:breaker, :state_changed],
    [:health, :restarting],
    [:pool, :replaced],
    [:pool, :worker_ejected]
  ]

  @doc "Whether an event is counted, so that it has to be emitted though nobody else listens."
  @spec counted?([atom, ...]) :: boolean
  for name <- @counted, do: def(counted?(unquote(name)), do: true)
  def counted?(_other), do: false

  @doc "An event of an instance."
  @spec count(atom, [atom, ...], map, map) :: :ok
  def count(instance, [:agent, :crashed], _measured, metadata),
    do: Own.count(instance, "kantoku_agent_crashes", Whose.told(instance, metadata))

  def count(instance, [:agent, :restarting], _measured, metadata),
    do: Own.count(instance, "kantoku_agent_restarts", Whose.told(instance, metadata))

  def count(instance, [:agent, :parked], _measured, metadata),
    do: Own.count(instance, "kantoku_agent_parked", Whose.told(instance, metadata))

  def count(instance, [:agent, :stuck], _measured, metadata),
    do: Own.count(instance, "kantoku_agent_stuck", Whose.told(instance, metadata))

  def count(instance, [:agent, :restored], _measured, metadata),
    do: Own.count(instance, "kantoku_snapshot_restores", Whose.told(instance, metadata))

  def count(instance, [:agent, :snapshot, :written], %{duration: duration}, metadata),
    do: Own.time(instance, "kantoku_snapshot_write_duration_seconds", duration, Whose.told(instance, metadata))

  def count(instance, [:agent, :snapshot, failure], _measured, metadata) when failure in [:failed, :damaged] do
    failure = if failure == :failed, do: :written, else: :damaged
    Own.count(instance, "kantoku_snapshot_failures", Whose.told(instance, metadata) ++ [failure: failure])
  end

  def count(instance, [:domain, :throttled], _measured, %{domain: domain}),
    do: Own.count(instance, "kantoku_domain_throttled", Whose.place(domain))

  def count(instance, [:domain, :escalated], _measured, %{domain: domain}),
    do: Own.count(instance, "kantoku_domain_escalations", Whose.place(domain))

  def count(instance, [:breaker, :state_changed], _measured, %{breaker: breaker, to: to}),
    do: Own.count(instance, "kantoku_breaker_changes", Own.breaker(breaker) ++ [to: to])

  def count(instance, [:health, :restarting], _measured, %{probe: probe} = metadata),
    do: Own.count(instance, "kantoku_health_restarts", Whose.told(instance, metadata) ++ [probe: probe])

  def count(instance, [:pool, :replaced], _measured, %{pool: pool, reason: reason}),
    do: Own.count(instance, "kantoku_pool_replaced", pool: pool, reason: reason)

  def count(instance, [:pool, :worker_ejected], _measured, %{pool: pool, cause: cause}),
    do: Own.count(instance, "kantoku_pool_ejections", pool: pool, cause: cause)

  def count(_instance, _other, _measured, _metadata), do: :ok
end

defmodule Kantoku.Pool.Foreman.Opening do
  # How a pool is opened in the engine, and again whenever what the engine was told has changed; what a predecessor knew is found again
  # from where it stands. Decides nothing about size.
  @moduledoc false
  import Kantoku.Pool.Foreman.State, only: [abandoned: 1, emit: 4, now: 0, workers: 1]

  alias Kantoku.Domain.{Book, Gauges}
  alias Kantoku.Engine.Pools
  alias Kantoku.Health.Gate
  alias Kantoku.Metrics.Own
  alias Kantoku.Pool.{Config, Detours, Guard, Members, Quota, Shed, Strategy, Usage, Worker}
  alias Kantoku.Pool.Foreman.{Staffing, State}
  alias Kantoku.Trace

  @doc "Tells the engine, and who stands before it, how the pool is to be."
  @spec tell_engine(State.t()) :: {:ok | :unknown, State.t()}
  def tell_engine(%{instance: instance, pool: pool, config: config, book: book} = state) do
    draining = Gauges.draining?(Book.chain(book, config.domain.name))
    over = Usage.over(state.usage, Quota.used(config.quotas), now())
    said = Config.for_engine(config, %{draining: draining, over_quota: over != [], counted: stand_before(state)})
    answer = Pools.pool_open(instance, pool, self(), said)
    for resource <- over -- state.over_quota, do: tell_quota(state, :over_quota, resource)
    for resource <- state.over_quota -- over, do: tell_quota(state, :within_quota, resource)
    {answer, %{state | draining: draining, over_quota: over}}
  end

  defp tell_quota(%{config: config, usage: usage} = state, event, resource) do
    limits = Quota.used(config.quotas)
    metadata = %{resource: resource, used: Usage.known(usage, limits)[resource], limit: limits[resource]}
    emit(state, event, %{}, metadata)
  end

  # What requests pass before they reach the engine; whether anybody counts them there.
  defp stand_before(%{instance: instance, pool: pool, config: config, book: book}) do
    Strategy.set({instance, pool}, if(Config.custom?(config), do: config.strategy))
    Guard.set({instance, pool}, config.breaker)
    Shed.set({instance, pool}, book, config.shed)
    traced? = Trace.Pools.set({instance, pool}, config)
    traced? or Detours.get(:objective, {instance, pool}) != nil
  end

  @doc "Takes away all that stands before the engine."
  @spec forget(State.t()) :: :ok
  def forget(%{instance: instance, pool: pool}) do
    Strategy.set({instance, pool}, nil)
    Guard.forget({instance, pool})
    Shed.forget({instance, pool})
    Trace.Pools.forget({instance, pool})
  end

  @doc "Takes over the workers that are there, and those of them that were told to go."
  @spec take_over(State.t()) :: State.t()
  def take_over(%{instance: instance, pool: pool, rows: rows, book: book} = state) do
    Own.bind_pool(book, instance, pool)
    state = %{state | open: true, pids: %{}, numbers: MapSet.new(Members.numbers(rows, pool))} |> join_all()
    workers = workers(state)
    leaving = for {pid, member, :leaving, _, _, _} <- workers, into: %{}, do: {member, pid}
    for {pid, _member, :leaving, 0, _, _} <- workers, do: send(self(), {:kantoku_pool, pool, {:left, pid}})
    for {kind, ticket, pid} <- abandoned(state), do: send(self(), {:kantoku_pool, pool, {kind, ticket, pid}})
    %{state | leaving: leaving}
  end

  @doc """
  Says once that the pool was started. One that the engine lost, or that a drain closed before its foreman heard of it, is opened again by
  the same: that is no start.
  """
  @spec tell_once(State.t()) :: State.t()
  def tell_once(%{told: true} = state), do: state

  def tell_once(state) do
    emit(state, :started, %{workers: length(workers(state))}, %{})
    %{state | told: true}
  end

  @doc "Joins who is up and not in the pool: its start found the pool closed; or it was told to leave, and has left."
  @spec join_all(State.t()) :: State.t()
  def join_all(state) do
    here = MapSet.new(workers(state), &elem(&1, 0))
    for %{pid: pid} = member <- Staffing.members(state), pid, pid not in here, do: join(state, member)
    %{state | pids: for({pid, number, _, _, _, _} <- workers(state), into: state.pids, do: {pid, number})}
  end

  defp join(%{pool: pool}, %{leaving: true, pid: pid}), do: send(self(), {:kantoku_pool, pool, {:left, pid}})

  # Who is not ready joins when it is (`Kantoku.Health.Gate`).
  defp join(%{instance: instance, pool: pool} = state, %{pid: pid, number: number}) do
    joined? = not shut?(state, number) and Pools.pool_join(instance, pool, pid, number) == :ok
    if joined? and not is_map_key(state.pids, pid), do: emit(state, :worker_joined, %{}, %{member: number, pid: pid})
  end

  defp shut?(%{book: book, pool: pool}, number), do: Gate.shut?(book, Worker.id(pool, number))
end

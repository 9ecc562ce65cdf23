defmodule Kantoku.Pool.Foreman.State do
  # What a pool's foreman knows, and how it looks at the engine and tells of what happened. Decides nothing.
  @moduledoc false

  alias Kantoku.Engine.Pools
  alias Kantoku.Pool.{Abandoned, Condition, Config, Errands, Idle, Scaling, Size, Usage}
  alias Kantoku.Telemetry

  @enforce_keys [:instance, :pool, :rows, :book, :config]
  defstruct @enforce_keys ++
              [
                open: false,
                # Whether it was said that it opened the pool.
                told: false,
                draining: false,
                size: %Size{},
                scaling: nil,
                # The numbers of members; of those that were told to go, and the pid that was.
                numbers: MapSet.new(),
                leaving: %{},
                # Workers by pid, to name them when they have died.
                pids: %{},
                errands: %{},
                asked: Abandoned.new(),
                idle: %{},
                # What workers use, and of what the engine was told that it is too much.
                usage: %Usage{},
                over_quota: [],
                # Whether it was told that it is overloaded.
                overloaded: false,
                # Why the last worker did not start, and whether starts wait for the next tick.
                reason: nil,
                held: false,
                condition: nil,
                cause: :update,
                warming: [],
                due: false,
                timer: nil
              ]

  @type t :: %__MODULE__{
          instance: atom,
          pool: atom,
          rows: :ets.tid(),
          book: :ets.tid(),
          config: Config.t(),
          open: boolean,
          told: boolean,
          draining: boolean,
          size: Size.t(),
          scaling: Scaling.t() | nil,
          numbers: MapSet.t(non_neg_integer),
          leaving: %{non_neg_integer => pid},
          pids: %{pid => non_neg_integer},
          errands: Errands.t(),
          asked: Abandoned.t(),
          idle: Idle.t(),
          usage: Usage.t(),
          over_quota: [Usage.resource()],
          overloaded: boolean,
          reason: term,
          held: boolean,
          condition: Condition.t() | nil,
          cause: atom,
          warming: [GenServer.from()],
          due: boolean,
          timer: reference | nil
        }

  @doc "The workers that the engine knows."
  @spec workers(t) :: [tuple]
  def workers(%{instance: instance, pool: pool}), do: known(Pools.pool_workers(instance, pool))

  @doc "What was abandoned and is with a worker, as the engine has it."
  @spec abandoned(t) :: [{kind :: atom, Pools.ticket(), pid}]
  def abandoned(%{instance: instance, pool: pool}), do: known(Pools.pool_abandoned(instance, pool))

  defp known(:unknown), do: []
  defp known(list), do: list

  @doc "What the engine counts."
  @spec status(t) :: map
  def status(%{instance: instance, pool: pool}) do
    case Pools.pool_status(instance, pool) do
      :unknown -> %{queue: 0, free: 0, overloaded: 0, ready: 0}
      status -> status
    end
  end

  @doc "Tells of something that happened to the pool."
  @spec emit(t, event :: atom, map, map) :: :ok
  def emit(%{instance: instance, pool: pool}, event, measurements, metadata),
    do: Telemetry.emit(instance, [:pool, event], measurements, Map.put(metadata, :pool, pool))

  @doc "Tells of several things."
  @spec emit(t, [{event :: atom, map, map}]) :: :ok
  def emit(state, events) do
    for {event, measurements, metadata} <- events, do: emit(state, event, measurements, metadata)
    :ok
  end

  @doc "Monotonic, in ms."
  @spec now() :: integer
  def now, do: System.monotonic_time(:millisecond)
end

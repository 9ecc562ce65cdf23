defmodule Kantoku.Agent.Holding do
  # What a server holds of its agent. Data only; knows no store, no handler and no message.
  @moduledoc false

  alias Kantoku.Agent.{Config, Outbox, Pending}
  alias Kantoku.Telemetry
  alias Kantoku.Trace.Open

  # `pending` is nil when all is kept and delivered and nobody waits: most agents, most of the time. So they stay small.
  # `pulse` is the agent's node in the tree of health, if it has been asked to say how it is.
  @enforce_keys [:config, :id, :incarnation]
  defstruct [:config, :id, :incarnation, :vsn, :pending, :pulse, agent: :"$unborn", revision: 0]

  @type t :: %__MODULE__{
          config: Config.t(),
          id: term,
          incarnation: pos_integer,
          agent: Kantoku.Agent.t(),
          vsn: term,
          revision: non_neg_integer,
          pending: Pending.t() | nil,
          pulse: Kantoku.Engine.Health.node_handle() | nil
        }

  @doc "The holding of an agent that is not born yet."
  @spec new(Config.t(), id :: term, incarnation :: pos_integer) :: t
  # Updated from a literal it shares its keys with all others; put together here, each would have keys of its own (72 bytes).
  def new(config, id, incarnation), do: %{blank() | config: config, id: id, incarnation: incarnation}

  defp blank, do: %__MODULE__{config: nil, id: nil, incarnation: nil}

  @doc "The agent in its next revision, with the directives that this one makes."
  @spec change(t, Kantoku.Agent.t(), [Kantoku.Agent.directive()]) :: t
  def change(holding, agent, directives) do
    pending = pending(holding)
    revision = holding.revision + 1
    outbox = Outbox.append(pending.outbox, revision, directives)
    pending = %{pending | outbox: outbox, changes: pending.changes + 1} |> at(revision, directives)
    %{holding | agent: agent, revision: revision, pending: pending}
  end

  # What is done for a directive belongs to the trace that it was made in.
  defp at(pending, _revision, []), do: pending

  defp at(pending, revision, _directives) do
    case Open.here() do
      nil -> pending
      place -> %{pending | places: Map.put(pending.places, revision, place)}
    end
  end

  @doc "Gives the holding its agent, made or migrated by the code of now."
  @spec bear(t, Kantoku.Agent.t()) :: t
  def bear(holding, agent), do: %{holding | agent: agent, vsn: Kantoku.Agent.vsn(holding.config.shape)}

  @doc "Whether it has no agent yet."
  @spec unborn?(t) :: boolean
  def unborn?(holding), do: holding.agent == :"$unborn"

  @doc "What `Kantoku.Agent.Server.info/2` answers."
  @spec about(t) :: map
  def about(%{pending: nil, revision: revision} = holding), do: about(holding, revision, 0)
  def about(%{pending: pending} = holding), do: about(holding, pending.handed, length(pending.outbox))

  defp about(holding, kept, undelivered) do
    %{revision: holding.revision, kept: kept, incarnation: holding.incarnation, undelivered: undelivered}
  end

  @doc "What is pending, to be changed and given to `put_pending/2`."
  @spec pending(t) :: Pending.t()
  def pending(%{pending: nil, revision: revision}), do: Pending.none(revision)
  def pending(%{pending: pending}), do: pending

  @doc "Takes back what `pending/1` gave."
  @spec put_pending(t, Pending.t()) :: t
  def put_pending(holding, pending) do
    if Pending.over?(pending, holding.revision), do: %{holding | pending: nil}, else: %{holding | pending: pending}
  end

  @doc "Emits an event about this agent."
  @spec emit(t, Telemetry.name(), map, map) :: :ok
  def emit(%{config: config, id: id}, name, measurements, metadata) do
    if Telemetry.listening?(name) do
      metadata = Map.merge(metadata, %{id: id, module: config.module})
      Telemetry.emit(config.instance, name, measurements, metadata)
    end

    :ok
  end
end

defmodule Kantoku.Engine.Elixir.Pool.State do
  # All that is known of a pool, and what the command in hand has to have done (`effects`). Knows no rules.
  #
  #   S1. Each ticket is in one state: waiting, and then in Waiting; or served, held or abandoned, and then at a worker.
  #   S2. Every ticket of a process stands with it in `owners`; an owner's death is asked for once.
  #   S3. arrived = waiting + served + refused + expired + cancelled, where served counts what workers were given.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.{Codel, Credits, Mean, Measures, Quota, Standing, Ticket, Waiting, Workers}

  @counts %{arrived: 0, served: 0, refused: 0, expired: 0, cancelled: 0, over_quota: 0, unlimited: 0}
          |> Map.merge(%{failed: 0, given_up: 0, lost: 0, returned: 0, dropped: 0, drained: 0})

  @enforce_keys [:name, :foreman, :config, :workers, :codel, :credits, :standing, :next, :alive?]
  defstruct @enforce_keys ++
              [
                weights: %{},
                waiting: Waiting.new(),
                quota: %Quota{},
                tickets: %{},
                owners: %{},
                abandoned: MapSet.new(),
                counts: @counts,
                measures: %Measures{},
                wait: nil,
                hold: nil,
                # In thousandths.
                cost: nil,
                pressed: false,
                effects: []
              ]

  @type effect :: {:send, pid, message :: term} | {:watch, pid}

  @type t :: %__MODULE__{
          name: atom,
          foreman: pid,
          config: Kantoku.Engine.Pools.config(),
          weights: %{Kantoku.Engine.Pools.tenant() => pos_integer},
          workers: Workers.t(),
          waiting: Waiting.t(),
          codel: Codel.t(),
          credits: Credits.t(),
          standing: Standing.t(),
          quota: Quota.t(),
          tickets: %{non_neg_integer => Ticket.t()},
          owners: %{pid => MapSet.t(non_neg_integer)},
          abandoned: MapSet.t(non_neg_integer),
          counts: %{atom => non_neg_integer},
          measures: Measures.t(),
          wait: Mean.t(),
          hold: Mean.t(),
          cost: Mean.t(),
          pressed: boolean,
          next: non_neg_integer,
          alive?: (pid -> boolean),
          effects: [effect]
        }

  @typedoc "Where a pool begins: its first ticket's number, what random choices are drawn from, and whether a process lives."
  @type start :: %{first: non_neg_integer, random: :rand.state(), alive?: (pid -> boolean)}

  @spec new(atom, pid, Kantoku.Engine.Pools.config(), start, integer) :: t
  def new(name, foreman, config, start, now) do
    %__MODULE__{
      name: name,
      foreman: foreman,
      config: config,
      workers: Workers.new(config, start.random),
      codel: Codel.new(config, now),
      credits: Credits.new(start.first),
      standing: Standing.new(now),
      next: start.first,
      alive?: start.alive?
    }
    |> configure(foreman, config)
  end

  @doc "Takes over another foreman and configuration. What is admitted stays so."
  @spec configure(t, pid, Kantoku.Engine.Pools.config()) :: t
  def configure(state, foreman, config) do
    %{
      state
      | foreman: foreman,
        config: config,
        weights: Map.new(config.weights),
        workers: Workers.configure(state.workers, config),
        codel: Codel.configure(state.codel, config),
        quota: Quota.configure(state.quota, config.quotas)
    }
  end

  @doc "The effects so far, in order, and the state without them."
  @spec effects(t) :: {[effect], t}
  def effects(state), do: {Enum.reverse(state.effects), %{state | effects: []}}

  @spec effect(t, effect) :: t
  def effect(state, effect), do: %{state | effects: [effect | state.effects]}

  @doc "A message to who asked for a ticket. Casts have nobody."
  @spec tell(t, Ticket.t(), term) :: t
  def tell(state, %{owner: nil}, _what), do: state
  def tell(state, ticket, what), do: effect(state, {:send, ticket.owner, {:kantoku_pool, ticket.tag, what}})

  @spec tell_foreman(t, term) :: t
  def tell_foreman(state, what), do: effect(state, {:send, state.foreman, {:kantoku_pool, state.name, what}})

  @doc "The foreman hears once between two ticks that a request could not be served at once."
  @spec press(t) :: t
  def press(%{pressed: true} = state), do: state
  def press(state), do: tell_foreman(%{state | pressed: true}, :pressed)

  @spec count(t, atom) :: t
  def count(state, what), do: %{state | counts: Map.update!(state.counts, what, &(&1 + 1))}

  @spec overloaded?(t) :: boolean
  def overloaded?(state), do: state.codel.overloaded
end

defmodule Kantoku.Agent do
  @moduledoc """
  An agent is data: `new/1` makes it, `cmd/2` turns it and an action into the next one and a list of directives.

  Both are pure, so an agent can be used, tested and replayed without any process. Started by an instance, the same module is held by
  `Kantoku.Agent.Server`, which gives it a mailbox, snapshots, and a handler that carries its directives out into the world. The
  results are equal either way. The contract is Jido's, so a module written for one fits the other.

      iex> defmodule Counter do
      ...>   use Kantoku.Agent
      ...>   defstruct count: 0
      ...>
      ...>   @impl true
      ...>   def new(fields), do: struct!(__MODULE__, fields)
      ...>
      ...>   @impl true
      ...>   def cmd(counter, {:add, n}) do
      ...>     counter = %{counter | count: counter.count + n}
      ...>     {counter, [{:reply, counter.count}]}
      ...>   end
      ...> end
      iex> {counter, directives} = Counter.cmd(Counter.new(count: 1), {:add, 2})
      iex> {counter.count, directives}
      {3, [{:reply, 3}]}

  ## Directives

  A directive is any term that says what should happen outside of the agent. `{:reply, term}` answers the call that is being served
  (the first one, if there are several; without one a call is answered `:ok`). All others go to the handler: the module given as
  option `:handler`, or the agent's own `c:handle_directive/3`.

  They are delivered in order, one at a time, in a process beside the server, so that a slow model call holds up no one. Before that
  the store has kept the revision that made them, and it keeps them until the handler took them: **at least once, under one id**. An
  agent that was killed meanwhile delivers them again under the same id, so a handler that remembers ids, or hands them on as an
  idempotency key, pays for a model call once.

  ## Data that changes its shape

  `c:vsn/0` says which shape of data this code writes. A snapshot of another one goes through `c:migrate/2` first. A migration that
  fails never costs the data: the agent is parked with its snapshot as it was, until code comes that can read it.
  """

  @typedoc "The agent's data: any term, usually a struct."
  @type t :: term

  @typedoc "What an agent is told: any term."
  @type action :: term

  @typedoc "What an agent wants done: any term. `{:reply, term}` is answered by the server itself."
  @type directive :: {:reply, term} | term

  @typedoc """
  Names a directive, stable from the revision that made it to its delivery: up to 40 ASCII characters, never used again by any agent,
  fit for an `Idempotency-Key`.
  """
  @type directive_id :: binary

  @typedoc """
  Who delivers: `revision` is the one that made the directive, `attempt` counts deliveries by this incarnation from 1, `server` is the
  agent's process.
  """
  @type context :: %{
          instance: atom,
          id: term,
          module: module,
          server: pid,
          incarnation: pos_integer,
          revision: pos_integer,
          attempt: pos_integer
        }

  @doc "Makes the agent."
  @callback new(args :: term) :: t

  @doc "The next agent, and what it wants done. Pure: no effects, no messages."
  @callback cmd(t, action) :: {t, [directive]}

  @doc "The version of the data's shape; 1 if not given."
  @callback vsn() :: term

  @doc """
  Brings data of another version to this one. Without it a snapshot of another version parks the agent.
  """
  @callback migrate(from :: term, t) :: {:ok, t} | {:error, reason :: term}

  @doc """
  Carries a directive out. Runs in a process of its own, linked to the server; it may block.

    * `:ok` - done;
    * `{:ok, action}` - done, and the agent is told: the action and the end of the directive are one change;
    * `{:error, reason}`, or a crash - not done: tried again after a back-off, and what follows waits. See the options
      `:directive_attempts` and `:on_undeliverable` of `Kantoku.Agent.Server`.
  """
  @callback handle_directive(directive, directive_id, context) :: :ok | {:ok, action} | {:error, reason :: term}

  @doc "Called, as `c:cmd/2`, with a message that is no call or cast. Without it such messages are dropped with a warning."
  @callback handle_info(message :: term, t) :: {t, [directive]}

  @optional_callbacks vsn: 0, migrate: 2, handle_directive: 3, handle_info: 2

  @doc false
  defmacro __using__(_opts) do
    quote do
      @behaviour Kantoku.Agent

      @impl Kantoku.Agent
      def vsn, do: 1

      @impl Kantoku.Agent
      def migrate(from, _agent), do: {:error, {:no_migration, from, vsn()}}

      @impl Kantoku.Agent
      def handle_directive(directive, _id, _context), do: {:error, {:no_handler, directive}}

      defoverridable vsn: 0, migrate: 2, handle_directive: 3
    end
  end

  # The callbacks that may be missing, for the server. An adapter or a module of Jido's need not `use` this one.

  @doc false
  @spec vsn(module) :: term
  def vsn(module), do: if(exports?(module, :vsn, 0), do: module.vsn(), else: 1)

  @doc false
  @spec migrate(module, from :: term, t) :: {:ok, t} | {:error, reason :: term}
  def migrate(module, from, agent) do
    cond do
      from === vsn(module) -> {:ok, agent}
      exports?(module, :migrate, 2) -> module.migrate(from, agent)
      true -> {:error, {:no_migration, from, vsn(module)}}
    end
  end

  @doc false
  @spec exports?(module, atom, arity) :: boolean
  def exports?(module, function, arity) do
    Code.ensure_loaded?(module) and function_exported?(module, function, arity)
  end
end

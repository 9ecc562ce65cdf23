if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Life do
    # What Kantoku knows of a Jido agent beside Jido's own state. It lies in the dictionary of the agent's process: so the state of the
    # server is exactly Jido's for `:sys` and for all that reads it, and no task that Jido hands that state is handed this. It lies there as a
    # function, for a crash report prints the dictionary, and what is in here is the agent's.
    @moduledoc false

    alias Kantoku.Agent.Holding

    @key __MODULE__

    @enforce_keys [:holding, :restore, :started, :probe_period]
    defstruct [
      :holding,
      :restore,
      :started,
      :probe_period,
      # Callers whose turn has not come, as `{from, signal, carried}`, and how many.
      line: {[], []},
      # Whether the result of a call waits for the store: then Jido's state is older than what is held.
      ahead: false,
      waiting: 0,
      # What the entry says, and what is still to be said.
      handle: nil,
      load: 0,
      counted: 0,
      hidden: 0,
      status: nil,
      shown_at: nil,
      showing: nil,
      # The call that goes on, as of the last look, and the task that works on it.
      looking: nil,
      call: nil,
      task: nil,
      # Its span, if there is one.
      span: nil
    ]

    @type t :: %__MODULE__{
            holding: Holding.t(),
            restore: boolean,
            started: integer,
            probe_period: pos_integer,
            line: :queue.queue(waiting),
            waiting: non_neg_integer,
            ahead: boolean,
            handle: Kantoku.Registry.Load.t() | nil,
            load: non_neg_integer,
            counted: non_neg_integer,
            hidden: non_neg_integer,
            status: atom,
            shown_at: integer | nil,
            showing: reference | nil,
            looking: reference | nil,
            call: reference | nil,
            task: reference | nil,
            span: Kantoku.Trace.Open.t() | nil
          }

    @typedoc "Who waits, with what he wants and what came with that of a trace."
    @type waiting :: {GenServer.from(), struct, Kantoku.Trace.Handling.carried()}

    @doc "That of the calling process."
    @spec get() :: t
    def get, do: Process.get(@key).()

    @doc "Keeps it."
    @spec put(t) :: t
    def put(%__MODULE__{} = life) do
      Process.put(@key, fn -> life end)
      life
    end

    @doc "Changes what is held of the agent."
    @spec update_holding((Holding.t() -> Holding.t())) :: t
    def update_holding(fun) do
      life = get()
      put(%{life | holding: fun.(life.holding)})
    end

    # The line -----------------------------------------------------------------------------------------------------------

    @doc "A caller joins the line."
    @spec queue(t, waiting) :: t
    def queue(life, call), do: %{life | line: :queue.in(call, life.line), waiting: life.waiting + 1}

    @doc "The caller whose turn it is; one that is dead has none."
    @spec next(t) :: {waiting | nil, t}
    def next(%{waiting: 0} = life), do: {nil, life}

    def next(life) do
      {{:value, {from, _signal, _carried} = call}, line} = :queue.out(life.line)
      life = %{life | line: line, waiting: life.waiting - 1}
      if gone?(from), do: next(life), else: {call, life}
    end

    defp gone?({pid, _tag}), do: node(pid) == node() and not Process.alive?(pid)

    @doc "All who wait, with what they want; the line is empty then."
    @spec take(t) :: {[waiting], t}
    def take(life), do: {:queue.to_list(life.line), %{life | line: :queue.new(), waiting: 0}}

    @doc "All who wait; the line is empty then."
    @spec leave(t) :: {[GenServer.from()], t}
    def leave(life) do
      {calls, life} = take(life)
      {Enum.map(calls, &elem(&1, 0)), life}
    end
  end
end

defmodule Kantoku do
  @moduledoc """
  The production layer around agents: started, named, found, restarted with patience, brought back with their state, drained.

  An instance is one supervision tree; give it a place in yours:

      children = [{Kantoku, name: MyApp.Agents}]

      {:ok, pid} = Kantoku.start_agent(MyApp.Agents, MyApp.Counter, id: "c1")
      {:ok, reply} = Kantoku.call(MyApp.Agents, "c1", :read)

  OTP's own supervisors hold the agents; Kantoku decides *when* one is started again. A crash is answered at once the first time, then
  after a doubling delay with jitter; who crashes too often is parked, while its siblings live on (see `Kantoku.Domain`). Every error is
  a `Kantoku.Error`, with a `reason` from a closed list and a `message/1` that says what to do.

  Many callers share workers of one kind through a pool (`Kantoku.Pool`).

  Agents are named in the registry of the instance, so `{:via, Kantoku.Registry, {MyApp.Agents, id}}` works wherever OTP takes a name.

  ## Options

  #{Kantoku.Config.docs()}
  """

  alias Kantoku.{Agents, Calls, Config, Drain, Error, Instance, Instances}
  alias Kantoku.Domain.{Book, Gauges}
  alias Kantoku.Health.Gate

  @type instance :: atom
  @type id :: term

  @typedoc """
  What a drain did: `agents` that were up, how many were `stopped`, the ids that were `cut_off` at work (`{:pool, name}` for a pool's
  requests), its `duration` in ms.
  """
  @type drained :: %{agents: non_neg_integer, stopped: non_neg_integer, cut_off: [term], duration: non_neg_integer}

  @typedoc """
  What can be started: a module with `new/1` and `cmd/2` (or `{module, args}`), an adapter's tuple (`Kantoku.Agent.Adapter`), or any
  OTP child spec.
  """
  @type spec :: module | tuple | Supervisor.child_spec()

  @doc "An instance as a child of your supervisor. It may take as long to stop as its drain needs."
  @spec child_spec(keyword) :: Supervisor.child_spec()
  def child_spec(opts) do
    start = {__MODULE__, :start_link, [Config.veil(opts)]}
    %{id: {__MODULE__, opts[:name]}, start: start, type: :supervisor, shutdown: :infinity}
  end

  @doc "Starts an instance. Raises `ArgumentError` on a bad option."
  @spec start_link(keyword) :: Supervisor.on_start()
  def start_link(opts), do: opts |> Config.new!() |> Instance.start_link()

  @doc """
  Starts an agent.

    * `:id` - its name; any term but `nil`. Required unless the child spec has one;
    * `:domain` - default `:default`;
    * `:restart` - `:permanent`, `:transient` or `:temporary`, as in OTP; else the child spec's, else the domain's;
    * `:shutdown` - as in OTP;
    * `:tags`, `:capabilities` (lists), `:metadata` (a map) - what `find/2` finds it by;
    * `:restore` - `false` starts a module with `cmd/2` afresh the first time, whatever the store has of that id; default `true`;
    * all others go to the agent: for modules with `cmd/2` those of `Kantoku.Agent.Options`, for an adapter its own.

  Returns what `DynamicSupervisor.start_child/2` does: `{:ok, pid}`, `:ignore`, `{:error, {:already_started, pid}}` or another
  `{:error, reason}`, a `Kantoku.Error` if the reason is Kantoku's: `:draining`, `:limit`, `:restarting`, `:parked` or `:stopping` (who
  had that name before is not gone), `:start_failed`, `:not_running`. Bad arguments raise `ArgumentError`.
  """
  @spec start_agent(instance, spec, keyword) :: DynamicSupervisor.on_start_child()
  defdelegate start_agent(instance, spec, opts \\ []), to: Agents, as: :start

  @doc "Stops an agent in order, and answers when it is gone. It does not come back by itself."
  @spec stop_agent(instance, id) :: :ok | {:error, Error.t()}
  defdelegate stop_agent(instance, id), to: Agents, as: :stop

  @doc "Stops an agent in order and starts it again, at once and without charging it for a crash."
  @spec restart_agent(instance, id) :: {:ok, pid} | {:error, Error.t() | term}
  defdelegate restart_agent(instance, id), to: Agents, as: :restart

  @doc "Tries a parked or waiting agent now, with a clean record. `{:error, %Kantoku.Error{reason: :not_parked}}` if it is neither."
  @spec unpark(instance, id) :: :ok | {:error, Error.t()}
  defdelegate unpark(instance, id), to: Agents

  @doc "The pid of a living agent, or `nil`."
  @spec whereis(instance, id) :: pid | nil
  def whereis(instance, id) do
    case Kantoku.Engine.whereis(instance, id) do
      pid when is_pid(pid) -> pid
      _ -> nil
    end
  end

  @doc """
  The pid of an agent, or why it has none: `:restarting` and `:parked` with `retry_in` ms in the details, `:stopping`, `:not_found`,
  `:not_running`.
  """
  @spec fetch(instance, id) :: {:ok, pid} | {:error, Error.t()}
  defdelegate fetch(instance, id), to: Agents

  @doc """
  Calls an agent, as `GenServer.call/3` does, but never exits: `:timeout`, `:crashed` and what `fetch/2` answers come as errors, and
  `:draining` when new work is refused.

  The last argument is a time-out in ms or `:infinity`, or options: `:timeout`, the same, and `:trace`, a `Kantoku.Trace.Context` that the
  call is to be traced below in place of what is current (`Kantoku.Trace`). A bad one raises `ArgumentError`.

      {:ok, reply} = Kantoku.call(MyApp.Agents, "ada", request, timeout: 1_000, trace: context)
  """
  @spec call(instance, id, request :: term, timeout | [timeout: timeout, trace: Kantoku.Trace.Context.t() | nil]) ::
          {:ok, reply :: term} | {:error, Error.t()}
  defdelegate call(instance, id, request, timeout_or_options \\ 5_000), to: Calls

  @doc "As `call/4`, but returns the reply and raises the error."
  @spec call!(instance, id, request :: term, timeout | keyword) :: term
  def call!(instance, id, request, timeout_or_options \\ 5_000) do
    case call(instance, id, request, timeout_or_options) do
      {:ok, reply} -> reply
      {:error, error} -> raise error
    end
  end

  @doc """
  Sends an agent a request without waiting. `:ok` says that there was an agent to send it to. The option `:trace` is as for `call/4`.
  """
  @spec cast(instance, id, request :: term, trace: Kantoku.Trace.Context.t() | nil) :: :ok | {:error, Error.t()}
  defdelegate cast(instance, id, request, opts \\ []), to: Calls

  @doc "The data of an agent of a module with `cmd/2`, as its last command left it. Errors as `call/4`."
  @spec state(instance, id, timeout) :: {:ok, Kantoku.Agent.t()} | {:error, Error.t()}
  defdelegate state(instance, id, timeout \\ 5_000), to: Calls

  @doc "A bounded stream of the instance's events as messages. See `Kantoku.Telemetry.subscribe/2`."
  @spec subscribe(instance, keyword) :: {:ok, Kantoku.Telemetry.subscription()}
  defdelegate subscribe(instance, opts \\ []), to: Kantoku.Telemetry

  @doc """
  All agents: `%{id, domain, status, pid, restart, restarts, module}`, in no order. `status` is `:starting`, `:up`, `:restarting`,
  `:parked` or, for a declared one, `:stopped`. Reads everything; to find agents by what they are, use `find/2`.
  """
  @spec agents(instance) :: {:ok, [map]} | {:error, Error.t()}
  defdelegate agents(instance), to: Agents, as: :list

  @doc """
  Why an agent does not serve: all reasons that there are now, each with evidence, since when, and the call that lifts it
  (`Kantoku.Why`). An empty list: nothing is in its way. Also of a pool, `{:pool, name}`, and of a refused call, by its error.

      {:ok, [%Kantoku.Why{reason: :parked, lift: {module, function, args}} | _]} = Kantoku.why(MyApp.Agents, "ada")
      apply(module, function, args)

      {:error, error} = Kantoku.Pool.call({MyApp.Agents, :writers}, request)
      {:ok, reasons} = Kantoku.why(MyApp.Agents, error)

  Read from tables, so it is answered when nothing else is. `{:error, %Kantoku.Error{}}`: `:not_found`, `:not_running`.
  """
  @spec why(instance, id | {:pool, atom} | Error.t()) :: {:ok, [Kantoku.Why.t()]} | {:error, Error.t()}
  defdelegate why(instance, of), to: Kantoku.Why

  @doc """
  Runs `fun`, which waits for something outside for `ms` at most, and answers what it does.

  In an agent's process this time does not count against its `:max_busy` (`Kantoku.Agent.Options`): who waits for a model for a
  minute is fine, and who waits longer than it said is stuck (`Kantoku.Health`). Anywhere else it only runs `fun`.

      answer = Kantoku.waiting(60_000, fn -> MyApp.Model.ask(prompt) end)
  """
  @spec waiting(pos_integer, (() -> result)) :: result when result: term
  def waiting(ms, fun) when is_integer(ms) and ms > 0 and is_function(fun, 0),
    do: Kantoku.Health.Pulse.waiting(ms, fun)

  @doc """
  The agents that fit criteria, in their order, but for those whose readiness or startup probe has not passed (`Kantoku.Probe`). See
  `Kantoku.Registry.find/2`, which finds these as well.
  """
  @spec find(instance, keyword) :: [{id, pid}] | [pid] | [id] | [Kantoku.Entry.t()]
  def find(instance, criteria), do: Kantoku.Registry.find(instance, Gate.criteria(criteria))

  @doc "How many agents fit criteria; see `find/2`, `Kantoku.Registry.count/2`."
  @spec count(instance, keyword) :: non_neg_integer
  def count(instance, criteria), do: Kantoku.Registry.count(instance, Gate.criteria(criteria))

  @doc """
  The agents that fit criteria (see `find/2`), and from now on a message for each change: who is ready joins, who is not any more
  leaves. See `Kantoku.Registry.watch/2`.
  """
  @spec watch(instance, keyword) :: {:ok, reference, [Kantoku.Entry.t()]}
  def watch(instance, criteria), do: Kantoku.Registry.watch(instance, Gate.criteria(criteria))

  @doc "What an instance holds: `%{agents, draining, domains}`, the last by name as `Kantoku.Domain.status/2`."
  @spec status(instance) :: {:ok, map} | {:error, Error.t()}
  def status(instance) do
    Instances.reading(instance, fn _rows, book ->
      domains =
        for name <- Book.domains(book), {:ok, status} <- [Kantoku.Domain.status(instance, name)], do: {name, status}

      gauges = hd(Book.chain(book, nil))
      {:ok, %{agents: Gauges.agents(gauges), draining: Gauges.draining?([gauges]), domains: Map.new(domains)}}
    end)
  end

  @doc """
  Takes the instance out of service: refuses new work, lets work in flight finish for up to `timeout` ms (`nil`: the instance's
  `:drain` option), then stops all agents in the order of their domains. An orderly shutdown of the instance does the same.
  """
  @spec drain(instance, timeout :: non_neg_integer | nil) :: {:ok, drained} | {:error, Error.t()}
  def drain(instance, timeout \\ nil) do
    with {:ok, {_rows, book}} <- Instances.tables(instance), do: {:ok, Drain.Server.drain(book, nil, timeout)}
  end
end

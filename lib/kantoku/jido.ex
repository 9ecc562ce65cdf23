defmodule Kantoku.Jido do
  @moduledoc """
  Jido's agents in Kantoku's domains.

      Kantoku.start_agent(MyApp.Agents, {Kantoku.Jido, MyApp.Planner, jido: MyApp.Jido}, id: "planner-1")

  The process is a Jido agent server in all that others see of it: `Jido.whereis/2` finds it as `Kantoku.whereis/2` does,
  `Jido.AgentServer`'s functions work on it, the agent's module is untouched. What is Kantoku's is around it:

    * a domain restarts it with back-off, each agent on its own account, and parks what keeps crashing;
    * its state is written by the instance's policy (`Kantoku.Agent.Options`) and is there again after a crash, a deploy, or a restart
      of the VM if the store is on disk. The module's own `checkpoint/2` and `restore/2` are used;
    * a task that dies in the middle of a call is noticed, the agent replaced with its state, and who waits is told;
    * callers wait in a line that is seen as the agent's load and that no call pays for;
    * an idle agent is packed to its least size.

  ## The tuple

  `{Kantoku.Jido, agent, options}` or `{Kantoku.Jido, agent}`. `agent` is a module, or an agent made by one; `options` are those of
  `Jido.AgentServer` (`:jido`, `:initial_state`, `:partition`, `:error_policy`, ...), of which `:id`, `:agent`, `:name` and `:registry` are
  given here. `:jido` is the Jido instance, which has to run; by default `Jido`.

  ## Options of `Kantoku.start_agent/3`

  Those that every agent has, those of `Kantoku.Agent.Options` that are about snapshots (`:store`, `:snapshot`, `:durability`,
  `:on_damaged`, `:max_snapshot_bytes`, `:redact`, `:hibernate_after`), and:

    * `:restore` - `false` starts afresh the first time, whatever the store has; default `true`;
    * `:probe_period` - ms between two looks at a call that is still going on (default 10,000, as Kubernetes' probes have it). An agent
      whose task is dead is found within two of them.

  Tags (name, category and tags), capabilities (the names of its actions and what its plugins can do) and metadata (category, version) of
  the agent's entry are those of its module unless `:tags`, `:capabilities` or `:metadata` are given. The entry's status follows the
  server's (`:initializing`, `:idle`, `:processing`), its load is how much waits or is at work.

  The guide "Jido" has examples.
  """
  @behaviour Kantoku.Agent.Adapter

  if Code.ensure_loaded?(Jido.AgentServer) do
    @impl true
    def child(instance, id, spec, opts), do: Kantoku.Jido.Wish.child(instance, id, spec, opts)
  else
    @impl true
    def child(_instance, _id, spec, _opts) do
      raise ArgumentError, "#{inspect(spec)} cannot be started: " <> missing(Code.ensure_loaded?(Jido.AgentServer))
    end

    defp missing(true),
      do: "Kantoku was compiled when Jido was not there yet; compile it again with: mix deps.compile kantoku --force"

    defp missing(false), do: "Jido is not there; add {:jido, \"~> 2.3\"} to the deps in mix.exs, then run: mix deps.get"
  end

  @doc """
  Whether Kantoku was compiled with Jido, and so can start its agents.

      iex> is_boolean(Kantoku.Jido.compiled?())
      true
  """
  @spec compiled?() :: boolean
  def compiled?, do: unquote(Code.ensure_loaded?(Jido.AgentServer))

  @doc """
  The trace of a signal of Jido's as a context, or `nil`. Jido's own ids, which are UUIDs, are read as W3C's. Whether it is recorded Jido does not say
  (`sampled` is `nil`): the sampler of the instance decides.

      Kantoku.call(MyApp.Agents, "planner-1", signal, trace: Kantoku.Jido.context(signal))
  """
  @spec context(signal :: struct) :: Kantoku.Trace.Context.t() | nil
  def context(signal), do: if(compiled?(), do: traced().context(signal))

  @doc """
  A signal of Jido's with a context for its trace, by default the current one; without a context it stays as it is.

  A signal that has none and is sent by `Kantoku.call/4`, `Kantoku.cast/4` or through a pool is given the trace of that, if it is recorded. One that has
  its own, and is sent where nothing is current, is called below that. The agent serves it in a span of its own (`Kantoku.Trace`), in whose trace it goes on.
  """
  @spec put_context(signal, Kantoku.Trace.Context.t() | nil) :: signal when signal: struct
  def put_context(signal, context \\ Kantoku.Trace.context())
  def put_context(signal, nil), do: signal
  def put_context(signal, context), do: if(compiled?(), do: traced().put_context(signal, context), else: signal)

  @doc false
  def follow(signal, place), do: if(compiled?(), do: traced().follow(signal, place), else: signal)

  # Known by name only, as it is compiled with Jido.
  defp traced, do: Module.concat(__MODULE__, "Traced")
end

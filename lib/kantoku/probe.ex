defmodule Kantoku.Probe do
  @moduledoc """
  A question that is asked of agents again and again, with Kubernetes' fields, defaults and meaning.

      {Kantoku,
       name: MyApp.Agents,
       health: [probes: [[name: :model, kind: :readiness, for: {:type, MyApp.Writer}, check: {MyApp.Writer, :model_up?, []}]]]}

  What agents show by themselves is looked at without asking (`Kantoku.Health`), and most need no more. A probe is for what only the
  agent, or what it depends on, can say. It is run in a process of its own, so it may wait; but what it sends to an agent waits
  behind that agent's work. So an agent that is busy fails a probe by message: let liveness ask what does not queue, or leave
  liveness to the passive look.

  ## Options

  #{Kantoku.Probe.Config.docs()}

  A probe of `kind`

    * `:liveness` - who fails it is killed, and its domain restarts it, with its back-off;
    * `:readiness` - who fails it, or has not passed it yet, is not found by `Kantoku.find/2` and gets no work from its pool, until it passes;
    * `:startup` - until it has passed once the others are not asked. Who fails it is killed, too;
    * `:custom` - who fails it is `:degraded`, and nothing else happens.

  The first question comes `initial_delay` after the agent was first seen, the following ones each `period`, all with a jitter of up to a
  tenth of the period so that agents which started together are not asked together. An answer that takes longer than `timeout`,
  an exception or an exit is a failure. Names, meaning and defaults are those of
  [Kubernetes](https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Probe); times are in ms here.

  ## Checks

    * a function of the agent's pid;
    * `{module, function, args}`, called with the pid before `args`;
    * a module with this behaviour;
    * `{:message, term}`: a call to the agent, which counts as what it answers.

  `:ok`, `true`, `{:ok, _}` and, of a message, every other answer, are successes; `:error`, `false` and `{:error, reason}` failures; `:unknown` says
  that it cannot be told, which makes the agent `:unknown` and never restarts it.
  """

  alias Kantoku.Probe.Config

  @type kind :: Kantoku.Engine.Health.kind()

  @typedoc "What it is asked of."
  @type scope :: :all | {:agent, id :: term} | {:type, module} | {:domain, atom} | {:pool, atom}

  @type check :: (pid -> term) | mfa | {module, atom, list} | module | {:message, term}

  @type t :: %__MODULE__{
          name: term,
          id: pos_integer,
          kind: kind,
          for: scope,
          check: check,
          initial_delay: non_neg_integer,
          period: pos_integer,
          timeout: pos_integer,
          success_threshold: pos_integer,
          failure_threshold: pos_integer,
          sample: :all | {:sample, pos_integer} | :adaptive
        }

  @enforce_keys [:name, :id, :kind, :for, :check]
  defstruct @enforce_keys ++
              [
                initial_delay: 0,
                period: 10_000,
                timeout: 1_000,
                success_threshold: 1,
                failure_threshold: 3,
                sample: :all
              ]

  @doc "Whether the agent with this pid passes. Runs in a process of its own, which is killed after `timeout`."
  @callback check(agent :: pid) :: :ok | :unknown | {:error, term}

  @doc false
  @spec all!([keyword]) :: [t]
  defdelegate all!(probes), to: Config

  @doc false
  @spec thresholds(t) :: Kantoku.Engine.Health.probe()
  def thresholds(probe), do: {probe.id, probe.kind, probe.success_threshold, probe.failure_threshold}

  @doc false
  @spec asks?(t, id :: term, domain :: term, type :: module) :: boolean
  def asks?(%{for: :all}, _id, _domain, _type), do: true
  def asks?(%{for: {:agent, id}}, id, _domain, _type), do: true
  def asks?(%{for: {:type, type}}, _id, _domain, type), do: true
  def asks?(%{for: {:domain, domain}}, _id, domain, _type), do: true
  def asks?(%{for: {:pool, pool}}, _id, {:pool, pool}, _type), do: true
  def asks?(_probe, _id, _domain, _type), do: false

  @doc "Asks once, in the calling process and for as long as that takes: what it found, and why."
  @spec ask(t, pid) :: {Kantoku.Engine.Health.outcome(), term}
  def ask(%{check: check, timeout: timeout}, pid) do
    check |> answer(pid, timeout) |> outcome(match?({:message, _}, check))
  catch
    kind, reason -> {:failure, {kind, reason}}
  end

  defp answer({:message, message}, pid, timeout), do: GenServer.call(pid, message, timeout)
  defp answer({module, function, args}, pid, _timeout), do: apply(module, function, [pid | args])
  defp answer(module, pid, _timeout) when is_atom(module), do: module.check(pid)
  defp answer(fun, pid, _timeout), do: fun.(pid)

  defp outcome(answer, _any?) when answer in [:ok, true], do: {:success, nil}
  defp outcome({:ok, _value}, _any?), do: {:success, nil}
  defp outcome(:unknown, _any?), do: {:unknown, :unknown}
  defp outcome(answer, _any?) when answer in [:error, false], do: {:failure, answer}
  defp outcome({:error, reason}, _any?), do: {:failure, reason}
  defp outcome(_answer, true), do: {:success, nil}
  defp outcome(answer, false), do: {:failure, {:bad_return, answer}}
end

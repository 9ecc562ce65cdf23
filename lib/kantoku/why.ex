defmodule Kantoku.Why do
  @moduledoc """
  One reason why an agent or a pool does not serve, or why a call was refused: what `Kantoku.why/2` answers a list of.

    * `reason` - one of those below;
    * `since` - for how many ms, or `nil` where nobody has noted that;
    * `evidence` - what is known of it, a map;
    * `lift` - the call that ends it, `{module, function, args}` as for `apply/3`, or `nil` where it ends by itself or by something outside;
    * `text` - the same as a sentence.

  | reason | of | meaning | evidence |
  |---|---|---|---|
  | `:stopping`, `:stopped` | agent | it is being stopped; it is a declared agent that was stopped | |
  | `:parked` | agent | it crashed too often, or asked for it | `restarts`, `crashes` that its budget counts, `retry_in` (ms or `:never`) |
  | `:restarting` | agent | it crashed and waits for its back-off, or for the one of its group that crashed | the same |
  | `:starting` | agent | it is being started | |
  | `:draining` | agent, pool | its instance or domain takes no new work | |
  | `:not_ready` | agent | it is not found and gets no work of its pool until it passes a probe | `probe` (`nil`: it has not passed one yet), `found` |
  | `:ejected` | agent | a pool gives it nothing new, for what its requests came to, or by hand | `cause`, `left` (ms or `:infinity`), `times`, and what was found |
  | `:stuck` | agent | it is beyond its limit, or waits in a circle | `busy_for`, `over` (ms) or `waits_for`; `doing`: `:runs` or `:stands`, and `at`, the function it is in |
  | `:probe` | agent | a liveness, startup or custom probe fails | `probe`, `kind`, `found` |
  | `:waiting` | agent | it waits for an answer of another agent, or for something outside | `waits_for`, an id, or a pid; or `:outside` and ms that are `left` |
  | `:at_risk` | agent | it serves, and nears a limit | `sign`, `value`, `limit`, `in` (ms until it is there), `rise` a second |
  | `:busy` | agent | it is at work, within its limit or without one | `busy_for`, `over` (below 0: ms that are left; `nil`: no limit) |
  | `:breaker_open` | agent, pool, call | its breaker (`{:agent, id}`, `{:pool, name}`) lets no call pass | `breaker`, `state`, `retry_in`, `failure_rate` |
  | `:workers` | pool | workers are missing | `missing`, `wanted`, `exit` of the last failure, `workers`: for each that is down, why |
  | `:panic` | pool | too many workers are ejected or not ready, so all that live are given work | `ejected`, `not_ready`, `workers` |
  | `:queue_full`, `:overloaded` | pool, call | as many wait as may; waits are too long | `queue`, `retry_in` of a call |
  | `:overloaded` | pool, call | the VM is short of something, and the pool sheds low priorities | `level`, `memory`, `run_queue`, `sheds` |
  | any other of `Kantoku.Error` | call | why it was refused | the error's details |
  """

  alias Kantoku.Error

  @enforce_keys [:reason, :text]
  defstruct [:reason, :since, :lift, :text, evidence: %{}]

  @type t :: %__MODULE__{
          reason: atom,
          since: non_neg_integer | nil,
          evidence: map,
          lift: {module, atom, list} | nil,
          text: String.t()
        }

  alias __MODULE__.{OfAgent, OfCall, OfPool}

  @doc false
  @spec why(atom, term) :: {:ok, [t]} | {:error, Error.t()}
  def why(instance, %Error{} = error), do: OfCall.why(instance, error)

  def why(instance, {:pool, name} = id) do
    with {:error, %{reason: :not_found}} <- OfAgent.why(instance, id), do: OfPool.why(instance, name)
  end

  def why(instance, id), do: OfAgent.why(instance, id)

  @doc false
  @spec breaker(atom, term) :: [t]
  def breaker(instance, name) do
    case Kantoku.Breaker.status({instance, name}) do
      {:ok, %{state: state} = status} when state in [:open, :forced_open] -> [open({instance, name}, status)]
      _lets_pass_or_is_none -> []
    end
  end

  defp open(breaker, status) do
    %__MODULE__{
      reason: :breaker_open,
      since: status.since,
      evidence: status |> Map.take([:state, :retry_in, :failure_rate, :slow_call_rate]) |> Map.put(:breaker, breaker),
      lift: {Kantoku.Breaker, :reset, [breaker]},
      text:
        "#{Exception.message(Error.new(:breaker_open, breaker: breaker, retry_in: status.retry_in))}. Kantoku.Breaker.reset/1 closes it"
    }
  end
end

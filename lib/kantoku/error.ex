defmodule Kantoku.Error do
  @moduledoc """
  Why something could not be done, for programs (`reason`, `details`) and for people (`message/1`).

  The list of reasons is closed, so that a `case` over it can be complete:

  | reason | meaning | details |
  |---|---|---|
  | `:not_running` | no instance of that name runs here | `instance` |
  | `:not_found` | nothing of that name is known | `id`, `domain`, `pool`, `breaker`, `health`, `degradation`, `resources`, `objective`, `alert` or `metric` |
  | `:restarting` | it crashed and comes back by itself | `id`, `pool`, `breaker`, `health`, `degradation`, `objective` or `alert`, `retry_in` (ms, or `:never` while it waits behind another of its group) |
  | `:parked` | it crashed too often and waits for its timer or for `Kantoku.unpark/2` | `id`, `retry_in` (ms or `:never`) |
  | `:stopping` | it is being stopped | `id` |
  | `:draining` | the instance, domain or pool takes no new work | `instance`; when a start is refused also `domain`, `nil` for the instance; or `pool` |
  | `:limit` | a domain holds as many agents as it may, metrics as many bytes, or an owner of native memory (`Kantoku.Memory`) | `domain`, `max_agents`; or `metric`, `max_bytes`; or `owner`, `max_bytes` |
  | `:timeout` | no answer in time; the work may still be going on | `id`, `timeout` (ms); or `pool`, `timeout`, `begun` (whether a worker has it) |
  | `:crashed` | it ended while it worked on this call | `id`, `exit`; or `pool` |
  | `:start_failed` | its start function refused | `id`, `exit`; or `pool`, `ready`, `wanted`, `exit` |
  | `:not_parked` | there is nothing to unpark | `id` |
  | `:queue_full` | as many wait for the pool as may | `pool`, `retry_in` (ms) |
  | `:overloaded` | the pool is overloaded, and this had waited too long; or the VM is, and this is of a priority that is shed | `pool`, `retry_in`; then also `level` |
  | `:quota` | the quota of the pool or tenant is used up | `pool`, `retry_in` |
  | `:deadline` | it waited as long as it may, and was not begun | `pool`, `retry_in` (0: trying again is no use) |
  | `:closed` | the pool was closed meanwhile | `pool`, `retry_in` (0) |
  | `:not_held` | a lease that was handed in, or whose worker or pool ended; credits that were cancelled, or whose pool ended | `pool`; of credits, `what: :credits` |
  | `:not_owner` | a lease, or credits, of another process | the same |
  | `:unavailable` | an exporter, or the listener of HTTP, could not be started; it is tried again | `what`, `cause`, `why` |
  | `:breaker_open` | a breaker lets no call pass | `breaker` or `pool`, `retry_in` (ms, or `:never` while it is forced open) |

      iex> error = Kantoku.Error.new(:parked, id: "a", retry_in: 1_500)
      iex> {error.reason, error.details.retry_in}
      {:parked, 1_500}
      iex> Exception.message(error)
      ~s(agent "a" crashed too often and is parked; it is tried again in 1500 ms, or at once by Kantoku.unpark/2)
  """

  @type reason ::
          :not_running
          | :not_found
          | :restarting
          | :parked
          | :stopping
          | :draining
          | :limit
          | :timeout
          | :crashed
          | :start_failed
          | :not_parked
          | :queue_full
          | :overloaded
          | :quota
          | :deadline
          | :closed
          | :not_held
          | :not_owner
          | :breaker_open
          | :unavailable

  @type t :: %__MODULE__{reason: reason, details: map}

  defexception [:reason, details: %{}]

  @doc """
  An error of a reason, with its details.

      iex> Kantoku.Error.new(:not_found, id: 7)
      %Kantoku.Error{reason: :not_found, details: %{id: 7}}
  """
  @spec new(reason, Enumerable.t()) :: t
  def new(reason, details \\ []), do: %__MODULE__{reason: reason, details: Map.new(details)}

  @impl true
  def message(%__MODULE__{reason: reason, details: details}), do: sentence(reason, details)

  defp sentence(:not_running, d),
    do: "no Kantoku instance #{show(d, :instance)} runs here; start {Kantoku, name: #{show(d, :instance)}} first"

  defp sentence(:not_found, %{domain: domain}), do: "there is no domain #{inspect(domain)} in this instance"

  defp sentence(:not_found, %{metric: {instance, name}}),
    do:
      "#{inspect(instance)} has no metric #{inspect(name)}; declare it first, with Kantoku.Metrics.counter/3, gauge/3 or histogram/3"

  defp sentence(:not_found, %{pool: pool}), do: "there is no #{named(pool)}; start it with Kantoku.Pool.start/2"

  defp sentence(:not_found, %{breaker: breaker}),
    do: "there is no #{breaker(breaker)}; install it with Kantoku.Breaker.install/3"

  defp sentence(:not_found, %{alert: {instance, nil}}),
    do: "#{inspect(instance)} has no alerts: its option :alerts is false"

  defp sentence(:not_found, %{alert: {instance, name}}),
    do:
      "#{inspect(instance)} has no rule of alerts #{inspect(name)}, or alerts are off; add it with Kantoku.Alert.put/2"

  defp sentence(:not_found, %{objective: {instance, name}}),
    do: "there is no objective #{inspect(name)} of #{inspect(instance)}; add it with Kantoku.SLO.put/2"

  defp sentence(:not_found, %{health: {instance, of}}),
    do:
      "the health of #{inspect(of)} of #{inspect(instance)} is not looked after: nothing of that name is there yet, or health is off"

  defp sentence(:not_found, %{resources: instance}),
    do:
      "resources of #{inspect(instance)} are not looked at; leave out `resources: false` and `health: false` when you start it"

  defp sentence(:not_found, %{degradation: instance}),
    do: "degradation is off in #{inspect(instance)}; leave out `degradation: false` when you start it"

  defp sentence(:not_found, d), do: "there is no agent #{show(d, :id)}; start it with Kantoku.start_agent/3"

  defp sentence(:restarting, %{pool: pool} = d),
    do: "#{named(pool)} is being started again; try again in #{show(d, :retry_in)} ms"

  defp sentence(:restarting, %{breaker: breaker} = d),
    do: "#{breaker(breaker)} is being opened again; try again in #{show(d, :retry_in)} ms"

  defp sentence(:restarting, %{health: {instance, _of}} = d),
    do:
      "who looks after the health of #{inspect(instance)} is being started again; try again in #{show(d, :retry_in)} ms"

  defp sentence(:restarting, %{degradation: instance} = d),
    do:
      "who watches the degradation of #{inspect(instance)} is being started again; try again in #{show(d, :retry_in)} ms"

  defp sentence(:restarting, %{alert: {instance, _name}} = d),
    do: "who evaluates the alerts of #{inspect(instance)} is being started again; try again in #{show(d, :retry_in)} ms"

  defp sentence(:restarting, %{objective: {instance, _name}} = d),
    do: "who keeps the objectives of #{inspect(instance)} is being started again; try again in #{show(d, :retry_in)} ms"

  defp sentence(:restarting, %{retry_in: :never} = d) do
    "agent #{show(d, :id)} is started again when the agent of its group that crashed is back; Kantoku.agents/1 says which that is"
  end

  defp sentence(:restarting, d),
    do: "agent #{show(d, :id)} crashed and is being restarted; try again in #{show(d, :retry_in)} ms"

  defp sentence(:parked, %{retry_in: :never} = d),
    do: "agent #{show(d, :id)} crashed too often and is parked; bring it back with Kantoku.unpark/2"

  defp sentence(:parked, d) do
    "agent #{show(d, :id)} crashed too often and is parked; it is tried again in #{show(d, :retry_in)} ms, " <>
      "or at once by Kantoku.unpark/2"
  end

  defp sentence(:stopping, d), do: "agent #{show(d, :id)} is being stopped; try again when it is gone"
  defp sentence(:draining, %{pool: pool}), do: "#{named(pool)} is draining and takes no new work; use another node"
  defp sentence(:draining, d), do: "#{show(d, :instance)} is draining and takes no new work; use another node"

  defp sentence(:limit, %{metric: name, max_bytes: bytes}) do
    "metrics take their #{bytes} bytes already, so there is no room for more of #{inspect(name)}; use fewer labels, or raise max_bytes in " <>
      "the option :metrics"
  end

  defp sentence(:limit, %{owner: owner, max_bytes: bytes} = d) do
    "the #{owner} of #{show(d, :instance)} hold their #{bytes} bytes of native memory already; let some go, or raise " <>
      "#{owner} in the option :memory"
  end

  defp sentence(:limit, d) do
    "domain #{show(d, :domain)} holds its #{show(d, :max_agents)} agents already; stop some, or raise max_agents with " <>
      "Kantoku.Domain.update/3"
  end

  defp sentence(:timeout, %{pool: pool, begun: true} = d),
    do:
      "no worker of #{named(pool)} answered within #{show(d, :timeout)} ms; the one that has it may still be at work on it"

  defp sentence(:timeout, %{pool: pool} = d),
    do:
      "no worker of #{named(pool)} was free within #{show(d, :timeout)} ms; nothing was sent, so it may be tried again"

  defp sentence(:timeout, d),
    do: "agent #{show(d, :id)} did not answer within #{show(d, :timeout)} ms; it may still be at work on it"

  defp sentence(:crashed, %{pool: pool}),
    do: "the worker of #{named(pool)} ended during the call; try again if the work may be done twice"

  defp sentence(:crashed, d), do: "agent #{show(d, :id)} ended during the call: #{show(d, :exit)}"

  defp sentence(:start_failed, %{pool: pool} = d) do
    "#{named(pool)} had #{show(d, :ready)} of #{show(d, :wanted)} workers in time (last failure: #{show(d, :exit)}); see what their " <>
      "start waits for, or lower :warm_up"
  end

  defp sentence(:start_failed, d), do: "agent #{show(d, :id)} did not start: #{show(d, :exit)}"
  defp sentence(:not_parked, d), do: "agent #{show(d, :id)} is not parked; there is nothing to bring back"

  defp sentence(:queue_full, d),
    do: "as many requests wait for #{pool(d)} as may (max_queue); send fewer, or try again in #{show(d, :retry_in)} ms"

  defp sentence(:overloaded, %{level: level} = d) do
    "memory or run queues are at level #{level} of Kantoku.Degradation, and #{pool(d)} sheds requests of this priority; try again in " <>
      "#{show(d, :retry_in)} ms"
  end

  defp sentence(:overloaded, d),
    do: "#{pool(d)} is overloaded and drops who waited too long; send fewer, or try again in #{show(d, :retry_in)} ms"

  defp sentence(:quota, d), do: "a quota of #{pool(d)} is used up; try again in #{show(d, :retry_in)} ms"

  defp sentence(:deadline, d),
    do: "a request waited for #{pool(d)} as long as it may; nothing was sent, so it may be asked again"

  defp sentence(:closed, d), do: "#{pool(d)} was closed meanwhile; start it with Kantoku.Pool.start/2 if it is wanted"

  defp sentence(:not_held, %{what: :credits} = d),
    do: "these credits of #{pool(d)} are not held any more: they were cancelled, or the pool ended; subscribe again"

  defp sentence(:not_owner, %{what: :credits} = d),
    do: "these credits of #{pool(d)} belong to another process; only who subscribed may ask for more or give them back"

  defp sentence(:not_held, d),
    do: "this lease of #{pool(d)} is not held any more: it was handed in, or its worker or pool ended; check out again"

  defp sentence(:not_owner, d),
    do: "this lease of #{pool(d)} belongs to another process; only who checked it out may hand it in"

  defp sentence(:breaker_open, %{retry_in: :never} = d),
    do: "#{guarded(d)} was forced open and lets no call pass; Kantoku.Breaker.set/2 lets them pass again"

  defp sentence(:breaker_open, d),
    do:
      "#{guarded(d)} lets no call pass, as too many failed or were slow; use a fallback, or try again in #{show(d, :retry_in)} ms"

  defp sentence(:unavailable, %{what: :http} = d), do: "the listener of HTTP is not there: #{d[:why]}"
  defp sentence(:unavailable, d), do: "the exporter #{show(d, :what)} is not there: #{d[:why]}"

  defp guarded(%{breaker: breaker}), do: breaker(breaker)
  defp guarded(%{pool: pool}), do: "the breaker of #{named(pool)}"
  defp guarded(_details), do: "the breaker"

  defp breaker({instance, name}), do: "breaker #{inspect(name)} of #{inspect(instance)}"
  defp breaker(other), do: "breaker #{inspect(other)}"

  defp pool(details), do: details |> Map.get(:pool) |> named()
  defp named({instance, name}), do: "pool #{inspect(name)} of #{inspect(instance)}"
  defp named(other), do: "pool #{inspect(other)}"

  defp show(details, key), do: details |> Map.get(key) |> inspect()
end

defmodule Kantoku.Telemetry.Catalogue do
  # The events as data. Knows neither who emits them nor who listens.
  @moduledoc false

  @type name :: [atom, ...]
  @type unit :: :native | :millisecond | :byte | :count | :revision | :unix_native
  @type event :: %{name: name, doc: String.t(), measurements: [{atom, unit}], metadata: [atom]}

  @agent [:id]

  # `pid` is the last one, where there is none any more.
  @row @agent ++ [:domain, :module, :pid, :incarnation]

  @events [
    %{
      name: [:instance, :started],
      doc: "An instance runs, with its domains and pools.",
      measurements: [duration: :native],
      metadata: [:engine]
    },
    %{
      name: [:instance, :recovered],
      doc:
        "The registry of an instance, or who supervises it, was started again, and all domains with it; state as their agents keep it.",
      measurements: [],
      metadata: []
    },
    %{
      name: [:instance, :stopping],
      doc: "An instance is about to end. In an orderly end a drain follows.",
      measurements: [],
      metadata: [:reason]
    },
    %{
      name: [:options, :changed],
      doc:
        "Options were changed while it runs: `of` is `{:domain, name}`, `{:pool, name}`, `{:breaker, name}`, `:health` or `:degradation`; " <>
          "`names` are theirs, without what they were set to.",
      measurements: [],
      metadata: [:of, :names]
    },
    %{
      name: [:native, :panic],
      doc: "The native library caught a panic of its own in `place`; its caller got an exception. `instance` is `nil`.",
      measurements: [],
      metadata: [:place]
    },
    %{
      name: [:registry, :taken_over],
      doc: "A living process lost a name to another one, as the `:resolver` said. `instance` is the registry.",
      measurements: [],
      metadata: [:key, :from, :to]
    },
    %{
      name: [:agent, :spawned],
      doc: "An agent's process was started, for the first time or again.",
      measurements: [system_time: :unix_native],
      metadata: @row
    },
    %{
      name: [:agent, :ready],
      doc: "An agent has its state and serves. `duration` is counted from the start of its process.",
      measurements: [duration: :native],
      metadata: @agent ++ [:module, :pid, :incarnation, :revision, :restored]
    },
    %{
      name: [:agent, :state_changed],
      doc: "An action, message or delivered directive changed an agent. Built only when someone listens.",
      measurements: [revision: :revision],
      metadata: @agent ++ [:module, :directives]
    },
    %{
      name: [:agent, :restored],
      doc: "An agent took up its newest snapshot. `outbox` is how many directives are to be delivered again.",
      measurements: [duration: :native, bytes: :byte, revision: :revision, outbox: :count],
      metadata: @agent ++ [:module, :incarnation, :migrated_from]
    },
    %{
      name: [:agent, :crashed],
      doc:
        "An agent ended and its restart policy answers that with a restart. `reason` is `:unknown`, as OTP tells no start function why " <>
          "a child ended, or why its start was refused.",
      measurements: [crashes: :count],
      metadata: @row ++ [:reason]
    },
    %{
      name: [:agent, :restarting],
      doc: "An agent will be restarted after `delay`.",
      measurements: [delay: :millisecond, crashes: :count],
      metadata: @row ++ [:reason]
    },
    %{
      name: [:agent, :parked],
      doc: "An agent is not restarted any more until someone, or a timer after `retry_in`, unparks it.",
      measurements: [crashes: :count, retry_in: :millisecond],
      metadata: @row ++ [:reason]
    },
    %{
      name: [:agent, :unparked],
      doc: "A parked agent is started again.",
      measurements: [parked_for: :millisecond],
      metadata: @row ++ [:by]
    },
    %{
      name: [:agent, :stopped],
      doc: "An agent ended and will not come back by itself.",
      measurements: [],
      metadata: @row ++ [:reason]
    },
    %{
      name: [:agent, :stuck],
      doc:
        "The task of a call to a Jido agent died without a word. The agent is replaced with its state; `callers` are told, the one of " <>
          "that call and those behind it.",
      measurements: [callers: :count],
      metadata: @agent ++ [:module, :pid]
    },
    %{
      name: [:agent, :snapshot, :written],
      doc: "A snapshot is kept by the store. `duration` includes encoding and, with a durable store, the commit.",
      measurements: [duration: :native, bytes: :byte, revision: :revision],
      metadata: @agent ++ [:module]
    },
    %{
      name: [:agent, :snapshot, :failed],
      doc: "A snapshot could not be kept. The one before it stays, and the agent tries again in `retry_in`.",
      measurements: [revision: :revision, retry_in: :millisecond],
      metadata: @agent ++ [:module, :reason]
    },
    %{
      name: [:agent, :snapshot, :damaged],
      doc: "A snapshot could not be read. `action` is `:fresh` (set aside, started without it) or `:park`.",
      measurements: [],
      metadata: @agent ++ [:module, :reason, :action]
    },
    %{
      name: [:agent, :directive, :delivered],
      doc: "A handler took a directive. `attempts` counts those of this incarnation.",
      measurements: [duration: :native, attempts: :count],
      metadata: @agent ++ [:module, :directive_id]
    },
    %{
      name: [:agent, :directive, :retried],
      doc: "A handler refused a directive or crashed; it is delivered again, under the same id, in `retry_in`.",
      measurements: [attempts: :count, retry_in: :millisecond],
      metadata: @agent ++ [:module, :directive_id, :reason]
    },
    %{
      name: [:agent, :directive, :undeliverable],
      doc: "A directive used up its attempts. `action` is `:park` or `:drop`, as `on_undeliverable` says.",
      measurements: [attempts: :count],
      metadata: @agent ++ [:module, :directive_id, :reason, :action]
    },
    %{
      name: [:drain, :start],
      doc: "An instance or domain takes no new work and finishes what it has.",
      measurements: [agents: :count, deadline: :millisecond],
      metadata: [:domain]
    },
    %{
      name: [:drain, :step],
      doc: "One step of a drain is done: `step` says which.",
      measurements: [duration: :native, remaining: :count],
      metadata: [:domain, :step]
    },
    %{
      name: [:drain, :stop],
      doc: "A drain is over. `cut_off` is how much work the deadline ended.",
      measurements: [duration: :native, cut_off: :count],
      metadata: [:domain, :result]
    },
    %{
      name: [:domain, :throttled],
      doc: "A storm of restarts is spread: this one waits `delay` for the domain's token bucket.",
      measurements: [delay: :millisecond],
      metadata: [:domain, :id]
    },
    %{
      name: [:domain, :repaired],
      doc:
        "A supervisor of agents was killed; those that it had were given to its successor, and what it left behind was ended.",
      measurements: [agents: :count],
      metadata: [:domain]
    },
    %{
      name: [:domain, :escalated],
      doc: "A domain gave up and handed its failure to the level above.",
      measurements: [crashes: :count],
      metadata: [:domain, :parent, :reason]
    },
    %{
      name: [:breaker, :state_changed],
      doc: "A breaker went from one state to another, by what it had counted. That of a pool is `{:pool, name}`.",
      measurements: [calls: :count, failed: :count, slow: :count],
      metadata: [:breaker, :from, :to]
    },
    %{
      name: [:breaker, :gap],
      doc:
        "We were not there ourselves for more than a second (stopped, asleep, starved): so long the time of breakers stood still, " <>
          "and calls that were under way are not counted.",
      measurements: [duration: :native],
      metadata: []
    },
    %{
      name: [:migration, :changed],
      doc: "The mode of a feature changed, for a subject. `by` is who set it; `:canary` if it went back by itself.",
      measurements: [],
      metadata: [:feature, :subject, :from, :to, :by]
    },
    %{
      name: [:migration, :reverted],
      doc:
        "A canary was worse than its control and went back to `to`. `reason` is a `Kantoku.Migration.Reversal` with both sides' figures.",
      measurements: [canary_samples: :count, control_samples: :count],
      metadata: [:feature, :subject, :to, :reason]
    },
    %{
      name: [:migration, :disagreed],
      doc: "In a shadow, what ours would have done is not what was done. `id` is the key's.",
      measurements: [],
      metadata: [:id, :feature, :subject, :ours, :theirs]
    },
    %{
      name: [:migration, :moved],
      doc: "An agent moved from one side (`:old`, `:new`) to the other, with its state.",
      measurements: [duration: :native],
      metadata: [:id, :subject, :from, :to]
    },
    %{
      name: [:migration, :stayed],
      doc: "An agent could not move (yet). Told once for each reason in a row.",
      measurements: [],
      metadata: [:id, :subject, :reason]
    },
    %{
      name: [:health, :changed],
      doc:
        "An agent (`of: {:agent, id}`), a domain (`{:domain, name}`; of a pool's, `{:pool, name}`) or the `:instance` went from one state to another.",
      measurements: [],
      metadata: [:of, :from, :to]
    },
    %{
      name: [:health, :restarting],
      doc:
        "An agent fails its liveness and was killed, for its domain to restart. `probe` is `:passive` or the probe's name.",
      measurements: [],
      metadata: @row ++ [:probe, :evidence]
    },
    %{
      name: [:health, :shut_out],
      doc:
        "An agent is not found by `Kantoku.find/2` any more, nor given work of its pool, as `probe` found, or as it is `:at_risk` and " <>
          "about to be replaced. That one which starts is not found before it passes a probe is not told.",
      measurements: [],
      metadata: @agent ++ [:domain, :probe]
    },
    %{
      name: [:health, :let_in],
      doc: "It is again.",
      measurements: [],
      metadata: @agent ++ [:domain]
    },
    %{
      name: [:health, :at_risk],
      doc:
        "An agent is to be at a limit in `in`, if it goes on as it does. `sign` is `:memory`, `:mailbox`, `{:latency, probe}` or `:restarts`; " <>
          "`value` and `limit` are in bytes, messages, ms or crashes.",
      measurements: [in: :millisecond],
      metadata: @agent ++ [:domain, :sign, :value, :limit]
    },
    %{
      name: [:health, :safe],
      doc: "An agent that was at risk by this sign is not any more, or is gone.",
      measurements: [],
      metadata: @agent ++ [:domain, :sign]
    },
    %{
      name: [:health, :round],
      doc:
        "All agents were looked at once. `lag` is the longest time for which a sampler did not come to what it was to look at.",
      measurements: [duration: :native, agents: :count, lag: :millisecond],
      metadata: []
    },
    %{
      name: [:degradation, :entered],
      doc:
        "Memory or run queues came to a level: from now on this is shed. Of several levels at once each is told. `memory` and " <>
          "`run_queue` are as in `Kantoku.Degradation.status/1`.",
      measurements: [level: :count],
      metadata: [:level, :sheds, :memory, :run_queue]
    },
    %{
      name: [:degradation, :left],
      doc: "They are below nine tenths of that level again: this is not shed any more.",
      measurements: [level: :count],
      metadata: [:level, :sheds, :memory, :run_queue]
    },
    %{
      name: [:health, :gap],
      doc:
        "We were not there ourselves for more than a period (stopped, asleep, starved): for another one nothing is held against anybody.",
      measurements: [],
      metadata: []
    },
    %{
      name: [:alert, :changed],
      doc:
        "An alert went from one state to another: `:inactive`, `:pending`, `:firing`, `:resolved`. `value` is what was found last.",
      measurements: [],
      metadata: [:alert, :labels, :from, :to, :value]
    },
    %{
      name: [:alert, :undelivered],
      doc: "A sink could not be told of alerts; it is tried again in `retry_in`.",
      measurements: [attempts: :count, retry_in: :millisecond],
      metadata: [:sink, :reason]
    },
    %{
      name: [:alert, :dropped],
      doc:
        "Alerts will not be told to a sink. `reason`: `:queue_full`, of its line, or `{:refused, status}`, by the sink.",
      measurements: [alerts: :count],
      metadata: [:sink, :reason]
    },
    %{
      name: [:handler, :failed],
      doc:
        "A handler of events raised, exited or threw at `event` and is out. `action`: `:reattach`, in `retry_in`; `:leave`; or `:give_up`, " <>
          "as it failed too often. Of `:telemetry`'s own those of our events, and those that are kept.",
      measurements: [retry_in: :millisecond],
      metadata: [:handler, :event, :kind, :reason, :action]
    },
    %{
      name: [:handler, :reattached],
      doc: "A handler that had failed is called again.",
      measurements: [detached_for: :millisecond],
      metadata: [:handler]
    },
    %{
      name: [:handler, :dropped],
      doc: "Events had no room in a handler's queue. Told at once, then once a minute at most.",
      measurements: [events: :count],
      metadata: [:handler]
    },
    %{
      name: [:pool, :started],
      doc: "A pool was opened by its manager; again if that was restarted.",
      measurements: [workers: :count],
      metadata: [:pool]
    },
    %{
      name: [:pool, :stopped],
      doc: "A pool was stopped. `cut_off` is how many requests the deadline ended.",
      measurements: [duration: :native, cut_off: :count],
      metadata: [:pool]
    },
    %{
      name: [:pool, :worker_joined],
      doc: "A worker takes work from now on.",
      measurements: [],
      metadata: [:pool, :member, :pid]
    },
    %{
      name: [:pool, :worker_left],
      doc:
        "A worker takes none any more. `reason`: `:retired` when it was not needed and had finished, `:down` when it died.",
      measurements: [],
      metadata: [:pool, :member, :pid, :reason]
    },
    %{
      name: [:pool, :worker_ejected],
      doc:
        "A worker is given nothing new for `left` ms (or `:infinity`), for the `times`-th time; or would be, where that is not `enforced`. " <>
          "`cause` and `evidence` are those of `Kantoku.Pool.workers/1`.",
      measurements: [times: :count],
      metadata: [:pool, :member, :pid, :cause, :evidence, :enforced, :left]
    },
    %{
      name: [:pool, :worker_returned],
      doc: "A worker is ejected no more: its time is over, it was readmitted, or the rules have changed.",
      measurements: [],
      metadata: [:pool, :member]
    },
    %{
      name: [:pool, :panic_entered],
      doc:
        "Fewer workers than `healthy_panic_threshold` says are in and ready: all that live are given work from now on.",
      measurements: [workers: :count, ejected: :count, not_ready: :count],
      metadata: [:pool]
    },
    %{
      name: [:pool, :panic_left],
      doc: "Enough workers are in and ready again.",
      measurements: [workers: :count, ejected: :count, not_ready: :count],
      metadata: [:pool]
    },
    %{
      name: [:pool, :resized],
      doc:
        "A pool wants another number of workers than before. `reason`: `:update`, `:pressed`, `:linger`, `:idle` or `:scaled`.",
      measurements: [from: :count, to: :count],
      metadata: [:pool, :reason]
    },
    %{
      name: [:pool, :scaled],
      doc:
        "A pool that scales itself moved its size, or would have but for the rules in `limited_by`; told once until it moves, for the same " <>
          "rules. `decision` is the whole of it (`Kantoku.Pool.explain/1`).",
      measurements: [from: :count, to: :count],
      metadata: [:pool, :limited_by, :decision]
    },
    %{
      name: [:pool, :degraded],
      doc:
        "Workers wait for their next start or are parked; the pool goes on with the rest. `reason` is that of the last failure.",
      measurements: [missing: :count, workers: :count],
      metadata: [:pool, :reason]
    },
    %{
      name: [:pool, :recovered],
      doc: "No worker of the pool is missing any more.",
      measurements: [workers: :count],
      metadata: [:pool]
    },
    %{
      name: [:pool, :replaced],
      doc:
        "A worker was killed, to be started again uncharged. `reason`: `:abandoned` (`on_abandon: :replace`), `:silent` " <>
          "(`:abandon_timeout`), `:start_timeout`, which is charged, or `:at_risk` (`on_risk: :replace`): stopped in order, with its state.",
      measurements: [],
      metadata: [:pool, :member, :pid, :reason]
    }
  ]

  @doc "All events, in the order of the documentation."
  @spec all() :: [event]
  def all, do: @events

  @doc "How many events there are; their numbers run from 1 to this."
  @spec size() :: pos_integer
  def size, do: unquote(length(@events))

  @doc "The number of an event, or `nil` if the catalogue has none of that name."
  @spec number(name) :: pos_integer | nil
  for {event, number} <- Enum.with_index(@events, 1) do
    def number(unquote(event.name)), do: unquote(number)
  end

  def number(_name), do: nil

  @doc "The numbers of all events whose name starts with `prefix`."
  @spec numbers(prefix :: [atom]) :: [pos_integer]
  def numbers(prefix) do
    for {event, number} <- Enum.with_index(@events, 1), List.starts_with?(event.name, prefix), do: number
  end

  @doc "The catalogue as a Markdown table."
  @spec table() :: String.t()
  def table do
    header = "| event | when | measurements | metadata |\n|---|---|---|---|\n"
    header <> Enum.map_join(@events, "\n", &row/1)
  end

  defp row(event) do
    measurements = Enum.map_join(event.measurements, ", ", fn {name, unit} -> "`#{name}` (#{unit(unit)})" end)
    metadata = Enum.map_join(event.metadata, ", ", &"`#{&1}`")
    "| `#{inspect([:kantoku | event.name])}` | #{event.doc} | #{measurements} | #{metadata} |"
  end

  defp unit(:native), do: "native time unit"
  defp unit(:unix_native), do: "system time, native unit"
  defp unit(:millisecond), do: "ms"
  defp unit(:byte), do: "bytes"
  defp unit(other), do: Atom.to_string(other)
end

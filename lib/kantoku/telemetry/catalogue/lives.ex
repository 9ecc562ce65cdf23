defmodule Kantoku.Telemetry.Catalogue.Lives do
  # Events of what lives: instances, agents, domains, and what they stand on. Knows nobody.
  @moduledoc false

  @agent [:id]

  # `pid` is the last one, where there is none any more.
  @row @agent ++ [:domain, :module, :pid, :incarnation]

  @doc "In the order of the documentation."
  @spec events() :: [Kantoku.Telemetry.Catalogue.event()]
  def events do
    [
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
        name: [:instance, :stopped],
        doc:
          "The supervisor of an instance is gone, and why; told also of one that was killed, or stopped before it had started.",
        measurements: [],
        metadata: [:reason]
      },
      %{
        name: [:engine, :fell_back],
        doc:
          "An instance or registry runs on the Elixir engine, as the native library does not serve. `reason` is a sentence.",
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
        doc:
          "The native library caught a panic of its own in `place`; its caller got an exception. `instance` is `nil`.",
        measurements: [],
        metadata: [:place]
      },
      %{
        name: [:store, :set_aside],
        doc:
          "The file of a store (`path`) was damaged as a whole and is now called `to`: agents begin afresh. `reason` is `{kind, message}`.",
        measurements: [],
        metadata: [:path, :to, :reason]
      },
      %{
        name: [:store, :failed],
        doc: "A store cannot `:read` or `:write` (`doing`) any more, `reason` is `{kind, message}`; it tries again.",
        measurements: [],
        metadata: [:path, :doing, :reason]
      },
      %{
        name: [:store, :recovered],
        doc: "A store writes again (`:write`), or reads: for a second none failed, and one went well, or a write.",
        measurements: [failed_for: :millisecond],
        metadata: [:path, :doing]
      },
      %{
        name: [:store, :not_closed],
        doc: "A store could not be closed in order; what it had not written may be lost.",
        measurements: [],
        metadata: [:store, :reason]
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
        doc:
          "An agent ended and will not come back by itself. `reason`: `:stopped` as it was asked to, `:drained`, `:ended` by itself where its " <>
            "restart policy leaves it at that, `:lost` as a temporary one with its supervisor, `:ignore` as its start function said, or " <>
            "`{:refused, why}` of a first start that failed.",
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
        name: [:agent, :unhandled],
        doc:
          "An agent was sent a message that is no call or cast, and its module has no `handle_info/2`: it was dropped.",
        measurements: [],
        metadata: @agent ++ [:module]
      },
      %{
        name: [:agent, :called],
        doc:
          "A call or a cast to an agent is over for who made it, and its span is kept (`Kantoku.Trace`): all of a trace that is " <>
            "recorded, and what failed or was slow. `kind` is `:call` or `:cast`, `error_type` why it failed (no data of it) or `nil`, `trace_id` as W3C has it.",
        measurements: [duration: :native],
        metadata: @agent ++ [:kind, :error_type, :trace_id]
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
      }
    ]
  end
end

defmodule Kantoku.Telemetry.Catalogue.Guards do
  # Events of what guards: breakers, health, alerts, exporters and the like, and of moving over. Knows nobody.
  @moduledoc false

  @agent [:id]

  # `pid` is the last one, where there is none any more.
  @row @agent ++ [:domain, :module, :pid, :incarnation]

  @doc "In the order of the documentation."
  @spec events() :: [Kantoku.Telemetry.Catalogue.event()]
  def events do
    [
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
        name: [:breaker, :installed],
        doc: "A breaker was installed while the instance runs.",
        measurements: [],
        metadata: [:breaker]
      },
      %{
        name: [:breaker, :removed],
        doc: "A breaker was removed.",
        measurements: [],
        metadata: [:breaker]
      },
      %{
        name: [:objective, :put],
        doc: "An objective was put, a new one or in place of another of its name.",
        measurements: [],
        metadata: [:objective]
      },
      %{
        name: [:objective, :deleted],
        doc: "An objective was taken away, with all that was counted for it.",
        measurements: [],
        metadata: [:objective]
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
        name: [:health, :gap],
        doc:
          "We were not there ourselves for more than a period (stopped, asleep, starved): for another one nothing is held against anybody.",
        measurements: [],
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
        name: [:memory, :full],
        doc:
          "An owner of native memory holds what it may (`Kantoku.Memory`): whoever would add to it is refused as `:limit`. `max_bytes` is its limit.",
        measurements: [bytes: :byte],
        metadata: [:owner, :max_bytes]
      },
      %{
        name: [:memory, :freed],
        doc: "It holds less again.",
        measurements: [bytes: :byte],
        metadata: [:owner, :max_bytes]
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
        name: [:alert, :sink_recovered],
        doc: "A sink that could not be told takes alerts again, after so many attempts that failed.",
        measurements: [attempts: :count],
        metadata: [:sink]
      },
      %{
        name: [:alert, :rule_put],
        doc: "A rule was put, a new one or in place of another of its name.",
        measurements: [],
        metadata: [:alert]
      },
      %{
        name: [:alert, :rule_deleted],
        doc: "A rule was taken away; its alerts are resolved.",
        measurements: [],
        metadata: [:alert]
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
        name: [:trace, :dropped],
        doc: "So many finished spans had no room in the buffer since this was told last, once a minute at most.",
        measurements: [spans: :count],
        metadata: []
      },
      %{
        name: [:api, :admin],
        doc:
          "Somebody with the admin's token had something done over HTTP: `action` is `:unpark`, `:restart` (of the agent `id`) or `:drain`. `result` is " <>
            "`:ok`, the reason of an error, or `:failed`.",
        measurements: [duration: :native],
        metadata: [:action, :id, :result]
      },
      %{
        name: [:exporter, :started],
        doc: "An exporter of the VM was started: `:http`, at `address`, or one of those that send by themselves.",
        measurements: [],
        metadata: [:exporter, :address]
      },
      %{
        name: [:exporter, :stopped],
        doc: "An exporter was stopped, as no instance wants it any more.",
        measurements: [],
        metadata: [:exporter]
      },
      %{
        name: [:exporter, :refused],
        doc:
          "An exporter could not be started, for want of a port perhaps; it is tried again. `reason` is a `Kantoku.Error`.",
        measurements: [],
        metadata: [:exporter, :reason]
      },
      %{
        name: [:exporter, :resumed],
        doc: "An exporter of which it was told that it could not send sends all it has again.",
        measurements: [],
        metadata: [:exporter]
      },
      %{
        name: [:discovery, :failed],
        doc:
          "A callback of `Kantoku.Discovery` failed or took too long: `function` is `:up`, `:down` or `:changed`. `reason` is a sentence, `instance` is `nil`.",
        measurements: [],
        metadata: [:module, :function, :reason]
      },
      %{
        name: [:exporter, :dropped],
        doc: "An exporter could not send `points` figures or spans since this was told last, once a minute at most.",
        measurements: [points: :count],
        metadata: [:exporter, :reason]
      }
    ]
  end
end

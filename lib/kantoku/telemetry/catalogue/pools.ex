defmodule Kantoku.Telemetry.Catalogue.Pools do
  # Events of pools. Knows nobody.
  @moduledoc false

  @doc "In the order of the documentation."
  @spec events() :: [Kantoku.Telemetry.Catalogue.event()]
  def events do
    [
      %{
        name: [:pool, :started],
        doc: "A pool was opened by its foreman; again if that was restarted.",
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
        name: [:pool, :over_quota],
        doc:
          "A pool's workers use more of a `resource` than its quota: from now on what comes is refused. `used` and `limit` are bytes of " <>
            "`:memory`, or percent of the schedulers' time, of `:cpu`.",
        measurements: [],
        metadata: [:pool, :resource, :used, :limit]
      },
      %{
        name: [:pool, :within_quota],
        doc:
          "They use no more than that again, there is no such quota any more, or what they use is not known for 5 s (`used` is what was seen last).",
        measurements: [],
        metadata: [:pool, :resource, :used, :limit]
      },
      %{
        name: [:pool, :overloaded],
        doc:
          "Requests wait too long for what is served, and the pool refuses the oldest (CoDel). As seen when the pool is looked at, while " <>
            "somebody waits; one that is over by then is not told.",
        measurements: [queue: :count],
        metadata: [:pool]
      },
      %{
        name: [:pool, :relieved],
        doc: "A pool is overloaded no more.",
        measurements: [queue: :count],
        metadata: [:pool]
      },
      %{
        name: [:pool, :recording_failed],
        doc:
          "A pool's decisions are not recorded any more, as the file at `path` cannot be written. `reason` is of `:file`.",
        measurements: [],
        metadata: [:pool, :path, :reason]
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
  end
end

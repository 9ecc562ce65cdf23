defmodule Kantoku.Metrics.Own do
  # The metrics that Kantoku has of itself, as data; and which of them are read of pools, breakers and the native core when somebody looks. Knows
  # no event.
  @moduledoc false

  alias Kantoku.Engine.Metrics, as: Engine
  alias Kantoku.Metrics.{Board, Definition, Whose}

  @agent Whose.labels()

  @counted [
    {:counter, "kantoku_agent_crashes", [labels: @agent, help: "Agents that ended and are restarted by their policy."]},
    {:counter, "kantoku_agent_restarts", [labels: @agent, help: "Restarts that were decided."]},
    {:counter, "kantoku_agent_parked", [labels: @agent, help: "Agents that crashed too often and were parked."]},
    {:counter, "kantoku_agent_stuck", [labels: @agent, help: "Agents that were replaced, as a task of theirs died."]},
    {:histogram, "kantoku_agent_call_duration_seconds",
     [
       labels: @agent,
       unit: :seconds,
       help: "How long Kantoku.call/4 took, for who made it. One call in 16 is timed, and stands for all."
     ]},
    {:histogram, "kantoku_snapshot_write_duration_seconds",
     [labels: @agent, unit: :seconds, help: "How long it took to encode a snapshot and have the store keep it."]},
    {:counter, "kantoku_snapshot_failures",
     [labels: @agent ++ [:failure], help: "Snapshots that could not be kept (written) or read (damaged)."]},
    {:counter, "kantoku_snapshot_restores", [labels: @agent, help: "Agents that took up their newest snapshot."]},
    {:counter, "kantoku_domain_throttled",
     [labels: [:domain, :pool], help: "Restarts that waited for a domain's token bucket."]},
    {:counter, "kantoku_domain_escalations", [labels: [:domain, :pool], help: "Domains that gave up."]},
    {:counter, "kantoku_breaker_changes",
     [labels: [:breaker, :pool, :to], help: "Changes of breakers' states, by the new one."]},
    {:counter, "kantoku_probe_results", [labels: @agent ++ [:probe, :kind, :outcome], help: "Answers of probes."]},
    {:counter, "kantoku_health_restarts",
     [labels: @agent ++ [:probe], help: "Agents that were killed, as they failed their liveness."]},
    {:counter, "kantoku_pool_replaced",
     [labels: [:pool, :reason], help: "Workers that were killed, to be started again."]},
    {:counter, "kantoku_pool_tenant_requests",
     [
       labels: [:pool, :tenant, :outcome],
       help: "Requests that name a tenant, by how they ended for who made them: ok, or the reason of Kantoku.Error."
     ]},
    {:histogram, "kantoku_pool_tenant_request_duration_seconds",
     [
       labels: [:pool, :tenant],
       unit: :seconds,
       help: "From a call that names a tenant to its end, for who made it, waiting included."
     ]},
    {:histogram, "kantoku_pool_tenant_wait_duration_seconds",
     [
       labels: [:pool, :tenant],
       unit: :seconds,
       help:
         "From a tenant's wish for a worker of its own for a while (checkout, run) until it had one, or was refused."
     ]},
    {:counter, "kantoku_pool_ejections",
     [labels: [:pool, :cause], help: "Workers that were given nothing new for a time."]}
  ]

  # Of a pool: with the labels of each figure beyond the pool's name.
  @pool [
    {:histogram, "kantoku_pool_request_duration_seconds",
     [
       unit: :seconds,
       help:
         "From a request's arrival to its end, waiting included. Of those that find a worker at once one in 16 is timed, and stands for all."
     ], [requests: []]},
    {:histogram, "kantoku_pool_wait_duration_seconds",
     [unit: :seconds, help: "From a request's arrival until it was given a worker."], [waits: []]},
    {:counter, "kantoku_pool_arrivals", [help: "Requests that came."], [arrived: []]},
    {:counter, "kantoku_pool_requests",
     [
       labels: [:outcome],
       help:
         "Requests that ended, by how: with ok or error, given up by their caller, lost with their worker, cancelled, expired or refused."
     ],
     [
       succeeded: ["ok"],
       failed: ["error"],
       given_up: ["given_up"],
       lost: ["lost"],
       returned: ["returned"],
       cancelled: ["cancelled"]
     ]},
    {:counter, "kantoku_pool_refusals",
     [labels: [:reason], help: "Requests that no worker was given, by the reason of Kantoku.Error."],
     [
       queue_full: ["queue_full"],
       dropped: ["overloaded"],
       over_quota: ["quota"],
       drained: ["draining"],
       expired: ["deadline"]
     ]},
    {:gauge, "kantoku_pool_queue", [help: "Requests that wait."], [queue: []]},
    {:gauge, "kantoku_pool_ongoing", [help: "Requests that workers have."], [ongoing: []]},
    {:gauge, "kantoku_pool_utilization_ratio",
     [unit: :ratio, help: "Permits in use, of those of workers that take work."], [utilization: []]},
    {:gauge, "kantoku_pool_workers", [labels: [:state], help: "Workers, by what they take."],
     [ready: ["ready"], leaving: ["leaving"], ejected: ["ejected"], not_ready: ["not_ready"]]}
  ]

  @breaker [
    {:counter, "kantoku_breaker_calls",
     [labels: [:outcome], help: "Calls that a breaker counted, by how they ended, and those that it refused."],
     [succeeded: ["ok"], failed: ["error"], refused: ["refused"]]},
    {:counter, "kantoku_breaker_slow_calls", [help: "Of those that were counted, the slow ones."], [slow: []]},
    {:gauge, "kantoku_breaker_state", [labels: [:state], help: "1 for the state that a breaker is in, else 0."],
     for(state <- ~w(closed open half_open disabled forced_open metrics_only)a, do: {state, [Atom.to_string(state)]})}
  ]

  @limit "kantoku_native_limit_bytes"
  @limited "How much of it an owner may hold; of the registry, names, owners, index and watches together."
  @spans {:counter, "kantoku_trace_spans",
          [
            labels: [:outcome],
            help:
              "Finished spans: kept in the buffer, dropped as it was full; and of those kept the ones that were taken."
          ]}

  @bytes ~w(breakers health index metrics names owners pools spare store traces watches)a

  @doc "Declares all of them, and binds what is the instance's."
  @spec enter(book :: :ets.tid(), atom) :: :ok
  def enter(book, instance) do
    metrics = Board.of(book)
    for {kind, name, opts} <- @counted, do: declare(metrics, kind, name, opts)

    for {kind, name, opts, _figures} <- @pool, do: declare(metrics, kind, name, labelled(opts, [:pool]))
    for {kind, name, opts, _figures} <- @breaker, do: declare(metrics, kind, name, labelled(opts, [:breaker, :pool]))
    declare(metrics, :gauge, "kantoku_native_bytes", unit: :bytes, labels: [:owner], help: "Memory of the native core.")
    declare(metrics, :gauge, @limit, unit: :bytes, labels: [:owner], help: @limited)
    {kind, name, opts} = @spans
    declare(metrics, kind, name, opts)

    for outcome <- [:kept, :dropped, :taken],
        do: Board.bind(metrics, name, ["#{outcome}"], {:spans, instance, outcome})

    for owner <- @bytes, do: Board.bind(metrics, "kantoku_native_bytes", ["#{owner}"], {:bytes, instance, owner})
    :ok
  end

  @doc "Says how many bytes owners of native memory may hold; those that have no limit are not told."
  @spec put_limits(book :: :ets.tid(), atom, %{atom => pos_integer | :infinity | nil}) :: :ok
  def put_limits(book, instance, limits) do
    for {owner, bytes} <- limits, is_integer(bytes) do
      with {:ok, series} <- Board.series(instance, Board.of(book), @limit, owner: owner), do: Engine.set(series, bytes)
    end

    :ok
  end

  defp labelled(opts, whose), do: Keyword.update(opts, :labels, whose, &(whose ++ &1))

  # An instance whose limit is below this has what fits.
  defp declare(metrics, kind, name, opts), do: Board.declare(metrics, Definition.own!(name, kind, opts))

  @doc "A pool's counts are among the metrics from now on."
  @spec bind_pool(book :: :ets.tid(), atom, atom) :: :ok
  def bind_pool(book, instance, pool), do: bind(book, @pool, [pool], &{:pool, instance, pool, &1})

  @doc "A breaker's, when it was opened. One of a single agent has none, as its name has the agent's id."
  @spec bind_breaker(book :: :ets.tid(), atom, term) :: :ok
  def bind_breaker(_book, _instance, {:agent, _id}), do: :ok

  def bind_breaker(book, instance, breaker),
    do: bind(book, @breaker, labels_of(breaker), &{:breaker, instance, breaker, &1})

  defp labels_of(breaker), do: Keyword.values(breaker(breaker))

  @doc "A breaker's labels; those of single agents are one."
  @spec breaker(term) :: keyword
  def breaker({:agent, _id}), do: [breaker: "agent", pool: ""]
  def breaker({:pool, pool} = breaker), do: [breaker: breaker, pool: pool]
  def breaker(breaker), do: [breaker: breaker, pool: ""]

  defp bind(book, families, of, reading) do
    metrics = Board.of(book)
    for {name, values, figure} <- each(families, of), do: Board.bind(metrics, name, values, reading.(figure))
    :ok
  end

  @doc "A pool's are not, before it is closed."
  @spec unbind_pool(book :: :ets.tid(), atom, atom) :: :ok
  def unbind_pool(book, instance, pool), do: unbind(book, @pool, [pool], &{:pool, instance, pool, &1})

  @doc "A breaker's are not, before it is closed."
  @spec unbind_breaker(book :: :ets.tid(), atom, term) :: :ok
  def unbind_breaker(_book, _instance, {:agent, _id}), do: :ok

  def unbind_breaker(book, instance, breaker),
    do: unbind(book, @breaker, labels_of(breaker), &{:breaker, instance, breaker, &1})

  defp unbind(book, families, of, reading) do
    {collection, _found} = Board.of(book)
    for {name, values, figure} <- each(families, of), do: Engine.unbind(collection, name, values, reading.(figure))
    :ok
  end

  defp each(families, of) do
    own = Enum.map(of, &Definition.text/1)
    for {_kind, name, _opts, figures} <- families, {figure, values} <- figures, do: {name, own ++ values, figure}
  end

  @doc "Adds one to a metric of ours; nothing where the instance does not run."
  @spec count(atom, String.t(), keyword) :: :ok
  def count(instance, name, labels), do: record(instance, name, labels, &Engine.add(&1, 1))

  @doc "Says how long something took, in native units, as often as it stands for."
  @spec time(atom, String.t(), integer, keyword, times :: pos_integer) :: :ok
  def time(instance, name, duration, labels, times \\ 1) do
    seconds = System.convert_time_unit(max(duration, 0), :native, :nanosecond) / 1.0e9
    record(instance, name, labels, fn series -> for _ <- 1..times//1, do: Engine.observe(series, seconds) end)
  end

  defp record(instance, name, labels, fun) do
    _ =
      Board.reading(instance, fn collection, found ->
        with {:ok, series} <- Board.series(instance, {collection, found}, name, labels), do: fun.(series)
      end)

    :ok
  end

  @doc "All of them: name, kind and help."
  @spec all() :: [{String.t(), Engine.kind(), String.t()}]
  def all do
    own = Enum.map([@spans | @counted], fn {kind, name, opts} -> {name, kind, opts[:help]} end)
    pools = Enum.map(@pool ++ @breaker, fn {kind, name, opts, _figures} -> {name, kind, opts[:help]} end)
    own ++ pools ++ [{"kantoku_native_bytes", :gauge, "Memory of the native core."}, {@limit, :gauge, @limited}]
  end
end

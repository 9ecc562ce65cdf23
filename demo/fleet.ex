defmodule Demo.Fleet do
  # The agents: three types, a pool of each, in one instance with the policies that every user gets. Knows no files.
  #
  # Readers and extractors are as good as one another, and there may be more of them while work waits. Indexers are shards: each has a part
  # of the result in its snapshots, so theirs is a pool of a fixed size, which lets nobody go.
  @moduledoc false

  alias Demo.{Crew, Fault, Gauges, Options}
  alias Kantoku.{Error, Pool, Registry}

  # A large fleet on a small machine takes a while to start.
  @warm_up 300_000

  # Killed with whoever had them, some requests are lost, and asked again.
  @objectives [
    [name: "files read", pool: :read, target: 99],
    [name: "files read in 1 s", pool: :read, target: 95, latency: 1_000]
  ]

  # What the page tells of an agent's calls: some of them, and each that failed or was slow.
  @trace [sampler: :parentbased_traceidratio, ratio: 0.02]

  @enforce_keys [:instance, :supervisor, :crew, :sizes]
  defstruct @enforce_keys

  @type kind :: :read | :extract | :index
  @typedoc "`sizes` are those that pools have without a surge."
  @type t :: %__MODULE__{instance: atom, supervisor: pid, crew: module, sizes: %{kind => pos_integer}}

  @doc "The types of agents, and pools, in the order of the work."
  @spec kinds() :: [kind]
  def kinds, do: [:read, :extract, :index]

  @doc "Starts an instance, its pools and all their workers."
  @spec start(atom, Options.t()) :: t
  def start(instance, options) do
    :ok = Gauges.new(instance)
    {:ok, crew} = Crew.named(options.crew)
    :ok = crew.open(instance)
    sizes = sizes(options.agents)

    pools =
      for kind <- kinds(), do: [worker: worker(crew, instance, kind)] ++ pool(kind, sizes[kind]) ++ guard(kind, options)

    more = if options.faults, do: Fault.options(), else: []
    # Its alerts are in the view, and in nobody's log.
    more = Keyword.update(more, :alerts, [sinks: []], &([sinks: []] ++ &1))
    {:ok, supervisor} = Kantoku.start_link(own(instance, options) ++ [pools: pools] ++ more)
    %__MODULE__{instance: instance, supervisor: supervisor, crew: crew, sizes: sizes}
  end

  defp own(instance, %{engine: engine, http: http}),
    do: [name: instance, engine: engine, objectives: @objectives, trace: @trace, http: http && [port: http]]

  # Half extract, which is most of the work.
  defp sizes(agents) do
    quarter = max(1, div(agents, 4))
    %{read: quarter, index: quarter, extract: agents - 2 * quarter}
  end

  # A piece of the files goes to the same shard in each pass, if that is free: it then counts on the terms that it has.
  defp pool(:index, size),
    do: [name: :index, target: size, strategy: :hash, warm_up_timeout: @warm_up]

  defp pool(kind, size) do
    [
      name: kind,
      min: size,
      max: size + grown(size),
      scaling: [scale_down: [stabilization: 5_000]],
      max_overflow: overflow(size),
      overflow_linger: 2_000,
      warm_up_timeout: @warm_up
    ]
  end

  # Where workers hang, a pool without end of patience is to be told when to wait. A shard is asked whatever becomes of it.
  defp guard(kind, %{faults: true}) when kind != :index,
    do: [breaker: [sliding_window_type: :time_based, sliding_window_size: 10, wait_duration_in_open_state: 1_000]]

  defp guard(_kind, _options), do: []

  # Scaled by the requests that workers have; and at once, beyond that, while some wait.
  defp grown(size), do: div(size + 1, 2)
  defp overflow(size), do: div(size + 3, 4)

  defp worker(crew, instance, kind), do: [capabilities: [kind]] ++ crew.worker(instance, kind)

  @doc "Ends the instance with all its agents."
  @spec stop(t) :: :ok
  def stop(%{supervisor: supervisor, crew: crew, instance: instance}) do
    Supervisor.stop(supervisor, :normal, :infinity)
    crew.close(instance)
  end

  @doc "All ids of a kind; also those that only a surge brings up."
  @spec ids(t, kind) :: [term]
  def ids(%{sizes: sizes}, kind), do: for(number <- 0..(most(kind, sizes[kind]) - 1), do: {:pool, kind, number})

  defp most(:index, size), do: size
  defp most(_kind, size), do: size + grown(size) + overflow(size)

  @doc """
  Runs `work` with a worker that nobody else is lent meanwhile: with its id, under which it comes back if it is killed. `:gone` if it is
  dead already.
  """
  @spec lend(t, kind, keyword, (term -> result)) :: {:ok, result} | :gone | {:error, Error.t()} when result: term
  def lend(%{instance: instance}, kind, opts, work) do
    with {:ok, result} <- Pool.run({instance, kind}, &named(instance, &1, work), opts), do: result
  end

  defp named(instance, pid, work) do
    case Registry.keys(instance, pid) do
      [id | _] -> {:ok, work.(id)}
      [] -> :gone
    end
  end

  @doc "What a pool has and does, `nil` while nobody can say."
  @spec status(t, kind) :: map | nil
  def status(%{instance: instance}, kind) do
    case Pool.status({instance, kind}) do
      {:ok, status} -> status
      {:error, _opened_again} -> nil
    end
  end

  @doc "The state of a pool's breaker, `nil` where there is none."
  @spec breaker(t, kind) :: Kantoku.Breaker.state() | nil
  def breaker(%{instance: instance}, kind) do
    case Kantoku.Breaker.status({instance, {:pool, kind}}) do
      {:ok, %{state: state}} -> state
      {:error, _none} -> nil
    end
  end

  @doc "The names of the alerts that fire."
  @spec alerts(t) :: [atom]
  def alerts(%{instance: instance}) do
    case Kantoku.Alert.list(instance) do
      {:ok, alerts} -> Enum.uniq(for %{state: :firing, name: name} <- alerts, do: name)
      {:error, _about_to_be_there} -> []
    end
  end

  @doc "How many agents fare how, in all pools."
  @spec health(t) :: %{Kantoku.Health.state() => non_neg_integer}
  def health(%{instance: instance}) do
    for kind <- kinds(), {:ok, %{members: members}} <- [Kantoku.Health.status(instance, {:pool, kind})], reduce: %{} do
      sum -> Map.merge(sum, members, fn _state, m, n -> m + n end)
    end
  end

  @doc "The sizes between which a pool has scaled itself, oldest first, as far back as its log goes."
  @spec moves(t, kind) :: [{from :: non_neg_integer, to :: non_neg_integer}]
  def moves(%{instance: instance}, kind) do
    case Pool.explain({instance, kind}) do
      {:ok, %{decisions: decisions}} ->
        for %{move: move, size: from, wanted: to} when move != :none <- Enum.reverse(decisions), do: {from, to}

      {:error, _opened_again} ->
        []
    end
  end

  @doc "How many agents are up, restarting and parked."
  @spec agents(t) :: %{atom => non_neg_integer}
  def agents(%{instance: instance}) do
    for kind <- kinds(), reduce: %{} do
      sum ->
        {:ok, %{agents: agents}} = Kantoku.Domain.status(instance, {:pool, kind})
        Map.merge(sum, agents, fn _status, m, n -> m + n end)
    end
  end
end

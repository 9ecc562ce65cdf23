defmodule Kantoku.Instance do
  # The top supervisor of an instance: makes the tables, which outlive everything below it, and starts the parts. Knows no agent.
  @moduledoc false
  @behaviour :supervisor

  import Kantoku.Domain.Rows, only: [row: 0, row: 2]

  alias Kantoku.{
    Alert,
    Breaker,
    Config,
    Degradation,
    Drain,
    Exporters,
    Health,
    Instances,
    Memory,
    Metrics,
    Migration,
    Resources,
    SLO,
    Store,
    Telemetry
  }

  alias Kantoku.Agent.Options
  alias Kantoku.Domain.{Book, Fuse, Gauges, Remains, Rows, Sweeper}
  alias Kantoku.Instance.{Core, Lasting}
  alias Kantoku.Pool.Life

  # What an earlier supervisor of this name left behind may take this long to stop, in ms.
  @patience 60_000

  @spec start_link(Config.t()) :: Supervisor.on_start()
  def start_link(config) do
    begun = System.monotonic_time()

    with {:ok, pid} <- :supervisor.start_link({:via, Instances, config.name}, __MODULE__, config) do
      duration = System.monotonic_time() - begun
      Telemetry.emit(config.name, [:instance, :started], %{duration: duration}, %{engine: config.engine})
      {:ok, pid}
    end
  end

  @doc "The address of an instance's supervisor."
  @spec address(atom) :: {:via, module, atom}
  def address(name), do: {:via, Instances, name}

  @impl true
  def init(config) do
    Remains.await(Instances.core(config.name), @patience)
    rows = Rows.new_table()
    book = Book.new_table()
    Book.put_started_at(book)
    store = open(config)
    Book.put_agent_options(book, Options.new!([store: store] ++ config.agents))
    Migration.Settings.open(config.name, config.migration, store)
    Metrics.Board.open(book, config)
    Metrics.Own.enter(book, config.name)
    gauges = enter_domains(config, rows, book)
    Instances.publish(config.name, {rows, book}, gauges)
    flags = %{strategy: :one_for_one, intensity: 3, period: 5, auto_shutdown: :any_significant}
    {:ok, {flags, closer(store, config.name) ++ children(config)}}
  end

  # In this process, as a store may live as long as who opened it.
  defp open(%{store: :none}), do: nil

  defp open(%{name: name, store: store}) do
    case Kantoku.Store.open(name, store) do
      {:ok, store} -> store
      {:error, reason} -> exit({:store, store, reason})
    end
  end

  # The first child stops last: when all who write have written. A VM that halts after this has nothing left to lose.
  defp closer(nil, _instance), do: []
  defp closer(store, instance), do: [Kantoku.Store.child_spec(store, instance)]

  # The last child stops first: the drain, while everything still stands, but for who has figures sent before it.
  defp children(config) do
    epoch = Book.next_epoch([])
    drain = Supervisor.child_spec({Drain.Server, {config.name, config.drain.timeout}}, [])
    {first, drain} = Exporters.Member.children(config.name, config.exports, drain)

    first
    |> Enum.concat([
      Fuse.child_spec({config.name, nil, epoch}),
      {Core, {config, epoch}},
      {Lasting, {Sweeper, {config.name, config.sweep}}},
      {Lasting, {Degradation.Watch, config.name}},
      Life.warming(config.name, Enum.map(config.pools, & &1.name))
    ])
    |> Enum.concat(drain)
    |> Enum.map(&Supervisor.child_spec(&1, []))
  end

  defp enter_domains(config, rows, book) do
    shape = %{
      parent: nil,
      strategy: :one_for_one,
      declared: [],
      nested: Enum.map(config.domains, & &1.name),
      partitions: 0,
      stop_order: :dynamic_first
    }

    chain = Book.add(book, nil, Config.policy(config), shape, [])
    Enum.each(config.domains, &enter_domain(&1, nil, chain, config.name, rows, book))
    Enum.each(config.breakers, fn {name, breaker} -> Breaker.Notes.put(book, name, breaker) end)
    Enum.each(config.pools, &Life.enter(book, &1))
    Health.Board.enter(book, config.health)
    Resources.Board.enter(book, config.resources)
    Degradation.Notes.enter(book, config.degradation)
    Memory.Notes.enter(book, config.memory)
    Metrics.Own.put_limits(book, config.name, limits(config))
    SLO.Board.open(book, config.objectives)
    Alert.Config.enter(book, config.alerts)
    hd(chain)
  end

  defp limits(config) do
    spans = if config.trace, do: config.trace.max_queue_bytes
    Map.merge(config.memory, %{metrics: config.metrics.max_bytes, traces: spans, store: waiting(config.store)})
  end

  defp waiting({Store.Disk, opts}), do: Store.Disk.max_pending_bytes(opts)
  defp waiting(Store.Disk), do: waiting({Store.Disk, []})
  defp waiting(_memory_or_none), do: nil

  defp enter_domain(domain, parent, above, instance, rows, book) do
    shape = %{
      parent: parent,
      strategy: domain.strategy,
      declared: Enum.map(domain.agents, &row(&1, :id)),
      nested: Enum.map(domain.domains, & &1.name),
      partitions: domain.partitions,
      stop_order: domain.stop_order
    }

    chain = Book.add(book, domain.name, domain.policy, shape, above)
    Enum.each(domain.agents, &enter_agent(&1, chain, instance, rows))
    Enum.each(domain.domains, &enter_domain(&1, domain.name, chain, instance, rows, book))
  end

  defp enter_agent(row() = agent, chain, instance, rows) do
    case Gauges.enter(chain, instance) do
      :ok -> Rows.insert_new(rows, agent)
      {:error, error} -> raise ArgumentError, Exception.message(error)
    end
  end
end

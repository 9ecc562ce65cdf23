defmodule Kantoku.Instance.Core do
  # The registry, who looks at how much its engine holds, who has spans kept there, the domains whose agents are named in it, the breakers, which that engine keeps, the
  # foremen of pools, whose workers are agents, who looks after the health of all, who keeps the objectives, and who tells of alerts:
  # without the registry and its engine the others are nothing, hence :rest_for_one. Knows no agent.
  @moduledoc false
  use Supervisor

  alias Kantoku.{Instances, Telemetry}
  alias Kantoku.Domain.{Book, Pair, Remains, Tree}
  alias Kantoku.Instance.Lasting

  # An earlier registry of this name, in ms.
  @patience 10_000

  @spec start_link({Kantoku.Config.t(), Book.epoch()}) :: Supervisor.on_start()
  def start_link({config, epoch}), do: Supervisor.start_link(__MODULE__, {config, Book.next_epoch(epoch)})

  @impl true
  def init({config, epoch}) do
    # Only where there was a core before: else the name belongs to someone who is none of ours.
    if Instances.core(config.name), do: Remains.await(Process.whereis(config.name), @patience)
    Instances.publish_core(config.name, self())

    children = [
      {Kantoku.Registry, [keys: :unique, name: config.name, engine: config.engine] ++ config.registry},
      {Lasting, {Kantoku.Memory.Watch, config.name}},
      {Lasting, {Kantoku.Trace.Keeper, {config.name, config.trace}}},
      %{id: :domains, start: {__MODULE__, :start_domains, [config.name, epoch]}, type: :supervisor},
      {Lasting, {Kantoku.Breaker.Clerk, config.name}},
      {Lasting, {Kantoku.Pool.Foremen, config.name}},
      {Lasting, {Kantoku.Health.Supervisor, config.name}},
      {Lasting, {Kantoku.SLO.Clerk, config.name}},
      {Lasting, {Kantoku.Alert.Supervisor, config.name}}
    ]

    Supervisor.init(children, strategy: :rest_for_one)
  end

  @doc "Starts the supervisor of the outermost domains. It never gives up: what domains escalate is counted in the book."
  @spec start_domains(atom, Book.epoch()) :: Supervisor.on_start()
  def start_domains(instance, above) do
    {_rows, book} = Instances.tables!(instance)
    epoch = Book.next_epoch(above)
    # The book is as old as the instance, so whoever was there before was killed, or what it is for.
    if Book.seated(book, :domains), do: Telemetry.emit(instance, [:instance, :recovered], %{}, %{})
    trees = for name <- Book.shape(book, nil).nested, do: Tree.child_spec({instance, name, epoch})

    with {:ok, domains} <- Supervisor.start_link(trees, [strategy: :one_for_one] ++ Pair.unlimited()) do
      Book.seat(book, :domains, epoch, {domains, epoch})
      {:ok, domains}
    end
  end

  @doc "Starts the tree of a domain that is among the outermost ones of the book, and was not when the others were started."
  @spec start_domain(atom, :ets.tid(), Kantoku.Domain.name()) :: :ok
  def start_domain(instance, book, domain) do
    Book.in_office(book, :domains, fn {supervisor, epoch} ->
      case Supervisor.start_child(supervisor, Tree.child_spec({instance, domain, epoch})) do
        {:ok, _tree} -> :ok
        {:error, {:already_started, _tree}} -> :ok
        {:error, :already_present} -> Supervisor.restart_child(supervisor, {:domain, domain})
      end
    end)
  end

  @doc "Stops the tree of a domain that is not among the outermost ones of the book any more."
  @spec stop_domain(:ets.tid(), Kantoku.Domain.name()) :: :ok
  def stop_domain(book, domain) do
    Book.in_office(book, :domains, fn {supervisor, _epoch} ->
      Supervisor.terminate_child(supervisor, {:domain, domain})
      Supervisor.delete_child(supervisor, {:domain, domain})
    end)
  end
end

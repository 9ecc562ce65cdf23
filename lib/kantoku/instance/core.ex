defmodule Kantoku.Instance.Core do
  # The registry, and the domains whose agents are named in it: without the one the others are nothing, hence :rest_for_one.
  # Knows no agent.
  @moduledoc false
  use Supervisor

  alias Kantoku.Instances
  alias Kantoku.Domain.{Book, Pair, Remains, Tree}

  # An earlier registry of this name, in ms.
  @patience 10_000

  @spec start_link({Kantoku.Config.t(), Book.epoch()}) :: Supervisor.on_start()
  def start_link({config, epoch}), do: Supervisor.start_link(__MODULE__, {config, Book.next_epoch(epoch)})

  @impl true
  def init({config, epoch}) do
    # Only where there was a core before: else the name belongs to someone who is none of ours.
    if Instances.core(config.name), do: Remains.await(Process.whereis(config.name), @patience)
    Instances.publish_core(config.name, self())
    names = Enum.map(config.domains, & &1.name)

    children = [
      {Kantoku.Registry, [keys: :unique, name: config.name, engine: config.engine] ++ config.registry},
      %{id: :domains, start: {__MODULE__, :start_domains, [config.name, names, epoch]}, type: :supervisor}
    ]

    Supervisor.init(children, strategy: :rest_for_one)
  end

  @doc "Starts the supervisor of the outermost domains. It never gives up: what domains escalate is counted in the book."
  @spec start_domains(atom, [atom], Book.epoch()) :: Supervisor.on_start()
  def start_domains(instance, names, above) do
    epoch = Book.next_epoch(above)
    trees = for name <- names, do: Tree.child_spec({instance, name, epoch})
    Supervisor.start_link(trees, [strategy: :one_for_one] ++ Pair.unlimited())
  end
end

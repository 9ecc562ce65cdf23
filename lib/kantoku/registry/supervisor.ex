defmodule Kantoku.Registry.Supervisor do
  # Opens the registry's instance, holds it, and starts its partitions. Knows nothing of keys.
  @moduledoc false
  use Supervisor

  alias Kantoku.Registry.{Config, Partition}

  @spec start_link(Config.t()) :: Supervisor.on_start()
  def start_link(config), do: Supervisor.start_link(__MODULE__, config, name: config.name)

  # The facts are in the instance, which this process holds; so a partition that is started again takes only its own
  # owners with it, by their links, and the others never hear of it.
  @impl true
  def init(config) do
    prepare!(config)
    Supervisor.init(partitions(config), strategy: :one_for_one)
  end

  @doc """
  Opens the instance and makes the table of settings and metadata; both live as long as the calling process.

  For a supervisor that has the partitions (`partitions/1`) among its own children.
  """
  @spec prepare!(Config.t()) :: :ok
  def prepare!(config) do
    case Kantoku.Engine.open(config.name, config.keys, config.partitions, config.listeners, config.engine) do
      :ok -> Config.publish(config)
      {:error, reason} -> exit(reason)
    end
  end

  @doc "The child specs of the partitions of a prepared registry."
  @spec partitions(Config.t()) :: [Supervisor.child_spec()]
  def partitions(config) do
    for index <- 0..(config.partitions - 1) do
      %{id: {Partition, index}, start: {Partition, :start_link, [config.name, index]}}
    end
  end
end

defmodule Kantoku.Engine.Elixir.Supervisor do
  # Keepers must not outlive the table that names them, nor pools, breakers, health and spans theirs, hence :rest_for_one. Knows no instance.
  @moduledoc false
  use Supervisor

  alias Kantoku.Engine.Elixir.{Breakers, Health, Instances, Pools, Traces}

  @spec start_link(term) :: Supervisor.on_start()
  def start_link(_arg), do: Supervisor.start_link(__MODULE__, [], name: __MODULE__)

  @impl true
  def init(_arg) do
    kept = [Breakers, Health, Traces]
    children = [Instances, processes(Instances.keepers()), Pools, processes(Pools.processes())] ++ kept
    Supervisor.init(children, strategy: :rest_for_one)
  end

  defp processes(name), do: Supervisor.child_spec({DynamicSupervisor, name: name, strategy: :one_for_one}, id: name)
end

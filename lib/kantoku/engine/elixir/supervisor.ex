defmodule Kantoku.Engine.Elixir.Supervisor do
  # Keepers must not outlive the table that names them, hence :rest_for_one. Knows no instance.
  @moduledoc false
  use Supervisor

  alias Kantoku.Engine.Elixir.Instances

  @spec start_link(term) :: Supervisor.on_start()
  def start_link(_arg), do: Supervisor.start_link(__MODULE__, [], name: __MODULE__)

  @impl true
  def init(_arg) do
    children = [Instances, {DynamicSupervisor, name: Instances.keepers(), strategy: :one_for_one}]
    Supervisor.init(children, strategy: :rest_for_one)
  end
end

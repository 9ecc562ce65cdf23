defmodule Kantoku.Exporters.Standing do
  # Says that an instance has started; and when it stops, and has its figures still, has them sent. There are two, one to end before the drain and
  # one after it, as what was drained may begin its counts anew. Exports nothing itself.
  @moduledoc false
  use GenServer

  alias Kantoku.Exporters.{Keeper, Members}

  @spec child_spec({atom, :draining | :drained}) :: Supervisor.child_spec()
  def child_spec({instance, which}), do: %{id: {__MODULE__, which}, start: {__MODULE__, :start_link, [instance]}}

  @spec start_link(atom) :: GenServer.on_start()
  def start_link(instance), do: GenServer.start_link(__MODULE__, instance)

  # Who starts an instance finds it exported.
  @impl true
  def init(instance) do
    Process.flag(:trap_exit, true)
    _ = Members.started(instance)
    Keeper.await()
    {:ok, instance, :hibernate}
  end

  @impl true
  def terminate(_reason, _instance), do: Keeper.flush()
end

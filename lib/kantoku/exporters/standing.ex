defmodule Kantoku.Exporters.Standing do
  # Says that an instance has started; and when it has drained, and has all of its figures still, has them sent. Exports nothing itself.
  @moduledoc false
  use GenServer

  alias Kantoku.Exporters.{Keeper, Members}

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

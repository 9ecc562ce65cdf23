defmodule Kantoku.Migration.Tree do
  # The processes of this room. What they know lies in the application's tables and each begins by reading it, so each may be started
  # again as often as it likes; only one that does nothing but fail takes the application along.
  @moduledoc false
  use Supervisor

  alias Kantoku.Migration.{Clerk, Mover}

  @spec start_link(term) :: Supervisor.on_start()
  def start_link(_arg), do: Supervisor.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil), do: Supervisor.init([Clerk, Mover], strategy: :one_for_one, max_restarts: 100, max_seconds: 5)
end

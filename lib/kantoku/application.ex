defmodule Kantoku.Application do
  # What every instance of this VM shares. Knows no instance.
  @moduledoc false
  use Application

  @impl true
  def start(_type, _args) do
    Supervisor.start_link([Kantoku.Native.FaultLog], strategy: :one_for_one, name: Kantoku.Application)
  end
end

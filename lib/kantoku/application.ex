defmodule Kantoku.Application do
  # What every instance of this VM shares. Knows no instance.
  @moduledoc false
  use Application

  @impl true
  def start(_type, _args) do
    children = [Kantoku.Native.FaultLog, Kantoku.Engine.Elixir.Supervisor]
    Supervisor.start_link(children, strategy: :one_for_one, name: Kantoku.Application)
  end
end

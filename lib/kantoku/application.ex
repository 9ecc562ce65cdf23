defmodule Kantoku.Application do
  # What every instance of this VM shares. Knows no instance.
  @moduledoc false
  use Application

  alias Kantoku.Api.{Recent, Timeline}
  alias Kantoku.Exporters.Members
  alias Kantoku.Migration.{Crowd, Journal, Roster, Settings}
  alias Kantoku.Resources.Carried
  alias Kantoku.Trace.{Cuts, Underway}

  # More often than anybody kills them, and not for ever where one of them cannot start.
  @patient [max_restarts: 100, max_seconds: 5]

  # The process that runs this lives as long as the application, and with it the tables of instances, of what is being moved, of spans
  # under way, of what is exported and of what ports carried.
  @impl true
  def start(_type, _args) do
    Kantoku.Instances.new_table()
    tables = [Settings, Journal, Crowd, Roster, Cuts, Underway, Members, Recent, Timeline, Carried]
    for table <- tables, do: table.new_table()

    children = [
      Kantoku.Native.FaultLog,
      Kantoku.Telemetry.Switchboard,
      Kantoku.Resources.Schedulers,
      Kantoku.Engine.Elixir.Supervisor,
      Kantoku.Instances,
      Kantoku.Resources.Traffic,
      Kantoku.Exporters.Heart,
      Kantoku.Exporters.Keeper,
      Kantoku.Api.Supervisor,
      Kantoku.Fuse.Events,
      Kantoku.Fuse.Server,
      Kantoku.Migration.Tree
    ]

    # Each of them is whole again at once, and none is worth the agents of all instances.
    Supervisor.start_link(children, [strategy: :one_for_one, name: Kantoku.Application] ++ @patient)
  end
end

defmodule Kantoku.Api.Route.Instances do
  # The instances of this VM.
  @moduledoc false
  @behaviour Kantoku.Api.Route

  alias Kantoku.Api.Shown
  alias Kantoku.Domain.{Book, Gauges}
  alias Kantoku.Exporters.Members
  alias Kantoku.Trace.Config
  alias Kantoku.{Engine, Instances}

  @impl true
  def answer(nil, _params) do
    started = for {instance, _pid, _number, _config, started?} <- Members.all(), into: %{}, do: {instance, started?}
    names = Enum.sort(Instances.names())

    found =
      for name <- names, %{engine: engine} = instance <- [instance(name, started)], engine != :unknown, do: instance

    # One may end meanwhile.
    {:ok, %{instances: found}}
  end

  defp instance(name, started) do
    Instances.reading(name, fn _rows, book ->
      [gauges | _] = Book.chain(book, nil)

      %{
        name: Shown.text(name),
        engine: Engine.kind(name),
        phase: phase(Gauges.draining?([gauges]), Map.get(started, name, true)),
        started_at: Shown.seconds(Book.started_at(book)),
        agents: Gauges.agents(gauges),
        traces: Config.of(name) != nil
      }
    end)
  end

  defp phase(true, _started?), do: :draining
  defp phase(false, true), do: :serving
  defp phase(false, false), do: :starting
end

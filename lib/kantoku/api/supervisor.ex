defmodule Kantoku.Api.Supervisor do
  # Who serves the listener's questions, hands events to it, remembers for it, and tells where it is; none keeps anything that the others need. Knows no request.
  @moduledoc false
  use Supervisor

  alias Kantoku.Api.{Feed, Recorder, Sampler, Server}
  alias Kantoku.Discovery.Announcer
  alias Kantoku.Domain.Pair

  @spec start_link(term) :: Supervisor.on_start()
  def start_link(_arg), do: Supervisor.start_link(__MODULE__, nil)

  @doc "Has those who remember look whether that is wanted."
  @spec look() :: :ok
  def look, do: Enum.each([Recorder, Sampler], &GenServer.cast(&1, :look))

  @impl true
  def init(nil),
    # Whatever becomes of who tells, those told of go on.
    do: Supervisor.init([Server, Feed, Recorder, Sampler, Announcer], [strategy: :one_for_one] ++ Pair.unlimited())
end

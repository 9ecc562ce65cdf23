defmodule Bench.Lifecycle.Worker do
  @moduledoc false
  # The GenServer that is supervised on both sides. It tells `watcher`, if there is one, that it is up; it counts what
  # it is told to, and forgets the count with its life.
  use GenServer

  @spec child_spec(keyword) :: Supervisor.child_spec()
  def child_spec(opts) do
    %{id: __MODULE__, start: {__MODULE__, :start_link, [opts]}, restart: :permanent, shutdown: 5_000}
  end

  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(opts) do
    {watcher, opts} = Keyword.pop(opts, :watcher)
    GenServer.start_link(__MODULE__, watcher, opts)
  end

  @impl true
  def init(watcher) do
    if watcher, do: send(watcher, {:up, self()})
    {:ok, 0}
  end

  @impl true
  def handle_call(:add, _from, count), do: {:reply, count + 1, count + 1}
  def handle_call(:hibernate, _from, count), do: {:reply, :ok, count, :hibernate}
end

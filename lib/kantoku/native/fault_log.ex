defmodule Kantoku.Native.FaultLog do
  # Tells of what the native library found by itself: panics that it caught, and what became of its files. Knows nothing of either.
  @moduledoc false
  use GenServer
  require Logger

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil), do: {:ok, nil}

  @impl true
  def handle_info({:kantoku_panic, text}, state) do
    Kantoku.Telemetry.emit(nil, [:native, :panic], %{}, %{place: text})
    Logger.error("Kantoku's native library caught a panic in #{text}")
    {:noreply, state}
  end

  def handle_info({:kantoku_store_turn, instance, path, turn}, state) do
    Kantoku.Store.Turns.tell(instance, path, turn)
    {:noreply, state}
  end

  def handle_info(_message, state), do: {:noreply, state}
end

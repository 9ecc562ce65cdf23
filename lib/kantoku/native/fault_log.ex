defmodule Kantoku.Native.FaultLog do
  # Tells the Logger of panics that the native library caught. Knows nothing of what panicked.
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

  def handle_info(_message, state), do: {:noreply, state}
end

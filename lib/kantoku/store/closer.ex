defmodule Kantoku.Store.Closer do
  # Closes a store in an orderly shutdown. Knows no agents and takes no writes.
  @moduledoc false
  use GenServer
  require Logger

  @spec start_link(Kantoku.Store.t()) :: GenServer.on_start()
  def start_link(store), do: GenServer.start_link(__MODULE__, store, hibernate_after: 1_000)

  @impl true
  def init(store) do
    Process.flag(:trap_exit, true)
    {:ok, store}
  end

  # A crash of this process alone must not take the store from those who still write. That it ends as killed means that
  # its supervisor was.
  @impl true
  def terminate(reason, store) when reason in [:normal, :shutdown, :killed], do: close(store)
  def terminate({:shutdown, _}, store), do: close(store)
  def terminate(_crash, _store), do: :ok

  defp close(store) do
    with {:error, reason} <- Kantoku.Store.close(store) do
      Logger.error("Kantoku: a store could not be closed: #{inspect(reason)}")
    end
  end
end

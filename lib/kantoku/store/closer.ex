defmodule Kantoku.Store.Closer do
  # Closes a store in an orderly shutdown. Knows no agents and takes no writes.
  @moduledoc false
  use GenServer

  alias Kantoku.Store.Turns

  @spec start_link({instance :: atom, Kantoku.Store.t()}) :: GenServer.on_start()
  def start_link(argument), do: GenServer.start_link(__MODULE__, argument, hibernate_after: 1_000)

  @impl true
  def init(argument) do
    Process.flag(:trap_exit, true)
    {:ok, argument}
  end

  # A crash of this process alone must not take the store from those who still write. That it ends as killed means that
  # its supervisor was.
  @impl true
  def terminate(reason, argument) when reason in [:normal, :shutdown, :killed], do: close(argument)
  def terminate({:shutdown, _}, argument), do: close(argument)
  def terminate(_crash, _argument), do: :ok

  defp close({instance, {module, _ref} = store}) do
    with {:error, reason} <- Kantoku.Store.close(store), do: Turns.not_closed(instance, module, reason)
  end
end

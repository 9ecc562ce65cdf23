defmodule Bench.Pool.Echo do
  @moduledoc false
  # The worker on both sides: answers at once; or which one it is, after so many ms in which it does nothing.
  use GenServer

  @spec start_link(term) :: GenServer.on_start()
  def start_link(arg), do: GenServer.start_link(__MODULE__, arg)

  @impl true
  def init(_arg), do: {:ok, nil}

  @impl true
  def handle_call({:rest, ms}, _from, state) do
    Process.sleep(ms)
    {:reply, self(), state}
  end

  def handle_call(request, _from, state), do: {:reply, request, state}
end

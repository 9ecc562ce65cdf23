defmodule Demo.Reader do
  # An agent that reads files and decodes them: a plain OTP process, as it has an effect and no state. Knows no other agent.
  @moduledoc false
  use GenServer

  @doc "Starts a reader."
  @spec start_link(term) :: GenServer.on_start()
  def start_link(arg), do: GenServer.start_link(__MODULE__, arg)

  @impl true
  def init(_arg), do: {:ok, nil}

  # Between two files it keeps nothing of the last one.
  @impl true
  def handle_call({:read, path}, _from, state), do: {:reply, Demo.Decode.file(path), state, :hibernate}

  @impl true
  def handle_cast({:fault, kind, instance}, state) do
    Demo.Fault.strike(kind, instance)
    {:noreply, state}
  end
end

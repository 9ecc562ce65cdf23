defmodule Kantoku.Trace.Keeper do
  # Has an instance's buffer of spans open, and says that it traces; below the registry, with whose engine the buffer ends. Once in a while
  # it sets their clock, and looks for agents that died in a span and never came back. No span passes through it.
  @moduledoc false
  use GenServer

  alias Kantoku.Engine.Traces
  alias Kantoku.Exporters
  alias Kantoku.Trace.{Clock, Config, Cuts}

  # Between two looks, and how long who died is waited for, in ms.
  @look 10_000
  @patience 60_000

  @spec start_link({atom, Config.t() | nil}) :: GenServer.on_start()
  def start_link({instance, config}), do: GenServer.start_link(__MODULE__, {instance, config})

  @impl true
  def init({instance, nil}) do
    Config.withdraw(instance)
    :ignore
  end

  def init({instance, config}) do
    Process.flag(:trap_exit, true)

    with :ok <- Traces.trace_open(instance, config.max_queue_size, config.max_queue_bytes) do
      clock = Clock.new()
      Config.publish(instance, config, clock)
      if Exporters.Members.traced?(instance), do: Exporters.Keeper.look()
      {:ok, {instance, clock}, @look}
    else
      :unknown -> {:stop, :registry_not_running}
    end
  end

  @impl true
  def handle_info(:timeout, {instance, clock} = state) do
    Clock.set(clock)
    Cuts.sweep(instance, Clock.ms(@patience))
    {:noreply, state, @look}
  end

  def handle_info(_other, state), do: {:noreply, state, @look}

  # All who made spans have ended, and the buffer is still there: what it holds is sent now.
  @impl true
  def terminate(_reason, {instance, _clock}) do
    Config.withdraw(instance)
    if Exporters.Members.traced?(instance), do: Exporters.Keeper.await()
  end
end

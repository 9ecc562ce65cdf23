defmodule Kantoku.Trace.Keeper do
  # Has an instance's buffer of spans open, and says that it traces; below the registry, with whose engine the buffer ends. Once in a while
  # it sets their clock, and looks for agents that died in a span and never came back. No span passes through it.
  @moduledoc false
  use GenServer
  require Logger

  alias Kantoku.Engine.Traces
  alias Kantoku.{Exporters, Telemetry}
  alias Kantoku.Trace.{Clock, Config, Cuts, Underway}

  # Between two looks, and how long who died is waited for, in ms.
  @look 10_000
  @patience 60_000

  # Between two times that dropped spans are told of.
  @minute 60_000

  # `told`: how many dropped spans were told of, and when last.
  defstruct [:instance, :clock, told: {0, nil}]

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
      exported? = Exporters.Members.traced?(instance)
      if exported?, do: Traces.trace_share(instance)
      clock = Clock.new()
      Config.publish(instance, config, clock)
      if exported?, do: Exporters.Keeper.look()
      {:ok, %__MODULE__{instance: instance, clock: clock, told: {dropped(instance), nil}}, @look}
    else
      :unknown -> {:stop, :registry_not_running}
    end
  end

  @impl true
  def handle_info(:timeout, %{instance: instance} = state) do
    Clock.set(state.clock)
    Cuts.sweep(instance, Clock.ms(@patience))
    Underway.sweep(instance)
    {:noreply, tell_drops(state, dropped(instance), System.monotonic_time(:millisecond)), @look}
  end

  def handle_info(_other, state), do: {:noreply, state, @look}

  defp dropped(instance) do
    case Traces.trace_counts(instance) do
      %{dropped: dropped} -> dropped
      :unknown -> 0
    end
  end

  defp tell_drops(%{instance: instance, told: {before, at}} = state, dropped, now)
       when dropped > before and (at == nil or now - at >= @minute) do
    Logger.warning("Kantoku, #{inspect(instance)}: #{dropped - before} spans were dropped, as their buffer is full")
    Telemetry.emit(instance, [:trace, :dropped], %{spans: dropped - before}, %{})
    %{state | told: {dropped, now}}
  end

  defp tell_drops(state, _dropped, _now), do: state

  # All who made spans have ended, and the buffer is still there: what it holds is sent now.
  @impl true
  def terminate(_reason, %{instance: instance}) do
    Config.withdraw(instance)
    Cuts.close(instance)
    Underway.close(instance)
    if Exporters.Members.traced?(instance), do: Exporters.Keeper.await()
  end
end

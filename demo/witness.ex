defmodule Demo.Witness do
  # Sees agents killed, come back and parked, by the registry's watch and the instance's events, and takes the time.
  # Changes nothing.
  @moduledoc false
  use GenServer

  alias Demo.{Fleet, Gauges}
  alias Kantoku.{Entry, Telemetry}

  @buffer 50_000

  @type t :: GenServer.server()

  @doc "Starts a witness of a fleet whose agents all run."
  @spec start_link(Fleet.t()) :: GenServer.on_start()
  def start_link(fleet), do: GenServer.start_link(__MODULE__, fleet)

  @doc "Told by who is about to kill an agent."
  @spec killing(t, id :: term) :: :ok
  def killing(witness, id), do: GenServer.cast(witness, {:killing, id, now()})

  @doc "Ends it when all that happened before is counted; how many events were missed."
  @spec stop(t) :: non_neg_integer
  def stop(witness), do: GenServer.call(witness, :stop, :infinity)

  @impl true
  def init(%{instance: instance, sizes: sizes}) do
    {:ok, events} = Telemetry.subscribe(instance, events: [[:agent, :restarting], [:agent, :parked]], buffer: @buffer)
    {:ok, watch, _all} = Kantoku.watch(instance, any: [capabilities: Map.keys(sizes)])
    {:ok, %{instance: instance, sizes: sizes, events: events, watch: watch, killed: %{}}}
  end

  @impl true
  def handle_cast({:killing, id, at}, state), do: {:noreply, put_in(state.killed[id], {at, 0})}

  @impl true
  def handle_call(:stop, _from, state), do: {:stop, :normal, Telemetry.dropped(state.events), state}

  @impl true
  def handle_info({:kantoku_event, ref, name, measurements, %{id: id}}, %{events: ref} = state) do
    Telemetry.ack(ref)
    {:noreply, event(List.last(name), id, measurements, state)}
  end

  def handle_info({:kantoku_watch, _ref, _event, _what} = message, state) do
    case Entry.from_watch(message) do
      {:join, _ref, %{key: id}} -> {:noreply, back(state, id)}
      _left_or_changed -> {:noreply, state}
    end
  end

  defp event(:restarting, id, %{delay: delay}, %{killed: killed} = state) do
    if is_map_key(killed, id), do: put_in(state.killed[id], {elem(killed[id], 0), delay}), else: state
  end

  defp event(:parked, id, _measurements, %{killed: killed} = state) do
    Gauges.add(state.instance, :parked)
    if is_map_key(killed, id), do: put_in(state.killed[id], {elem(killed[id], 0), :parked}), else: state
  end

  defp back(%{instance: instance, killed: killed} = state, id) do
    if restart?(state, id), do: Gauges.add(instance, :restarts)
    {kill, killed} = Map.pop(killed, id)
    timed(instance, kill)
    %{state | killed: killed}
  end

  # Workers beyond the size of their pool come and go with the load.
  defp restart?(%{sizes: sizes, killed: killed}, {:pool, kind, number} = id),
    do: number < sizes[kind] or is_map_key(killed, id)

  defp timed(_instance, nil), do: :ok

  defp timed(instance, {at, delay}) do
    took = now() - at
    Gauges.record(instance, :back, took)
    if is_integer(delay), do: Gauges.record(instance, :beyond, took - delay * 1_000)
  end

  defp now, do: System.monotonic_time(:microsecond)
end

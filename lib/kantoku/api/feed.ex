defmodule Kantoku.Api.Feed do
  # Hands the VM's events to the library while somebody reads them there as a stream; one for the VM. What it cannot keep up with is not kept by
  # who emits either, but counted, and told to who reads. Also bounds how many read events by themselves, which each costs a subscription.
  @moduledoc false
  use GenServer

  alias Kantoku.Api.Happening
  alias Kantoku.{JSON, Native, Telemetry}

  # As many as the library has.
  @most 32

  defstruct [:subscription, dropped: 0, readers: %{}]

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Lets the calling process read events by itself, until it ends or leaves; `:full` where as many do as may."
  @spec enter() :: {:ok, reference} | :full | :not_there
  def enter do
    GenServer.call(__MODULE__, :enter)
  catch
    # It is being started again, or busy.
    :exit, _reason -> :not_there
  end

  @spec leave(reference) :: :ok
  def leave(reader), do: GenServer.cast(__MODULE__, {:leave, reader})

  @impl true
  def init(nil), do: {:ok, heed(%__MODULE__{}, read?())}

  # A library that is not there has no readers.
  defp read?, do: match?(readers when is_integer(readers) and readers > 0, Native.exporters_readers())

  @impl true
  def handle_call(:enter, _from, %{readers: readers} = state) when map_size(readers) >= @most,
    do: {:reply, :full, state}

  def handle_call(:enter, {pid, _tag}, state) do
    reader = Process.monitor(pid)
    {:reply, {:ok, reader}, %{state | readers: Map.put(state.readers, reader, pid)}}
  end

  @impl true
  def handle_cast({:leave, reader}, state) do
    Process.demonitor(reader, [:flush])
    {:noreply, %{state | readers: Map.delete(state.readers, reader)}}
  end

  @impl true
  def handle_info({:kantoku_events, whether}, state), do: {:noreply, heed(state, whether)}

  def handle_info({:kantoku_event, ref, name, measurements, metadata}, %{subscription: ref} = state) do
    Telemetry.ack(ref)
    event = Happening.map(name, measurements, metadata)
    data = IO.iodata_to_binary(JSON.encode(event))
    # Who read may have gone with the listener, and so without a word.
    read? = Native.exporters_event(event.instance || "", event.event, data) == true
    {:noreply, state |> heed(read?) |> tell_dropped()}
  end

  def handle_info({:DOWN, reader, :process, _pid, _reason}, state),
    do: {:noreply, %{state | readers: Map.delete(state.readers, reader)}}

  def handle_info(_late, state), do: {:noreply, state}

  defp heed(%{subscription: nil} = state, true) do
    {:ok, ref} = Telemetry.subscribe(nil)
    %{state | subscription: ref, dropped: 0}
  end

  defp heed(%{subscription: ref} = state, false) when ref != nil do
    Telemetry.unsubscribe(ref)
    %{state | subscription: nil}
  end

  defp heed(state, _as_it_is), do: state

  defp tell_dropped(%{subscription: nil} = state), do: state

  defp tell_dropped(%{subscription: ref, dropped: told} = state) do
    case Telemetry.dropped(ref) do
      ^told ->
        state

      dropped ->
        _ = Native.exporters_events_dropped(dropped - told)
        %{state | dropped: dropped}
    end
  end
end

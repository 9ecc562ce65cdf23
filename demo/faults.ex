defmodule Demo.Faults do
  # Makes agents hang, slow down and leak, at a rate, until the time is over; and hears of whom health restarts: those that hung, or others,
  # who were well. Kills nobody.
  @moduledoc false
  use GenServer

  alias Demo.{Fault, Fleet, Gauges}
  alias Kantoku.Telemetry

  # Of so many faults one is a hang; it keeps its agent for as long as its limit lasts, the others for less.
  @cycle {:slow, :leak, :hang, :slow, :leak}
  # Faults for each hundred kills.
  @share 25
  @draws 100
  # ms between two looks whether all that hang were found, and until it is given up.
  @look 50
  @patience 30_000

  @type t :: GenServer.server()

  @doc "Begins; linked to the caller."
  @spec start_link(Fleet.t(), kill_rate :: non_neg_integer, deadline :: integer) :: GenServer.on_start()
  def start_link(fleet, kill_rate, deadline), do: GenServer.start_link(__MODULE__, {fleet, kill_rate, deadline})

  @doc "Ends it when whoever hangs was found, or is dead by other hands."
  @spec stop(t) :: :ok
  def stop(faults), do: GenServer.call(faults, :stop, :infinity)

  @impl true
  def init({%{instance: instance} = fleet, kill_rate, deadline}) do
    {:ok, events} = Telemetry.subscribe(instance, events: [[:health, :restarting]], buffer: 10_000)
    pause = div(1_000, max(1, div(kill_rate * @share, 100)))
    ids = fleet.sizes |> Map.keys() |> Enum.flat_map(&Fleet.ids(fleet, &1)) |> List.to_tuple()

    state = %{
      fleet: fleet,
      ids: ids,
      pause: pause,
      deadline: deadline,
      book: Fault.open(instance),
      events: events,
      found: MapSet.new(),
      struck: 0,
      stop: nil
    }

    {:ok, next(state)}
  end

  @impl true
  def handle_call(:stop, from, state), do: settle(%{state | stop: {from, now() + @patience}})

  @impl true
  def handle_info(:strike, %{stop: nil, deadline: deadline} = state) do
    if now() < deadline, do: {:noreply, state |> strike() |> next()}, else: {:noreply, state}
  end

  def handle_info(:strike, state), do: {:noreply, state}
  def handle_info(:settle, state), do: settle(state)

  def handle_info({:kantoku_event, ref, _name, _measurements, %{pid: pid}}, %{events: ref} = state) do
    Telemetry.ack(ref)
    {:noreply, restarted(state, pid)}
  end

  defp next(state) do
    Process.send_after(self(), :strike, state.pause)
    state
  end

  # Another one each time, whatever it does.
  defp strike(%{fleet: %{instance: instance}, struck: struck} = state) do
    with pid when is_pid(pid) <- draw(state, @draws),
         do: GenServer.cast(pid, {:fault, elem(@cycle, rem(struck, tuple_size(@cycle))), instance})

    %{state | struck: struck + 1}
  end

  defp draw(_state, 0), do: nil

  defp draw(%{ids: ids, fleet: fleet} = state, draws) do
    id = elem(ids, :rand.uniform(tuple_size(ids)) - 1)
    Kantoku.whereis(fleet.instance, id) || draw(state, draws - 1)
  end

  defp restarted(%{book: book, fleet: %{instance: instance}} = state, pid) do
    if Fault.hung?(book, pid) do
      Gauges.add(instance, :stuck_found)
      %{state | found: MapSet.put(state.found, pid)}
    else
      Gauges.add(instance, :healthy_restarted)
      state
    end
  end

  defp settle(%{stop: {from, until}, book: book, found: found} = state) do
    others = Enum.reject(Fault.hung(book), &(&1 in found))
    hanging = Enum.count(others, &Process.alive?/1)

    if hanging == 0 or now() > until do
      Gauges.put(state.fleet.instance, :hung_killed, length(others) - hanging)
      Gauges.put(state.fleet.instance, :hung_left, hanging)
      GenServer.reply(from, :ok)
      {:stop, :normal, state}
    else
      Process.send_after(self(), :settle, @look)
      {:noreply, state}
    end
  end

  defp now, do: System.monotonic_time(:millisecond)
end

defmodule Kantoku.Fuse.Server do
  # Keeps all fuses, one change after the other, and looks at them once a minute for the sake of alarms. What is asked of them
  # is a row that all may read: {name, :ok | :blown | {:gradual, rate}, counters}.
  @moduledoc false
  use GenServer

  alias Kantoku.Fuse.{Events, Stats}

  # Between two looks, in ms, and after how many whole ones an alarm is cleared: fuse's.
  @look 60_000
  @calm 3

  defstruct fuses: %{}, alarms: %{}

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @spec call(tuple) :: term
  def call(request), do: GenServer.call(__MODULE__, request)

  @doc "What the row of a fuse says."
  @spec ask(term) :: :ok | :blown | {:error, :not_found}
  def ask(name) do
    case :ets.lookup(__MODULE__, name) do
      [{_name, {:gradual, rate}, _counters}] -> if :rand.uniform() < rate, do: :blown, else: :ok
      [{_name, state, counters}] -> Stats.count(counters, state)
      [] -> {:error, :not_found}
    end
  end

  @doc "The counters of a fuse."
  @spec counters(term) :: :counters.counters_ref() | nil
  def counters(name) do
    case :ets.lookup(__MODULE__, name) do
      [{_name, _state, counters}] -> counters
      [] -> nil
    end
  end

  @impl true
  def init(_arg) do
    :ets.new(__MODULE__, [:named_table, :protected, :set, read_concurrency: true])
    Process.send_after(self(), :look, @look)
    {:ok, %__MODULE__{}, :hibernate}
  end

  @impl true
  def handle_call({:ask, name}, _from, state), do: {:reply, ask(name), state}

  def handle_call({:install, name, {kind, intensity, period, heal}}, _from, state) do
    old = Map.get(state.fuses, name, %{enabled: true, timer: nil, counters: Stats.new()})
    cancel(old)

    fuse = %{
      name: name,
      kind: kind,
      intensity: intensity,
      period: System.convert_time_unit(period, :millisecond, :native),
      heal: heal,
      melts: [],
      timer: nil,
      enabled: old.enabled,
      counters: old.counters
    }

    {:reply, :ok, put(state, whole(fuse))}
  end

  def handle_call({:melt, name}, _from, state) do
    case state.fuses do
      %{^name => fuse} ->
        Stats.count(fuse.counters, :melt)
        {:reply, :ok, put(state, melt(fuse, System.monotonic_time()))}

      %{} ->
        {:reply, :ok, state}
    end
  end

  def handle_call({:reset, name}, _from, state), do: change(state, name, &(&1 |> cancel() |> whole()))

  def handle_call({:circuit, name, enabled}, _from, state) do
    change(state, name, fn
      %{enabled: ^enabled} = fuse -> fuse
      fuse when enabled -> whole(%{fuse | enabled: true})
      fuse -> %{blow(cancel(fuse)) | enabled: false}
    end)
  end

  def handle_call({:remove, name}, _from, state) do
    case Map.pop(state.fuses, name) do
      {nil, _fuses} ->
        {:reply, {:error, :not_found}, state}

      {fuse, fuses} ->
        cancel(fuse)
        :ets.delete(__MODULE__, name)
        Events.notify({name, :removed})
        {:reply, :ok, %{state | fuses: fuses}}
    end
  end

  # A timer that was given up may have gone off before.
  @impl true
  def handle_info({:timeout, timer, {:heal, name}}, state) do
    case state.fuses do
      %{^name => %{timer: ^timer} = fuse} -> {:noreply, put(state, whole(%{fuse | timer: nil}))}
      %{} -> {:noreply, state}
    end
  end

  def handle_info(:look, state) do
    Process.send_after(self(), :look, @look)
    {:noreply, %{state | alarms: look(state.alarms)}, :hibernate}
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp change(state, name, change) do
    case state.fuses do
      %{^name => fuse} -> {:reply, :ok, put(state, change.(fuse))}
      %{} -> {:reply, {:error, :not_found}, state}
    end
  end

  defp put(state, fuse), do: %{state | fuses: Map.put(state.fuses, fuse.name, fuse)}

  defp melt(%{period: period, intensity: intensity} = fuse, now) do
    melts = Enum.take_while([now | fuse.melts], &(now - &1 < period))
    fuse = %{fuse | melts: melts}
    if length(melts) > intensity, do: fuse |> blow() |> heal_later(), else: fuse
  end

  # Who is disabled stays blown, whatever is done to it.
  defp blow(%{enabled: false} = fuse), do: fuse
  defp blow(fuse), do: show(fuse, :blown)

  defp whole(%{enabled: false} = fuse), do: %{fuse | melts: []}
  defp whole(fuse), do: show(%{fuse | melts: []}, fuse.kind)

  defp show(fuse, shown) do
    :ets.insert(__MODULE__, {fuse.name, shown, fuse.counters})
    Events.notify({fuse.name, shown})
    fuse
  end

  defp heal_later(%{enabled: true, timer: nil} = fuse),
    do: %{fuse | timer: :erlang.start_timer(fuse.heal, self(), {:heal, fuse.name})}

  defp heal_later(fuse), do: fuse

  defp cancel(%{timer: nil} = fuse), do: fuse

  defp cancel(%{timer: timer} = fuse) do
    :erlang.cancel_timer(timer)
    %{fuse | timer: nil}
  end

  # Alarms -----------------------------------------------------------------------------------------------------------------

  defp look(alarms) do
    blown = for [name] <- :ets.match(__MODULE__, {:"$1", :blown, :_}), into: %{}, do: {name, @calm}
    for {name, _calm} <- blown, not is_map_key(alarms, name), do: alarm({:set_alarm, {name, :fuse_blown}})
    calmer = for {name, calm} <- alarms, not is_map_key(blown, name), into: %{}, do: {name, calm - 1}
    for {name, 0} <- calmer, do: alarm({:clear_alarm, name})
    calmer |> Map.reject(fn {_name, calm} -> calm == 0 end) |> Map.merge(blown)
  end

  # SASL's, where that runs.
  defp alarm(event), do: Process.whereis(:alarm_handler) && :gen_event.notify(:alarm_handler, event)
end

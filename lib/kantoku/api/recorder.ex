defmodule Kantoku.Api.Recorder do
  # Writes down what becomes of agents while somebody may ask for that: while there is a listener, or since `Kantoku.Plug` was asked. It hears of it
  # by four subscriptions, so that many starts, snapshots or calls crowd out nothing else, and makes room in them at its own pace: so what it costs is bounded,
  # and whatever comes faster than that is not written down.
  @moduledoc false
  use GenServer

  alias Kantoku.Api.{Happening, Shown, Timeline}
  alias Kantoku.Exporters.Members
  alias Kantoku.Telemetry

  # In ms, and how many events of each kind between two of them.
  @pace 100
  @lives 500
  @starts 100
  @snapshots 100
  @calls 100

  @transitions [
    [:agent, :ready],
    [:agent, :restored],
    [:agent, :parked],
    [:agent, :unparked],
    [:agent, :stopped],
    [:agent, :directive, :undeliverable],
    [:health, :shut_out],
    [:health, :let_in],
    [:health, :at_risk],
    [:health, :safe]
  ]
  @restarts [[:agent, :crashed], [:agent, :restarting], [:agent, :stuck], [:health, :restarting]]
  @started [[:agent, :spawned]]
  @kept [[:agent, :snapshot]]
  @called [[:agent, :called]]

  defstruct subscriptions: [], asked?: false, due: %{}

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Says that somebody asks without a listener."
  @spec asked() :: :ok
  def asked, do: GenServer.cast(__MODULE__, :asked)

  @impl true
  def init(nil) do
    Timeline.take_over()
    {:ok, look(%__MODULE__{})}
  end

  @impl true
  def handle_cast(:look, state), do: {:noreply, look(state)}
  def handle_cast(:asked, state), do: {:noreply, look(%{state | asked?: true})}

  @impl true
  def handle_info({:kantoku_event, ref, name, measurements, metadata}, state) do
    write(name, measurements, metadata)
    if state.due == %{}, do: Process.send_after(self(), :go_on, @pace)
    {:noreply, %{state | due: Map.update(state.due, ref, 1, &(&1 + 1))}}
  end

  def handle_info(:go_on, state) do
    for {ref, count} <- state.due, do: Telemetry.ack(ref, count)
    {:noreply, %{state | due: %{}}}
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp look(state) do
    case {state.asked? or Members.http?(), state.subscriptions} do
      {true, []} -> %{state | subscriptions: [heed(@transitions ++ @restarts, @lives) | rest()]}
      {false, [_ | _] = refs} -> forget(state, refs)
      _as_it_is -> state
    end
  end

  defp rest, do: [heed(@started, @starts), heed(@kept, @snapshots), heed(@called, @calls)]

  defp heed(events, buffer) do
    {:ok, ref} = Telemetry.subscribe(nil, events: events, buffer: buffer)
    ref
  end

  defp forget(state, refs) do
    Enum.each(refs, &Telemetry.unsubscribe/1)
    %{state | subscriptions: [], due: %{}}
  end

  defp write(name, measurements, %{id: id, instance: instance} = metadata) do
    with key when key != nil <- Shown.key(id), true <- worth?(name, Shown.text(instance), key) do
      entry = %{at: Shown.now(), kind: kind(name), text: text(name, measurements, metadata), took: took(measurements)}
      Timeline.put(Shown.text(instance), key, entry)
    end
  end

  defp write(_of_no_agent, _measurements, _metadata), do: :ok

  # That it came back, as all begin once.
  defp worth?([:kantoku, :agent, :spawned], instance, key), do: Timeline.known?(instance, key)
  defp worth?(_other, _instance, _key), do: true

  defp kind([:kantoku | name]) when name in @restarts, do: :restart
  defp kind([:kantoku, :agent, :snapshot, _what]), do: :snapshot
  defp kind([:kantoku, :agent, :called]), do: :call
  defp kind(_other), do: :transition

  defp took(%{duration: duration}), do: Happening.measured(duration, :native)
  defp took(_other), do: nil

  @told [:reason, :probe, :sign, :crashes, :revision, :by, :action, :kind, :error_type, :trace_id]

  # "agent.crashed, reason: killed, crashes: 2"
  defp text(name, measurements, metadata) do
    said = for {name, value} <- Map.merge(measurements, metadata), value != nil, name in @told, do: {name, value}
    told = said |> Map.new() |> Shown.texts() |> Enum.sort()
    Shown.text(Enum.join([Happening.name(name) | for({name, value} <- told, do: "#{name}: #{value}")], ", "))
  end
end

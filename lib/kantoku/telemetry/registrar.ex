defmodule Kantoku.Telemetry.Registrar do
  # Takes subscriptions in and out and sees subscribers die. Knows no events and is on no emitter's path.
  @moduledoc false
  use GenServer

  alias Kantoku.Telemetry.{Subscription, Switchboard}

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc "Subscribes the calling process, or what it has done in its place; until it dies."
  @spec subscribe(atom, [pos_integer], pos_integer, Switchboard.run() | nil) :: Subscription.t()
  def subscribe(instance, numbers, buffer, run \\ nil) do
    GenServer.call(__MODULE__, {:subscribe, instance, numbers, buffer, run}, :infinity)
  end

  @spec unsubscribe(Subscription.t()) :: :ok
  def unsubscribe(ref), do: GenServer.call(__MODULE__, {:unsubscribe, ref}, :infinity)

  @impl true
  def init(_arg), do: {:ok, %{}, {:continue, :recover}}

  # One monitor per subscriber; the state maps its pid to that monitor and to its subscriptions.
  @impl true
  def handle_continue(:recover, subscribers) do
    Switchboard.recount()
    {:noreply, Enum.reduce(Switchboard.subscriptions(), subscribers, &put/2)}
  end

  @impl true
  def handle_call({:subscribe, instance, numbers, buffer, run}, {pid, _tag}, subscribers) do
    ref = Subscription.new(buffer)
    Switchboard.add(instance, numbers, pid, ref, run)
    {:reply, ref, put({pid, ref, instance, numbers}, subscribers)}
  end

  def handle_call({:unsubscribe, ref}, _from, subscribers) do
    found = Enum.find(Switchboard.subscriptions(), &(elem(&1, 1) == ref))
    {:reply, :ok, drop(found, subscribers)}
  end

  @impl true
  def handle_info({:DOWN, monitor, :process, pid, _reason}, subscribers) do
    {{^monitor, subscriptions}, rest} = Map.pop!(subscribers, pid)
    Enum.each(subscriptions, &remove/1)
    {:noreply, rest}
  end

  defp put({pid, _ref, _instance, _numbers} = subscription, subscribers) do
    {monitor, others} = Map.get_lazy(subscribers, pid, fn -> {Process.monitor(pid), []} end)
    Map.put(subscribers, pid, {monitor, [subscription | others]})
  end

  defp drop(nil, subscribers), do: subscribers

  defp drop({pid, _ref, _instance, _numbers} = subscription, subscribers) do
    remove(subscription)
    {monitor, subscriptions} = Map.fetch!(subscribers, pid)
    settle(subscribers, pid, monitor, List.delete(subscriptions, subscription))
  end

  defp settle(subscribers, pid, monitor, []) do
    Process.demonitor(monitor, [:flush])
    Map.delete(subscribers, pid)
  end

  defp settle(subscribers, pid, monitor, rest), do: Map.put(subscribers, pid, {monitor, rest})

  defp remove({pid, ref, instance, numbers}), do: Switchboard.remove(instance, numbers, pid, ref)
end

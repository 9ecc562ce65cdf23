defmodule Kantoku.Exporters.Heart do
  # Tells the library each second that the VM lives, and whether its instances serve, while any instance wants something exported. A process of its
  # own, that waits for nobody: who keeps exporters may have to wait for a user's function, or for what ends. Starts and ends nothing.
  @moduledoc false
  use GenServer

  alias Kantoku.Domain.Gauges
  alias Kantoku.Exporters.{Members, Native}
  alias Kantoku.Instances

  @beat 1_000

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Has it look whether anybody wants something exported."
  @spec look() :: :ok
  def look, do: GenServer.cast(__MODULE__, :look)

  @doc "Beats once, whoever calls."
  @spec beat() :: :ok
  def beat do
    members = Members.living()
    started? = Enum.all?(members, fn {_instance, _pid, _number, _config, started?} -> started? end)
    ready? = started? and Enum.all?(members, fn {instance, _, _, _, _} -> serves?(instance) end)
    if members != [], do: Native.beat(ready?, started?)
    :ok
  end

  defp serves?(instance) do
    case Instances.gauges(instance) do
      nil -> false
      gauges -> Instances.whereis_name(instance) != :undefined and not Gauges.draining?([gauges])
    end
  end

  @impl true
  def init(nil), do: {:ok, look(nil)}

  @impl true
  def handle_cast(:look, timer), do: {:noreply, look(timer)}

  @impl true
  def handle_info({:timeout, timer, :beat}, timer), do: {:noreply, look(nil)}
  def handle_info(_other, timer), do: {:noreply, timer}

  defp look(nil) do
    beat()
    if Members.living() != [], do: :erlang.start_timer(@beat, self(), :beat)
  end

  defp look(timer), do: timer
end

defmodule Kantoku.Api.Sampler do
  # Notes in the library's history what only the VM knows: agents, memory and processor time; once in ten seconds, while there is a listener, or
  # since `Kantoku.Plug` was asked. What the metrics say the library reads by itself, or, without a listener, when it is told to here.
  @moduledoc false
  use GenServer

  alias Kantoku.Api.Shown
  alias Kantoku.Domain.Gauges
  alias Kantoku.Exporters.{Given, Members}
  alias Kantoku.{Instances, Native, Resources}
  alias Kantoku.Resources.{OS, Schedulers}

  # As the finest of the history's spans, in ms.
  @interval 10_000

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Says that somebody asks without a listener."
  @spec asked() :: :ok
  def asked, do: GenServer.cast(__MODULE__, :asked)

  @impl true
  def init(nil), do: {:ok, look(%{timer: nil, cpu: nil, asked?: false})}

  @impl true
  def handle_cast(:look, state), do: {:noreply, look(state)}
  def handle_cast(:asked, state), do: {:noreply, look(%{state | asked?: true})}

  @impl true
  def handle_info({:timeout, timer, :sample}, %{timer: timer} = state), do: {:noreply, look(%{state | timer: nil})}
  def handle_info(_other, state), do: {:noreply, state}

  defp look(state) do
    case {state.asked? or Members.http?(), state.timer} do
      {true, nil} ->
        sample(%{state | timer: :erlang.start_timer(@interval, self(), :sample)})

      {false, nil} ->
        state

      {true, _timer} ->
        state

      {false, timer} ->
        _ = :erlang.cancel_timer(timer)
        %{state | timer: nil, cpu: nil}
    end
  end

  defp sample(state) do
    now = cpu()
    shares = [memory: Resources.vm().memory.total / 1, cpu: Schedulers.utilization() || share(state.cpu, now)]

    unless Members.http?(), do: Native.exporters_look(Given.families())

    for instance <- Instances.names(), gauges = Instances.gauges(instance) do
      figures = [agents: Gauges.agents(gauges) / 1] ++ shares

      for {name, value} when is_float(value) <- figures,
          do: Native.exporters_note(Shown.text(instance), "#{name}", value)
    end

    %{state | cpu: now}
  end

  defp cpu do
    with %{cpu_seconds: seconds} <- OS.read("/proc/self"), do: {seconds, System.monotonic_time(:millisecond)}
  end

  # Of all schedulers' time what the whole process used.
  defp share({before, since}, {seconds, now}) when now > since,
    do: (seconds - before) * 1_000 / (now - since) / System.schedulers_online()

  defp share(_before, _now), do: nil
end

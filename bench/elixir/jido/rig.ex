defmodule Bench.Jido.Rig do
  @moduledoc false
  # An instance of Jido, with agents and a pool of its own on the one side and of Kantoku's on the other.

  alias Bench.Jido.Counter
  alias Bench.Options
  alias Jido.AgentServer

  @type t :: %{jido: atom, instance: atom, top: pid}
  @type side :: :ours | :plain

  @spec open(pos_integer, Options.t()) :: t
  def open(size, %Options{engine: engine}) do
    Logger.configure(level: :error)
    {:ok, _} = Application.ensure_all_started(:jido)
    id = System.unique_integer([:positive])
    rig = %{jido: :"bench_jido_#{id}", instance: :"bench_agents_#{id}", top: nil}
    {:ok, top} = Supervisor.start_link(children(rig, size, engine), strategy: :rest_for_one)
    %{rig | top: top}
  end

  # Nothing is refused: what is measured is waiting, not pushing back.
  defp children(%{jido: jido, instance: instance}, size, engine) do
    patient = [max_queue: 1_000_000, queue_target: 60_000, queue_interval: 60_000]
    pool = [name: :ours, worker: {Kantoku.Jido, Counter, jido: jido}, target: size] ++ patient

    [
      {Jido, name: jido, agent_pools: [{:plain, Counter, size: size}]},
      {Kantoku, name: instance, engine: engine, pools: [pool]},
      {Kantoku.Jido.Door, jido: jido, pool: {instance, :ours}}
    ]
  end

  @spec close(t) :: :ok
  def close(%{top: top}), do: Supervisor.stop(top)

  @spec start(t, side, String.t()) :: pid
  def start(%{jido: jido}, :plain, id), do: jido |> Jido.start_agent(Counter, id: id) |> elem(1)

  def start(%{jido: jido, instance: instance}, :ours, id),
    do: instance |> Kantoku.start_agent({Kantoku.Jido, Counter, jido: jido}, id: id) |> elem(1)

  @spec stop(t, side, String.t()) :: term
  def stop(%{jido: jido}, :plain, id), do: Jido.stop_agent(jido, id)
  def stop(%{instance: instance}, :ours, id), do: Kantoku.stop_agent(instance, id)

  @spec whereis(t, side, String.t()) :: pid | nil
  def whereis(%{jido: jido}, :plain, id), do: Jido.whereis(jido, id)
  def whereis(%{instance: instance}, :ours, id), do: Kantoku.whereis(instance, id)

  @spec signal() :: Jido.Signal.t()
  def signal, do: Jido.Signal.new!("add", %{by: 1}, source: "/bench")

  @spec add(pid) :: integer
  def add(pid) do
    {:ok, agent} = AgentServer.call(pid, signal())
    agent.state.total
  end

  @doc "One signal through a pool."
  @spec pooled(t, :plain | :ours | :door, Jido.Signal.t()) :: term
  def pooled(%{jido: jido}, :plain, signal),
    do: {:ok, _} = Jido.Agent.WorkerPool.call(jido, :plain, signal, timeout: 60_000)

  def pooled(%{jido: jido}, :door, signal),
    do: {:ok, _} = Jido.Agent.WorkerPool.call(jido, :ours, signal, timeout: 60_000)

  def pooled(%{jido: jido}, :ours, signal),
    do: {:ok, _} = Kantoku.Jido.WorkerPool.call(jido, :ours, signal, timeout: 60_000)
end

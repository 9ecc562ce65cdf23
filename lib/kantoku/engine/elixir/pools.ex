defmodule Kantoku.Engine.Elixir.Pools do
  # Which pools are open, in one named table: {{instance, pool}, process, the instance's keeper}. A row counts while its keeper is
  # the one that the instance has: a pool never outlives its instance, and is none of a successor's. Knows nothing of pools.
  @moduledoc false
  use GenServer

  alias Kantoku.Engine.Elixir.{Instances, Pool, Server}

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc "The supervisor of pools."
  @spec processes() :: module
  def processes, do: Module.concat(__MODULE__, Processes)

  @doc "Asks an open pool."
  @spec ask(atom, atom, term) :: term
  def ask(instance, pool, request) do
    with {:ok, tables} <- Instances.fetch(instance), {:ok, pid} <- fetch({instance, pool}, tables.keeper) do
      Server.call(pid, request)
    end
  end

  @doc "There is none that is shorter than to ask."
  @spec short_way(atom, atom) :: :ask | :unknown
  def short_way(instance, pool) do
    with {:ok, tables} <- Instances.fetch(instance), {:ok, _pid} <- fetch({instance, pool}, tables.keeper), do: :ask
  end

  @doc "Opens a pool, or configures the one that is open."
  @spec open(atom, atom, pid, Kantoku.Engine.Pools.config()) :: :ok | :unknown
  def open(instance, pool, foreman, config) do
    with {:ok, tables} <- Instances.fetch(instance) do
      case Server.call(__MODULE__, {:open, {instance, pool}, {tables.keeper, pool, foreman, config}}) do
        {:open, pid} -> Server.call(pid, {:configure, foreman, config})
        answer -> answer
      end
    end
  end

  @doc "Closes a pool; everybody is told when this returns."
  @spec close(atom, atom) :: :ok | :unknown
  def close(instance, pool) do
    with {:ok, tables} <- Instances.fetch(instance),
         do: Server.call(__MODULE__, {:close, {instance, pool}, tables.keeper})
  end

  defp fetch(key, keeper) do
    case :ets.lookup(__MODULE__, key) do
      [{_key, pid, ^keeper}] -> {:ok, pid}
      _other -> :unknown
    end
  rescue
    ArgumentError -> :unknown
  end

  @impl true
  def init(_arg) do
    :ets.new(__MODULE__, [:set, :protected, :named_table, read_concurrency: true])
    {:ok, nil}
  end

  @impl true
  def handle_call({:open, key, {keeper, _pool, _foreman, _config} = arg}, _from, state) do
    with {:ok, pid} <- fetch(key, keeper), true <- Process.alive?(pid) do
      {:reply, {:open, pid}, state}
    else
      _none -> {:reply, start(key, keeper, arg), state}
    end
  end

  def handle_call({:close, key, keeper}, _from, state) do
    with {:ok, pid} <- fetch(key, keeper) do
      :ets.delete(__MODULE__, key)
      {:reply, closed(DynamicSupervisor.terminate_child(processes(), pid)), state}
    else
      :unknown -> {:reply, :unknown, state}
    end
  end

  defp closed(:ok), do: :ok
  defp closed({:error, :not_found}), do: :unknown

  @impl true
  def handle_info({:DOWN, _ref, :process, pid, _reason}, state) do
    :ets.match_delete(__MODULE__, {:_, pid, :_})
    {:noreply, state}
  end

  defp start(key, keeper, arg) do
    {:ok, pid} = DynamicSupervisor.start_child(processes(), {Pool, arg})
    Process.monitor(pid)
    :ets.insert(__MODULE__, {key, pid, keeper})
    :ok
  end
end

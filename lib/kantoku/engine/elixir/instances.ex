defmodule Kantoku.Engine.Elixir.Instances do
  # Which instances are open, in one named table: one lookup finds an instance. Knows nothing of names in them.
  @moduledoc false
  use GenServer

  alias Kantoku.Engine.Elixir.{Keeper, Server, Tables}

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc "The supervisor of keepers."
  @spec keepers() :: module
  def keepers, do: Module.concat(__MODULE__, Keepers)

  @doc "The tables of an open instance whose holder lives."
  @spec fetch(Kantoku.Engine.instance()) :: {:ok, Tables.t()} | :unknown
  def fetch(instance) do
    case :ets.lookup(__MODULE__, instance) do
      [{_instance, tables}] -> if Process.alive?(tables.holder), do: {:ok, tables}, else: :unknown
      [] -> :unknown
    end
  rescue
    ArgumentError -> :unknown
  end

  @spec open(Kantoku.Engine.instance(), :unique | :duplicate, pos_integer, [atom]) ::
          :ok | {:error, {:already_started, pid}}
  def open(instance, keys, servers, listeners) do
    GenServer.call(__MODULE__, {:open, instance, keys, servers, listeners}, :infinity)
  end

  @spec close(Kantoku.Engine.instance()) :: :ok
  def close(instance), do: GenServer.call(__MODULE__, {:close, instance}, :infinity)

  @impl true
  def init(_arg) do
    :ets.new(__MODULE__, [:set, :protected, :named_table, read_concurrency: true])
    {:ok, nil}
  end

  @impl true
  def handle_call({:open, instance, keys, servers, listeners}, {holder, _tag}, state) do
    case fetch(instance) do
      {:ok, tables} ->
        {:reply, {:error, {:already_started, tables.holder}}, state}

      :unknown ->
        drop(instance)
        {:reply, start(instance, {keys, servers, listeners, holder}), state}
    end
  end

  def handle_call({:close, instance}, _from, state) do
    drop(instance)
    {:reply, :ok, state}
  end

  @impl true
  def handle_info({:DOWN, _ref, :process, keeper, _reason}, state) do
    for {instance, %{keeper: ^keeper}} <- :ets.tab2list(__MODULE__), do: :ets.delete(__MODULE__, instance)
    {:noreply, state}
  end

  defp start(instance, arg) do
    {:ok, keeper} = DynamicSupervisor.start_child(keepers(), {Keeper, arg})
    Process.monitor(keeper)
    :ets.insert(__MODULE__, {instance, Server.call(keeper, :tables)})
    :ok
  end

  defp drop(instance) do
    with [{_instance, tables}] <- :ets.lookup(__MODULE__, instance) do
      :ets.delete(__MODULE__, instance)
      DynamicSupervisor.terminate_child(keepers(), tables.keeper)
    end
  end
end

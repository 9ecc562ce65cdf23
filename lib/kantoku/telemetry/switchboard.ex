defmodule Kantoku.Telemetry.Switchboard do
  # Who listens to what. Owns the subscriptions of all instances; no event passes through its processes.
  @moduledoc false
  use Supervisor

  alias Kantoku.Telemetry.{Catalogue, Subscription}

  @table __MODULE__
  @board {__MODULE__, :board}

  # More than the catalogue holds, so that a newer catalogue finds room in a board that an older one made.
  @slots 1_024

  @spec start_link(term) :: Supervisor.on_start()
  def start_link(_arg), do: Supervisor.start_link(__MODULE__, [], name: __MODULE__)

  # The table belongs to this supervisor, so subscriptions outlive a crash of the registrar that guards them.
  @impl true
  def init(_arg) do
    :ets.new(@table, [:named_table, :public, :duplicate_bag, read_concurrency: true])
    :persistent_term.put(@board, {:atomics.new(@slots, []), telemetry()})
    Supervisor.init([Kantoku.Telemetry.Registrar], strategy: :one_for_one)
  end

  @doc "Looks again whether `:telemetry` can be called."
  @spec refresh() :: :ok
  def refresh do
    {counts, _telemetry} = :persistent_term.get(@board)
    :persistent_term.put(@board, {counts, telemetry()})
  end

  defp telemetry do
    if Code.ensure_loaded?(:telemetry) and function_exported?(:telemetry, :execute, 3), do: :telemetry
  end

  @doc "Whether anyone may want the event of that number."
  @spec listening?(pos_integer) :: boolean
  def listening?(number) do
    case :persistent_term.get(@board, nil) do
      {counts, nil} -> :atomics.get(counts, number) > 0
      {_counts, _telemetry} -> true
      nil -> false
    end
  end

  @doc "Hands an event to all who want it. Never waits."
  @spec dispatch(atom, pos_integer, Catalogue.name(), map, map) :: :ok
  def dispatch(instance, number, name, measurements, metadata) do
    case :persistent_term.get(@board, nil) do
      nil ->
        :ok

      {counts, telemetry} ->
        send_all(:atomics.get(counts, number) > 0, instance, number, name, measurements, metadata)
        execute(telemetry, instance, name, measurements, metadata)
    end
  end

  defp send_all(false, _instance, _number, _name, _measurements, _metadata), do: :ok

  defp send_all(true, instance, number, name, measurements, metadata) do
    name = [:kantoku | name]
    metadata = Map.put(metadata, :instance, instance)

    Enum.each(:ets.lookup(@table, {instance, number}), fn {_key, pid, ref} ->
      if Subscription.take_credit(ref), do: send(pid, {:kantoku_event, ref, name, measurements, metadata})
    end)
  end

  defp execute(nil, _instance, _name, _measurements, _metadata), do: :ok

  defp execute(telemetry, instance, name, measurements, metadata) do
    telemetry.execute([:kantoku | name], measurements, Map.put(metadata, :instance, instance))
  end

  # For the registrar only -------------------------------------------------------------------------------------------

  @spec add(atom, [pos_integer], pid, Subscription.t()) :: :ok
  def add(instance, numbers, pid, ref) do
    :ets.insert(@table, [{{:subscriber, pid}, ref, instance, numbers} | rows(instance, numbers, pid, ref)])
    count(numbers, 1)
  end

  @spec remove(atom, [pos_integer], pid, Subscription.t()) :: :ok
  def remove(instance, numbers, pid, ref) do
    count(numbers, -1)
    :ets.delete_object(@table, {{:subscriber, pid}, ref, instance, numbers})
    Enum.each(rows(instance, numbers, pid, ref), &:ets.delete_object(@table, &1))
  end

  @doc "All subscriptions."
  @spec subscriptions() :: [{pid, Subscription.t(), atom, [pos_integer]}]
  def subscriptions do
    rows = :ets.match(@table, {{:subscriber, :"$1"}, :"$2", :"$3", :"$4"})
    for [pid, ref, instance, numbers] <- rows, do: {pid, ref, instance, numbers}
  end

  @doc "Sets the counts anew from the table: a registrar may have died between the two."
  @spec recount() :: :ok
  def recount do
    {counts, _telemetry} = :persistent_term.get(@board)
    actual = subscriptions() |> Enum.flat_map(fn {_pid, _ref, _instance, numbers} -> numbers end) |> Enum.frequencies()
    Enum.each(1..Catalogue.size(), &:atomics.put(counts, &1, Map.get(actual, &1, 0)))
  end

  defp rows(instance, numbers, pid, ref), do: Enum.map(numbers, &{{instance, &1}, pid, ref})

  defp count(numbers, by) do
    {counts, _telemetry} = :persistent_term.get(@board)
    Enum.each(numbers, &:atomics.add(counts, &1, by))
  end
end

defmodule Kantoku.Telemetry.Switchboard do
  # Who listens to what. Owns the subscriptions of all instances; no event passes through its processes.
  @moduledoc false
  use Supervisor

  alias Kantoku.Domain.Pair
  alias Kantoku.Telemetry.{Catalogue, Detached, Handler, Handlers, Registrar, Subscription}

  @table __MODULE__
  @board {__MODULE__, :board}

  # More than the catalogue holds, so that a newer catalogue finds room in a board that an older one made.
  @slots 1_024

  @typedoc "A function that is run in the process that emits, with what it is given, on behalf of a process."
  @type run :: {:run, pid, Handler.fun(), config :: term, :counters.counters_ref()}

  @spec start_link(term) :: Supervisor.on_start()
  def start_link(_arg), do: Supervisor.start_link(__MODULE__, [], name: __MODULE__)

  # The table belongs to this supervisor, so subscriptions outlive a crash of the registrar that guards them.
  @impl true
  def init(_arg) do
    :ets.new(@table, [:named_table, :public, :duplicate_bag, read_concurrency: true])
    :persistent_term.put(@board, {:atomics.new(@slots, []), telemetry()})
    Handlers.new_table()
    # Handlers are others' code: however often they fail, subscriptions stand.
    Supervisor.init([Registrar, Handlers, Detached], [strategy: :one_for_one] ++ Pair.unlimited())
  end

  @doc "Looks again whether `:telemetry` can be called."
  @spec refresh() :: :ok
  def refresh do
    {counts, _telemetry} = :persistent_term.get(@board)
    :persistent_term.put(@board, {counts, telemetry()})
    Detached.look()
  end

  @doc "The module to emit by, if it can be called."
  @spec telemetry() :: module | nil
  def telemetry do
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

    Enum.each(listeners(instance, number), fn {_key, to, ref} ->
      if Subscription.take_credit(ref), do: deliver(to, ref, name, measurements, metadata)
    end)
  end

  # Who listens to no instance listens to all.
  defp listeners(nil, number), do: :ets.lookup(@table, {nil, number})
  defp listeners(instance, number), do: :ets.lookup(@table, {instance, number}) ++ listeners(nil, number)

  defp deliver(pid, ref, name, measurements, metadata) when is_pid(pid),
    do: send(pid, {:kantoku_event, ref, name, measurements, metadata})

  defp deliver(run, ref, name, measurements, metadata), do: Handler.run(run, ref, {name, measurements, metadata})

  defp execute(nil, _instance, _name, _measurements, _metadata), do: :ok

  defp execute(telemetry, instance, name, measurements, metadata) do
    telemetry.execute([:kantoku | name], measurements, Map.put(metadata, :instance, instance))
  end

  # For the registrar only -------------------------------------------------------------------------------------------

  @spec add(atom, [pos_integer], pid, Subscription.t(), run | nil) :: :ok
  def add(instance, numbers, pid, ref, run) do
    rows = Enum.map(numbers, &{{instance, &1}, run || pid, ref})
    :ets.insert(@table, [{{:subscriber, pid}, ref, instance, numbers} | rows])
    count(numbers, 1)
  end

  @spec remove(atom, [pos_integer], pid, Subscription.t()) :: :ok
  def remove(instance, numbers, pid, ref) do
    count(numbers, -1)
    :ets.delete_object(@table, {{:subscriber, pid}, ref, instance, numbers})
    for number <- numbers, {_key, _to, ^ref} = row <- :ets.lookup(@table, {instance, number}), do: delete(row)
    :ok
  end

  defp delete(row), do: :ets.delete_object(@table, row)

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

  defp count(numbers, by) do
    {counts, _telemetry} = :persistent_term.get(@board)
    Enum.each(numbers, &:atomics.add(counts, &1, by))
  end
end

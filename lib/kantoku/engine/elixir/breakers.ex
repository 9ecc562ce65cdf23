defmodule Kantoku.Engine.Elixir.Breakers do
  # All breakers that this engine keeps, in one process: their machines, and who has permits. That everybody passes is said by a
  # row, so who asks then needs no process: {{instance, name}, the instance's keeper, machine's view}. A row counts while its
  # keeper is the one that the instance has. Knows no rule of breakers.
  @moduledoc false
  use GenServer

  alias Kantoku.Engine.Elixir.Breaker.{Clock, Machine, Shape}
  alias Kantoku.Engine.Elixir.{Instances, Server}

  defstruct machines: %{}, clocks: %{}, keepers: %{}, owners: %{}

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @spec open(atom, term, map, integer | nil) :: :ok | :unknown
  def open(instance, name, config, now) do
    with {:ok, tables} <- Instances.fetch(instance),
         do: Server.call(__MODULE__, {:open, {instance, name}, tables.keeper, config, now})
  end

  @spec close(atom, term) :: :ok | :unknown
  def close(instance, name) do
    with {:ok, tables} <- Instances.fetch(instance),
         do: Server.call(__MODULE__, {:close, {instance, name}, tables.keeper})
  end

  @spec allow(atom, term) :: term
  def allow(instance, name) do
    with {:ok, tables} <- Instances.fetch(instance) do
      case view({instance, name}, tables.keeper) do
        :unknown -> :unknown
        {:allow, ticket} -> ticket
        :ask -> Server.call(__MODULE__, {:ask, {instance, name}, tables.keeper, :allow, nil})
      end
    end
  end

  @spec ask(atom, term, Kantoku.Engine.Breakers.command(), integer | nil) :: term
  def ask(instance, name, command, now) do
    with {:ok, tables} <- Instances.fetch(instance),
         do: Server.call(__MODULE__, {:ask, {instance, name}, tables.keeper, command, now})
  end

  @doc "Its state, and what it counted since it was opened."
  @spec totals(atom, term) :: {Kantoku.Engine.Breakers.state(), %{atom => non_neg_integer}} | :unknown
  def totals(instance, name) do
    with {:ok, tables} <- Instances.fetch(instance),
         do: Server.call(__MODULE__, {:totals, {instance, name}, tables.keeper})
  end

  @spec beat(atom, integer | nil) :: non_neg_integer | :unknown
  def beat(instance, now) do
    with {:ok, tables} <- Instances.fetch(instance), do: Server.call(__MODULE__, {:beat, tables.keeper, now})
  end

  defp view(key, keeper) do
    case :ets.lookup(__MODULE__, key) do
      [{_key, ^keeper, view}] -> view
      _other -> :unknown
    end
  rescue
    ArgumentError -> :unknown
  end

  @impl true
  def init(_arg) do
    :ets.new(__MODULE__, [:set, :protected, :named_table, read_concurrency: true])
    {:ok, %__MODULE__{}}
  end

  @impl true
  def handle_call({:beat, keeper, now}, _from, state) do
    clock = state |> clock(keeper) |> Clock.beat(Shape.now!(now))
    {:reply, clock.lost, state |> watch_keeper(keeper) |> put_clock(keeper, clock)}
  end

  def handle_call({:open, key, keeper, config, now}, _from, state) do
    {now, clock} = state |> clock(keeper) |> Clock.running(Shape.now!(now))

    machine =
      case state.machines do
        %{^key => {^keeper, machine}} -> Machine.configure(machine, config, now)
        %{} -> Machine.new(config, now)
      end

    {:reply, :ok, state |> watch_keeper(keeper) |> put_clock(keeper, clock) |> put(key, keeper, machine)}
  end

  def handle_call({:close, key, keeper}, _from, state) do
    case state.machines do
      %{^key => {^keeper, _machine}} -> {:reply, :ok, delete(state, key)}
      %{} -> {:reply, :unknown, state}
    end
  end

  def handle_call({:totals, key, keeper}, _from, state) do
    case state.machines do
      %{^key => {^keeper, machine}} -> {:reply, Machine.totals(machine), state}
      %{} -> {:reply, :unknown, state}
    end
  end

  def handle_call({:ask, key, keeper, command, now}, {pid, _tag}, state) do
    case state.machines do
      %{^key => {^keeper, machine}} ->
        now = Shape.now!(now)
        {running, clock} = state |> clock(keeper) |> Clock.running(now)
        {answer, change, machine} = run(machine, judged(command, clock, now), pid, running)
        told = if change, do: {:changed, [change], answer}, else: answer
        {:reply, told, state |> put_clock(keeper, clock) |> watch_owner(pid, machine) |> put(key, keeper, machine)}

      %{} ->
        {:reply, :unknown, state}
    end
  end

  @impl true
  def handle_info({:DOWN, _ref, :process, pid, _reason}, state) do
    own = for {key, {^pid, _machine}} <- state.machines, do: key
    state = Enum.reduce(own, state, &delete(&2, &1))

    state = %{
      state
      | keepers: Map.delete(state.keepers, pid),
        owners: Map.delete(state.owners, pid),
        clocks: Map.delete(state.clocks, pid)
    }

    {:noreply,
     for({key, {keeper, machine}} <- state.machines, pid in Machine.owners(machine), reduce: state) do
       state -> put(state, key, keeper, Machine.owner_died(machine, pid))
     end}
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp clock(%{clocks: clocks}, keeper), do: Map.get(clocks, keeper, %Clock{})
  defp put_clock(state, keeper, clock), do: %{state | clocks: Map.put(state.clocks, keeper, clock)}

  # What was under way while we were stopped may have failed for that, and took longer by it: it says nothing.
  defp judged({:record, ticket, _ending, took} = command, clock, now),
    do: if(Clock.spans_gap?(clock, now, took), do: {:record, ticket, :ignore, took}, else: command)

  defp judged(command, _clock, _now), do: command

  defp run(machine, :allow, pid, now), do: Machine.allow(machine, pid, now)

  defp run(machine, {:record, ticket, ending, took}, pid, now),
    do: Machine.record(machine, ticket, pid, ending, took, now)

  defp run(machine, {:set, to}, _pid, now), do: Machine.set(machine, to, now)

  defp run(machine, :look, _pid, now) do
    {due, change, machine} = Machine.look(machine, now)
    {due && max(due - now, 0), change, machine}
  end

  defp run(machine, :status, _pid, now), do: Machine.status(machine, now)

  defp put(state, key, keeper, machine) do
    row = {key, keeper, Machine.view(machine)}
    unless :ets.lookup(__MODULE__, key) == [row], do: :ets.insert(__MODULE__, row)
    %{state | machines: Map.put(state.machines, key, {keeper, machine})}
  end

  defp delete(state, key) do
    :ets.delete(__MODULE__, key)
    %{state | machines: Map.delete(state.machines, key)}
  end

  # Once for the life of a process; a dead one is heard of at once.
  defp watch_keeper(%{keepers: keepers} = state, keeper) when is_map_key(keepers, keeper), do: state

  defp watch_keeper(state, keeper),
    do: %{state | keepers: Map.put(state.keepers, keeper, Process.monitor(keeper))}

  defp watch_owner(%{owners: owners} = state, pid, _machine) when is_map_key(owners, pid), do: state

  defp watch_owner(state, pid, machine) do
    if pid in Machine.owners(machine),
      do: %{state | owners: Map.put(state.owners, pid, Process.monitor(pid))},
      else: state
  end
end

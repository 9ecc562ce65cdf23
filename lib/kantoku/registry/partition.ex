defmodule Kantoku.Registry.Partition do
  # The process that owners are linked to, so that they go down with the registry; and the keeper of its share of the
  # locks. Knows no entries: those are in the instance.
  @moduledoc false
  use GenServer

  alias Kantoku.Registry.Config

  @spec start_link(atom, non_neg_integer) :: GenServer.on_start()
  def start_link(registry, index), do: GenServer.start_link(__MODULE__, {registry, index})

  @doc "Runs `fun` in the calling process while it alone has the lock."
  @spec lock(pid, term, (... -> result)) :: result when result: term
  def lock(partition, key, fun) do
    ticket = GenServer.call(partition, {:lock, key}, :infinity)

    try do
      fun.()
    after
      GenServer.cast(partition, {:unlock, key, ticket})
    end
  end

  @impl true
  def init({registry, index}) do
    Process.flag(:trap_exit, true)

    case Kantoku.Engine.seat(registry, index, self()) do
      :ok ->
        Config.put_partition(registry, index, self())
        {:ok, %{registry: registry, locks: %{}, holders: %{}}}

      :unknown ->
        {:stop, :instance_lost}
    end
  end

  # `locks` has a queue of callers for each key that is held; `holders` the key of each monitored holder.
  @impl true
  def handle_call({:lock, key}, from, %{locks: locks} = state) do
    case locks do
      %{^key => queue} -> {:noreply, put_in(state.locks[key], :queue.in(from, queue))}
      %{} -> {:noreply, state |> grant(key, from) |> put_in([:locks, key], :queue.new())}
    end
  end

  @impl true
  def handle_cast({:unlock, key, ticket}, state) do
    Process.demonitor(ticket, [:flush])
    {:noreply, release(state, key, ticket)}
  end

  # Owners that end need nothing from here. But where the instance itself is gone, so is what this process stands for.
  @impl true
  def handle_info({:EXIT, _owner, _reason}, state) do
    case Kantoku.Engine.kind(state.registry) do
      :unknown -> {:stop, :instance_lost, state}
      _kind -> {:noreply, state}
    end
  end

  def handle_info({:DOWN, ticket, :process, _holder, _reason}, state) do
    case state.holders do
      %{^ticket => key} -> {:noreply, release(state, key, ticket)}
      %{} -> {:noreply, state}
    end
  end

  def handle_info(_message, state), do: {:noreply, state}

  defp grant(state, key, {pid, _tag} = from) do
    ticket = Process.monitor(pid)
    GenServer.reply(from, ticket)
    put_in(state.holders[ticket], key)
  end

  defp release(state, key, ticket) do
    state = %{state | holders: Map.delete(state.holders, ticket)}

    case next(state.locks[key]) do
      nil -> %{state | locks: Map.delete(state.locks, key)}
      {from, queue} -> state |> grant(key, from) |> put_in([:locks, key], queue)
    end
  end

  # Who died while waiting is passed over; were they to die just now, their monitor tells.
  defp next(queue) do
    case :queue.out(queue) do
      {:empty, _queue} -> nil
      {{:value, {pid, _tag} = from}, queue} -> if alive?(pid), do: {from, queue}, else: next(queue)
    end
  end

  defp alive?(pid), do: node(pid) != node() or Process.alive?(pid)
end

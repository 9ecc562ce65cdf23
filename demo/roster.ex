defmodule Demo.Roster do
  # Who is free: asked of the registry ten times a second for all who route work, so that a piece of work costs no query. What it
  # says may be that old; so it is a hint, and the call to an agent is what counts.
  @moduledoc false
  use GenServer

  @refresh 100

  @type t :: :ets.tid()

  @doc "Starts a roster of the agents with these capabilities; its table."
  @spec start_link(atom, [atom]) :: {:ok, t}
  def start_link(instance, kinds) do
    {:ok, roster} = GenServer.start_link(__MODULE__, {instance, kinds})
    {:ok, GenServer.call(roster, :table)}
  end

  @doc "One of the agents that had the least load of their kind, `nil` if none was up."
  @spec pick(t, atom) :: term | nil
  def pick(table, kind) do
    case :ets.lookup_element(table, kind, 2) do
      {} -> nil
      free -> elem(free, :rand.uniform(tuple_size(free)) - 1)
    end
  end

  @doc "Ends it."
  @spec stop(t) :: :ok
  def stop(table), do: GenServer.stop(:ets.info(table, :owner))

  @impl true
  def init({instance, kinds}) do
    state = %{instance: instance, kinds: kinds, table: :ets.new(__MODULE__, [:set, read_concurrency: true])}
    {:ok, refresh(state)}
  end

  @impl true
  def handle_call(:table, _from, state), do: {:reply, state.table, state}

  @impl true
  def handle_info(:refresh, state), do: {:noreply, refresh(state)}

  defp refresh(state) do
    for kind <- state.kinds, do: :ets.insert(state.table, {kind, free(state.instance, kind)})
    Process.send_after(self(), :refresh, @refresh)
    state
  end

  defp free(instance, kind) do
    case Kantoku.find(instance, capability: kind, order_by: :load, return: :entries) do
      [] -> {}
      [%{load: least} | _] = all -> for(%{load: ^least, key: id} <- all, do: id) |> List.to_tuple()
    end
  end
end

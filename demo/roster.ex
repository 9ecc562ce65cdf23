defmodule Demo.Roster do
  # Who is free: asked of the registry now and then for all who route work, so that a piece of work costs no query. What it says may be
  # old by that; so it is a hint, and the call to an agent is what counts.
  @moduledoc false
  use GenServer

  # Ten times a second, or as often as takes a tenth of the time.
  @refresh 100
  @share 10
  # One of so many is offered work.
  @few 8

  @type t :: :ets.tid()

  @doc "Starts a roster of the agents with these capabilities, given how many each has; its table."
  @spec start_link(atom, %{atom => pos_integer}) :: {:ok, t}
  def start_link(instance, kinds) do
    {:ok, roster} = GenServer.start_link(__MODULE__, {instance, kinds})
    {:ok, GenServer.call(roster, :table)}
  end

  @doc "One of those agents of a kind that had less to do than the others, `nil` if none was up."
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
    {took, _} = :timer.tc(fn -> for {kind, size} <- state.kinds, do: refresh(state, kind, size) end)
    Process.send_after(self(), :refresh, max(@refresh, div(took * @share, 1_000)))
    state
  end

  # The least laden few, even where half are away: who waits for someone else is passed by.
  defp refresh(state, kind, size) do
    few = ceil(size / @few)
    ids = Kantoku.find(state.instance, capability: kind, order_by: :load, limit: few, return: :keys)
    :ets.insert(state.table, {kind, List.to_tuple(ids)})
  end
end

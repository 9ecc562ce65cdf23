defmodule Demo.Peaks do
  # Looks at the pools ten times a second, and keeps the most and the least that it saw; and what was done in a surge. Changes nothing.
  @moduledoc false
  use GenServer

  alias Demo.{Fleet, Gauges, Schedule}

  @look 100

  @typedoc """
  Of a pool: workers at most and at least, the longest queue, the highest mean wait in µs, what it counted in all, and how it scaled
  itself.
  """
  @type pool :: %{
          most: non_neg_integer,
          least: non_neg_integer,
          queue: non_neg_integer,
          wait: non_neg_integer,
          served: non_neg_integer,
          refused: non_neg_integer,
          moves: [{from :: non_neg_integer, to :: non_neg_integer}]
        }

  @typedoc "`surge` is `nil` where there was none; files that were done in it, and its length in ms as it was seen."
  @type t :: %{pools: %{Fleet.kind() => pool}, surge: nil | %{files: non_neg_integer, took: non_neg_integer}}

  @doc "Begins to look."
  @spec start_link(Fleet.t(), Schedule.t()) :: GenServer.on_start()
  def start_link(fleet, schedule), do: GenServer.start_link(__MODULE__, {fleet, schedule})

  @doc "Ends it; what it saw."
  @spec stop(pid) :: t
  def stop(peaks), do: GenServer.call(peaks, :stop, :infinity)

  @impl true
  def init({fleet, schedule}) do
    state = %{fleet: fleet, schedule: schedule, pools: %{}, first: nil, last: nil}
    {:ok, state, {:continue, :look}}
  end

  @impl true
  def handle_continue(:look, state), do: {:noreply, look(state)}

  @impl true
  def handle_info(:look, state), do: {:noreply, look(state)}

  @impl true
  def handle_call(:stop, _from, state) do
    state = look(state)
    pools = Map.new(state.pools, fn {kind, pool} -> {kind, Map.put(pool, :moves, Fleet.moves(state.fleet, kind))} end)
    {:stop, :normal, %{pools: pools, surge: surge(state)}, state}
  end

  defp surge(%{first: nil}), do: nil
  defp surge(%{first: {began, before}, last: {ended, files}}), do: %{files: files - before, took: ended - began}

  defp look(%{fleet: fleet, pools: pools} = state) do
    Process.send_after(self(), :look, @look)

    pools =
      for kind <- Fleet.kinds(), status = Fleet.status(fleet, kind), reduce: pools do
        pools -> Map.put(pools, kind, seen(pools[kind], status))
      end

    mark(%{state | pools: pools}, System.monotonic_time(:millisecond))
  end

  defp seen(nil, status),
    do: seen(%{most: 0, least: status.ready, queue: 0, wait: 0}, status)

  defp seen(pool, %{ready: ready} = status) do
    %{
      most: max(pool.most, ready),
      least: min(pool.least, ready),
      queue: max(pool.queue, status.queue),
      wait: max(pool.wait, status.wait),
      served: status.served,
      refused: status.refused
    }
  end

  # What had been done at the first and the last look in a surge.
  defp mark(state, now) do
    if Schedule.surging?(state.schedule, now) do
      mark = {now, Gauges.get(state.fleet.instance, :files)}
      %{state | first: state.first || mark, last: mark}
    else
      state
    end
  end
end

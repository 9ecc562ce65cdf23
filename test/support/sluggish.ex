defmodule Kantoku.TestSluggish do
  @moduledoc """
  A worker whose start, for as often as `cell` (an `:atomics` of one) says, never ends. Tells `tell` of each start, as `{:trying, pid}`.
  """
  use GenServer

  def start_link(opts), do: GenServer.start_link(__MODULE__, opts)

  @impl true
  def init(tell: tell, cell: cell) do
    send(tell, {:trying, self()})
    if :atomics.sub_get(cell, 1, 1) >= 0, do: Process.sleep(:infinity)
    {:ok, nil}
  end

  @impl true
  def handle_call(:pid, _from, state), do: {:reply, self(), state}
end

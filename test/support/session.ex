defmodule Kantoku.TestSession do
  @moduledoc """
  A plain GenServer that counts, as an app has it: registered in a `Registry` under its id if it is given one, its state one that can
  move. Options: `:id`, `:registry`, `:name`, `:trap`; `:slow`, ms that each call takes below Kantoku's supervisors,
  and `:fails`, that each call there fails.
  """
  use GenServer
  @behaviour Kantoku.Migration.Portable

  def child_spec(opts), do: %{id: opts[:id], start: {__MODULE__, :start_link, [opts]}}

  def start_link(opts), do: GenServer.start_link(__MODULE__, Map.new(opts), name(opts))

  defp name(opts) do
    cond do
      opts[:registry] -> [name: {:via, Registry, {opts[:registry], opts[:id]}}]
      opts[:name] -> [name: opts[:name]]
      true -> []
    end
  end

  @impl GenServer
  def init(opts) do
    if opts[:trap], do: Process.flag(:trap_exit, true)
    {:ok, Map.merge(opts, %{total: 0, made_by: self()})}
  end

  @impl GenServer
  def handle_call({:add, by}, _from, state) do
    if state[:slow] && ours?(), do: Process.sleep(state.slow)

    if state[:fails] && ours?(),
      do: {:reply, {:error, :as_asked}, state},
      else: {:reply, state.total + by, added(state, by)}
  end

  def handle_call({:sleep, ms}, _from, state), do: {:reply, Process.sleep(ms), state}
  def handle_call(:total, _from, state), do: {:reply, state.total, state}
  def handle_call(:state, _from, state), do: {:reply, state, state}

  @impl GenServer
  def handle_cast({:add, by}, state), do: {:noreply, added(state, by)}

  defp added(state, by), do: %{state | total: state.total + by}

  # The old supervisor has a name, those of our domains have none.
  defp ours?, do: is_pid(hd(Process.get(:"$ancestors")))

  @impl Kantoku.Migration.Portable
  def export_state(state), do: Map.take(state, [:total])

  @impl Kantoku.Migration.Portable
  def import_state(carried, fresh), do: Map.merge(fresh, carried)
end

defmodule Kantoku.Engine.Elixir.Health do
  # All trees of health that this engine keeps, in one process, by the keeper of their instance. Pulses are rows which agents write
  # themselves: {{keeper, node}, since, until}, in ms; `since` is `nil` before the first, and `:idle`. Knows no rule of health.
  @moduledoc false
  use GenServer

  alias Kantoku.Engine.Elixir.Health.Tree
  alias Kantoku.Engine.Elixir.{Instances, Server}

  defstruct trees: %{}, last: 0

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @doc "Does something with an instance's tree."
  @spec ask(atom, tuple | :clear) :: term
  def ask(instance, request) do
    with {:ok, tables} <- Instances.fetch(instance), do: Server.call(__MODULE__, {request, tables.keeper})
  end

  @spec beat(atom, non_neg_integer, integer) :: :ok | :unknown
  def beat(instance, node, limit) do
    on_pulse(instance, fn keeper ->
      write(keeper, node, if(limit < 0, do: [{2, :idle}], else: [{2, now()}, {3, if(limit > 0, do: now() + limit)}]))
      :ok
    end)
  end

  @spec put_off(atom, non_neg_integer, integer | nil) :: integer | nil | :unknown
  def put_off(instance, node, left) do
    on_pulse(instance, fn keeper ->
      before =
        case :ets.lookup(__MODULE__, {keeper, node}) do
          [{_key, _since, until}] -> until && until - now()
          [] -> nil
        end

      write(keeper, node, [{3, left && now() + left}])
      before
    end)
  end

  defp write(keeper, node, fields), do: :ets.update_element(__MODULE__, {keeper, node}, fields)

  defp on_pulse(instance, fun) do
    with {:ok, tables} <- Instances.fetch(instance), do: fun.(tables.keeper)
  rescue
    # The table went with this engine's processes.
    ArgumentError -> :unknown
  end

  defp now, do: Integer.floor_div(System.monotonic_time(:nanosecond), 1_000_000)

  @impl true
  def init(_arg) do
    :ets.new(__MODULE__, [:ordered_set, :public, :named_table, write_concurrency: true])
    {:ok, %__MODULE__{}}
  end

  @impl true
  def handle_call({request, keeper}, _from, state) do
    state = known(state, keeper)
    {answer, changes, tree} = run(request, Map.fetch!(state.trees, keeper), keeper, state.last + 1)
    told = if changes == [], do: answer, else: {:changed, changes, answer}
    {:reply, told, %{state | trees: Map.put(state.trees, keeper, tree), last: state.last + 1}}
  end

  @impl true
  def handle_info({:DOWN, _ref, :process, keeper, _reason}, state) do
    forget(keeper)
    {:noreply, %{state | trees: Map.delete(state.trees, keeper)}}
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp forget(keeper), do: :ets.match_delete(__MODULE__, {{keeper, :_}, :_, :_})

  # A dead keeper is heard of at once.
  defp known(%{trees: trees} = state, keeper) when is_map_key(trees, keeper), do: state

  defp known(%{trees: trees} = state, keeper) do
    Process.monitor(keeper)
    %{state | trees: Map.put(trees, keeper, Tree.new())}
  end

  defp run({:add, parent, spec, pid, now}, tree, keeper, next) do
    if Tree.group?(tree, parent) do
      :ets.insert(__MODULE__, {{keeper, next}, nil, nil})
      Tree.add(tree, next, parent, spec, pid, now)
    else
      {:none, [], tree}
    end
  end

  defp run({:remove, node, now}, tree, keeper, _next) do
    {answer, changes, tree} = Tree.remove(tree, node, now)
    if answer == :ok, do: :ets.delete(__MODULE__, {keeper, node})
    {answer, changes, tree}
  end

  defp run(:clear, _tree, keeper, _next) do
    forget(keeper)
    {:ok, [], Tree.new()}
  end

  defp run({:change, node, spec, now}, tree, _keeper, _next), do: Tree.change(tree, node, spec, now)
  defp run({:report, node, id, outcome, now}, tree, _keeper, _next), do: Tree.report(tree, node, id, outcome, now)

  defp run({:status, node, now}, tree, keeper, _next) do
    pulse = keeper |> pulses([{{{keeper, node}, :_, :_}, [], [:"$_"]}]) |> pulse(ms(now))
    {Tree.status(tree, node, now, pulse), [], tree}
  end

  defp run({:look, cursor, limit, least, now}, tree, keeper, _next) do
    spec = [{{{keeper, :"$1"}, :_, :_}, [{:>=, :"$1", cursor}], [:"$_"]}]
    rows = pulses(keeper, spec, limit)
    found = for row <- rows, seen = at_work(row, tree, least, ms(now)), do: seen
    next = if length(rows) < limit, do: :done, else: last(rows) + 1
    {{found, next}, [], tree}
  end

  defp pulses(_keeper, spec), do: :ets.select(__MODULE__, spec)

  defp pulses(_keeper, spec, limit) do
    case :ets.select(__MODULE__, spec, limit) do
      {rows, _more} -> rows
      :"$end_of_table" -> []
    end
  end

  defp last(rows) do
    {{_keeper, node}, _since, _until} = List.last(rows)
    node
  end

  defp at_work({{_keeper, node}, _since, _until} = row, tree, least, now) do
    with {:ok, pid} <- Tree.agent(tree, node), {since, over} when since >= least <- pulse([row], now) do
      {node, pid, since, over}
    else
      _not_at_work -> nil
    end
  end

  defp pulse([{_key, since, until}], now) when is_integer(since), do: {max(now - since, 0), until && now - until}
  defp pulse([{_key, :idle, _until}], _now), do: :idle
  defp pulse(_none, _now), do: :none

  defp ms(now), do: Integer.floor_div(now, 1_000_000)
end

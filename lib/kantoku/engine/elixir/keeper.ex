defmodule Kantoku.Engine.Elixir.Keeper do
  # The one writer of an instance: takes requests in order, watches owners, holder and watchers. Knows the order in which
  # rows are written (Tables' invariants), and nothing of how they are read.
  @moduledoc false
  use GenServer, restart: :temporary

  alias Kantoku.Engine.Elixir.{Query, Tables}

  # Of a dead owner so many entries are removed before the next request is served.
  @purge 500

  @enforce_keys [:tables, :holder, :servers, :listeners]
  defstruct @enforce_keys ++ [last: 0, seats: %{}, owners: %{}, watches: %{}]

  @spec start_link({:unique | :duplicate, pos_integer, [atom], pid}) :: GenServer.on_start()
  def start_link(arg), do: GenServer.start_link(__MODULE__, arg)

  @impl true
  def init({keys, servers, listeners, holder}) do
    tables = Tables.new(keys, holder)
    {:ok, %__MODULE__{tables: tables, holder: Process.monitor(holder), servers: servers, listeners: listeners}}
  end

  @impl true
  def handle_call(:tables, _from, state), do: {:reply, state.tables, state}
  def handle_call({:read, fun}, _from, state), do: {:reply, fun.(state.tables), state}

  def handle_call({:seat, index, pid}, _from, state) do
    {:reply, :ok, %{state | seats: Map.put(state.seats, index, pid)}}
  end

  def handle_call({:register, key, value}, {pid, _tag}, state), do: register(state, key, pid, value, nil)
  def handle_call({:take_over, key, value, from}, {pid, _tag}, state), do: register(state, key, pid, value, from)

  def handle_call({:claim, key, pid, value}, _from, state) do
    case Tables.alive?(pid) and occupant(state, key, nil) do
      false -> {:reply, {:error, :noproc}, state}
      nil -> state |> put(key, pid, value) |> then(&{:reply, {:ok, &1.last}, &1})
      holder -> {:reply, {:error, {:already_registered, holder}}, state}
    end
  end

  def handle_call({:introduce, key, pid, value, attributes, facets}, from, state) do
    with {:reply, {:ok, _incarnation} = claimed, state} <- handle_call({:claim, key, pid, value}, from, state) do
      {:reply, _described, state} = handle_call({:describe, key, pid, 0, attributes, facets}, from, state)
      {:reply, claimed, state}
    end
  end

  def handle_call({:disclaim, key, pid}, _from, %{tables: %{keys: :unique}} = state) do
    case Tables.named(state.tables, key) do
      {incarnation, ^pid} -> {:reply, :ok, remove(state, incarnation, key, pid)}
      _other -> {:reply, :ok, state}
    end
  end

  def handle_call({:disclaim, _key, _pid}, _from, state), do: {:reply, :ok, state}

  def handle_call({:unregister, key, which}, {pid, _tag}, state) do
    gone =
      for {incarnation, ^pid} <- Tables.holders(state.tables, key),
          which == :all or incarnation in which,
          do: incarnation

    state = Enum.reduce(gone, state, &remove(&2, &1, key, pid))
    {:reply, unregistered(state, pid), state}
  end

  def handle_call({:put_value, key, incarnation, value}, {pid, _tag}, state) do
    held = {incarnation, pid} in Tables.holders(state.tables, key)
    {:reply, held and :ets.update_element(state.tables.entries, incarnation, {4, value}), state}
  end

  def handle_call({:describe, key, pid, expected, attributes, facets}, _from, state) do
    with %{keys: :unique} = tables <- state.tables,
         {incarnation, ^pid} <- Tables.named(tables, key),
         true <- Tables.alive?(pid) do
      {:reply, describe(state, {incarnation, key, pid}, expected, attributes, Enum.uniq(facets)), state}
    else
      _not_held -> {:reply, :none, state}
    end
  end

  def handle_call({:watch, query, pid}, _from, state) do
    state = bury(state, query)
    ref = Process.monitor(pid)
    records = state.tables |> Query.named(query) |> Enum.flat_map(&Tables.records(state.tables, &1))
    {:reply, {:ok, ref, records}, %{state | watches: Map.put(state.watches, ref, {query, pid})}}
  end

  def handle_call({:unwatch, ref}, _from, state) do
    if is_map_key(state.watches, ref), do: Process.demonitor(ref, [:flush])
    {:reply, :ok, %{state | watches: Map.delete(state.watches, ref)}}
  end

  @impl true
  def handle_info({:DOWN, ref, :process, _pid, _reason}, %{holder: ref} = state), do: {:stop, :normal, state}

  def handle_info({:DOWN, ref, :process, pid, _reason}, state) do
    if is_map_key(state.watches, ref) do
      {:noreply, %{state | watches: Map.delete(state.watches, ref)}}
    else
      {:noreply, purge(state, pid)}
    end
  end

  def handle_info({:purge, pid}, state), do: {:noreply, purge(state, pid)}

  # Names -----------------------------------------------------------------------------------------------------------

  # Who died while its request waited here must not take a name from the living.
  defp register(state, key, pid, value, from) do
    case {Tables.alive?(pid) and server(state, pid), occupant(state, key, from)} do
      {none, _occupant} when none in [nil, false] -> {:reply, :unknown, state}
      {server, nil} -> {:reply, registered(state, pid, server), put(state, key, pid, value)}
      {_server, holder} -> {:reply, {:error, {:already_registered, holder}}, state}
    end
  end

  # Who stands in the way of a registration: the live holder of a unique key, unless it is the one to be succeeded.
  defp occupant(%{tables: %{keys: :duplicate}}, _key, _from), do: nil

  defp occupant(%{tables: tables}, key, from) do
    case Tables.named(tables, key) do
      {_incarnation, pid} when pid != from -> if Tables.alive?(pid), do: pid
      _free -> nil
    end
  end

  defp server(state, pid), do: Map.get(state.seats, :erlang.phash2(pid, state.servers))

  # Asked before the entry is there: who succeeds itself is no newcomer.
  defp registered(%{listeners: []} = state, pid, server) do
    if entries(state, pid) == 0, do: {:link, server}, else: {:ok, server}
  end

  defp registered(state, _pid, server), do: {:notify, server, state.listeners}

  defp unregistered(state, pid) do
    server = if entries(state, pid) == 0, do: server(state, pid)

    case state.listeners do
      [] when server == nil -> :ok
      [] -> {:unlink, server}
      listeners -> {:notify, server, listeners}
    end
  end

  defp entries(state, pid) do
    case state.owners do
      %{^pid => entries} -> entries
      %{} -> 0
    end
  end

  defp put(%{tables: tables, last: last} = state, key, pid, value) do
    before = if tables.keys == :unique, do: Tables.named(tables, key)
    incarnation = last + 1
    :ets.insert(tables.owners, {{pid, incarnation}, key})
    :ets.insert(tables.entries, {incarnation, key, pid, value})
    :ets.insert(tables.names, name(tables, key, incarnation, pid))
    state = own(%{state | last: incarnation}, pid)
    if before, do: remove(state, elem(before, 0), key, elem(before, 1)), else: state
  end

  defp name(%{keys: :unique}, key, incarnation, pid), do: {key, incarnation, pid}
  defp name(tables, key, incarnation, pid), do: {Tables.name_key(tables, key, incarnation), key, pid}

  # Monitored at the first entry, once for life.
  defp own(state, pid) do
    unless is_map_key(state.owners, pid), do: Process.monitor(pid)
    %{state | owners: Map.update(state.owners, pid, 1, &(&1 + 1))}
  end

  defp remove(%{tables: tables} = state, incarnation, key, pid) do
    forget_name(tables, key, incarnation)
    forget_description(state, incarnation)
    :ets.delete(tables.entries, incarnation)
    :ets.delete(tables.owners, {pid, incarnation})
    %{state | owners: Map.update!(state.owners, pid, &(&1 - 1))}
  end

  # Compared by incarnation: a successor's row stays.
  defp forget_name(%{keys: :unique} = tables, key, incarnation) do
    with {^incarnation, _pid} <- Tables.named(tables, key), do: :ets.delete(tables.names, key)
  end

  defp forget_name(tables, key, incarnation), do: :ets.delete(tables.names, Tables.name_key(tables, key, incarnation))

  defp purge(state, pid) do
    case Tables.owned(state.tables, pid, @purge) do
      [] ->
        %{state | owners: Map.delete(state.owners, pid)}

      rows ->
        Kernel.send(self(), {:purge, pid})
        Enum.reduce(rows, state, fn {incarnation, key}, state -> remove(state, incarnation, key, pid) end)
    end
  end

  # Descriptions ----------------------------------------------------------------------------------------------------

  defp describe(%{tables: tables} = state, {incarnation, key, pid}, expected, attributes, facets) do
    case description(tables, incarnation) do
      {^expected, before} ->
        row = {incarnation, key, pid, expected + 1, attributes, facets}
        :ets.insert_new(tables.loads, {incarnation, 0})
        change(tables, fn -> rewrite(tables, row, before || []) end)
        tell(state, incarnation, before, facets)
        {:ok, expected + 1, incarnation}

      {version, _facets} ->
        {:stale, version}
    end
  end

  defp description(tables, incarnation) do
    case :ets.lookup(tables.described, incarnation) do
      [{_incarnation, _key, _pid, version, _attributes, facets}] -> {version, facets}
      [] -> {0, nil}
    end
  end

  defp rewrite(tables, row, before) do
    {incarnation, facets} = {elem(row, 0), elem(row, 5)}
    Enum.each(facets -- before, &enter(tables, &1, incarnation))
    :ets.insert(tables.described, row)
    Enum.each(before -- facets, &leave(tables, &1, incarnation))
  end

  defp forget_description(%{tables: tables} = state, incarnation) do
    with [{_incarnation, key, pid, _version, _attributes, facets}] <- :ets.lookup(tables.described, incarnation) do
      change(tables, fn ->
        :ets.delete(tables.described, incarnation)
        Enum.each(facets, &leave(tables, &1, incarnation))
      end)

      :ets.delete(tables.loads, incarnation)
      tell_left(state, {key, pid, incarnation}, facets)
    end
  end

  defp change(tables, fun) do
    :atomics.add(tables.turn, 1, 1)
    fun.()
    :atomics.add(tables.turn, 1, 1)
  end

  defp enter(tables, facet, incarnation) do
    :ets.insert(tables.index, {{facet, incarnation}})
    :ets.update_counter(tables.sizes, facet, 1, {facet, 0})
  end

  defp leave(tables, facet, incarnation) do
    :ets.delete(tables.index, {facet, incarnation})
    if :ets.update_counter(tables.sizes, facet, -1) == 0, do: :ets.delete(tables.sizes, facet)
  end

  # Watches ---------------------------------------------------------------------------------------------------------

  # The dead that a new watch would have seen leave without having joined are removed before it begins.
  defp bury(%{tables: tables} = state, query) do
    dead =
      for incarnation <- Query.named(tables, query),
          [{_, key, pid, _, _, _}] = :ets.lookup(tables.described, incarnation),
          not Tables.alive?(pid),
          do: {incarnation, key, pid}

    Enum.reduce(dead, state, fn {incarnation, key, pid}, state -> remove(state, incarnation, key, pid) end)
  end

  defp tell(%{watches: watches}, _incarnation, _before, _facets) when watches == %{}, do: :ok

  defp tell(%{tables: tables} = state, incarnation, before, facets) do
    [{key, pid, _value, _attributes, _load, _incarnation} = record] = Tables.records(tables, incarnation)

    for {ref, {query, watcher}} <- state.watches do
      case {before != nil and Query.matches?(query, before), Query.matches?(query, facets)} do
        {false, true} -> Kernel.send(watcher, {:kantoku_watch, ref, :join, record})
        {true, true} -> Kernel.send(watcher, {:kantoku_watch, ref, :change, record})
        {true, false} -> Kernel.send(watcher, {:kantoku_watch, ref, :leave, {key, pid, incarnation}})
        {false, false} -> :ok
      end
    end
  end

  defp tell_left(state, left, facets) do
    for {ref, {query, watcher}} <- state.watches, Query.matches?(query, facets) do
      Kernel.send(watcher, {:kantoku_watch, ref, :leave, left})
    end
  end
end

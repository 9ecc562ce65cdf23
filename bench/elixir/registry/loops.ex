defmodule Bench.Names.Loops do
  @moduledoc false
  # The tight loops that are timed. Each exists once for every side with the call written out, so that neither pays
  # for a call through a variable.

  @type side :: :ours | :theirs | :engine | :native | :table | :table_alive
  @type reader :: {registry :: term, rest :: [term], all :: [term]}

  @doc "`count` look-ups, going round the keys."
  @spec look_up(side, reader, pos_integer) :: reader
  def look_up(:ours, {registry, keys, all}, count), do: {registry, ours(registry, keys, all, count), all}
  def look_up(:theirs, {registry, keys, all}, count), do: {registry, theirs(registry, keys, all, count), all}
  def look_up(:engine, {registry, keys, all}, count), do: {registry, engine(registry, keys, all, count), all}
  def look_up(:native, {registry, keys, all}, count), do: {registry, native(registry, keys, all, count), all}
  def look_up(:table, {table, keys, all}, count), do: {table, table(table, keys, all, count), all}
  def look_up(:table_alive, {table, keys, all}, count), do: {table, table_alive(table, keys, all, count), all}

  @doc "One look-up for each key, each timed by itself."
  @spec time_look_ups(side, term, [term], Bench.Latencies.t()) :: :ok
  def time_look_ups(:ours, registry, keys, latencies), do: time_ours(registry, keys, latencies)
  def time_look_ups(:theirs, registry, keys, latencies), do: time_theirs(registry, keys, latencies)

  @doc "Registers and unregisters each key once."
  @spec register_pairs(:ours | :theirs, atom, [term]) :: :ok
  def register_pairs(:ours, registry, keys), do: pairs_ours(registry, keys)
  def register_pairs(:theirs, registry, keys), do: pairs_theirs(registry, keys)

  for {side, module} <- [ours: Kantoku.Registry, theirs: Registry] do
    defp unquote(side)(_registry, keys, _all, 0), do: keys
    defp unquote(side)(registry, [], all, count), do: unquote(side)(registry, all, all, count)

    defp unquote(side)(registry, [key | keys], all, count) do
      _ = unquote(module).whereis_name({registry, key})
      unquote(side)(registry, keys, all, count - 1)
    end

    defp unquote(:"time_#{side}")(_registry, [], _latencies), do: :ok

    defp unquote(:"time_#{side}")(registry, [key | keys], latencies) do
      started = :erlang.monotonic_time(:nanosecond)
      _ = unquote(module).whereis_name({registry, key})
      ended = :erlang.monotonic_time(:nanosecond)
      Bench.Latencies.record(latencies, ended - started)
      unquote(:"time_#{side}")(registry, keys, latencies)
    end

    defp unquote(:"pairs_#{side}")(_registry, []), do: :ok

    defp unquote(:"pairs_#{side}")(registry, [key | keys]) do
      {:ok, _} = unquote(module).register(registry, key, nil)
      :ok = unquote(module).unregister(registry, key)
      unquote(:"pairs_#{side}")(registry, keys)
    end
  end

  for {side, module} <- [engine: Kantoku.Engine, native: Kantoku.Native] do
    defp unquote(side)(_registry, keys, _all, 0), do: keys
    defp unquote(side)(registry, [], all, count), do: unquote(side)(registry, all, all, count)

    defp unquote(side)(registry, [key | keys], all, count) do
      _ = unquote(module).whereis(registry, key)
      unquote(side)(registry, keys, all, count - 1)
    end
  end

  defp table(_table, keys, _all, 0), do: keys
  defp table(table, [], all, count), do: table(table, all, all, count)

  defp table(table, [key | keys], all, count) do
    [{_, {_pid, _}}] = :ets.lookup(table, key)
    table(table, keys, all, count - 1)
  end

  defp table_alive(_table, keys, _all, 0), do: keys
  defp table_alive(table, [], all, count), do: table_alive(table, all, all, count)

  defp table_alive(table, [key | keys], all, count) do
    [{_, {pid, _}}] = :ets.lookup(table, key)
    true = Process.alive?(pid)
    table_alive(table, keys, all, count - 1)
  end
end

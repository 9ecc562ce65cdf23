defmodule Kantoku.Registry.Entries do
  # Described entries: changes that lose none made beside them, loads, queries and watches. Knows no engine's workings.
  @moduledoc false

  alias Kantoku.{Engine, Entry}
  alias Kantoku.Registry.{Config, Criteria, Description, Facet, Load}

  # For messages that are on their way, in ms. They come at once, unless the machine is very busy.
  @end_within 5_000

  @type changes :: keyword | map | (Entry.t() -> keyword | map)

  @spec describe(atom, term, changes) :: :ok | :error
  def describe(registry, key, changes) do
    with {:ok, _handle} <- described(registry, key, changes), do: :ok
  end

  # Written against the version that was read; whoever comes too late reads again.
  defp described(registry, key, changes) do
    with {{_key, pid, _value, attributes, _load, _incarnation} = record, version, _handle} <- read(registry, key) do
      attributes = Description.change!(attributes, resolved(changes, record))

      case Engine.describe(registry, key, pid, version, attributes, Facet.of(attributes)) do
        {:ok, _version, handle} -> {:ok, handle}
        _changed_or_gone -> described(registry, key, changes)
      end
    end
  end

  defp resolved(changes, record) when is_function(changes, 1), do: changes.(Entry.from_record(record))
  defp resolved(changes, _record), do: changes

  defp read(registry, key) do
    unique!(registry)

    case Engine.entry(registry, key) do
      :unknown -> Config.unknown_registry!(registry)
      :none -> :error
      entry -> entry
    end
  end

  defp unique!(registry) do
    case Config.keys!(registry) do
      :unique -> :ok
      kind -> raise ArgumentError, "entries are not supported for #{kind} registries, got: #{inspect(registry)}"
    end
  end

  @spec fetch(atom, term) :: {:ok, Entry.t()} | :error
  def fetch(registry, key) do
    with {record, _version, _handle} <- read(registry, key), do: {:ok, Entry.from_record(record)}
  end

  # Loads -----------------------------------------------------------------------------------------------------------

  @spec load_handle(atom, term) :: {:ok, Load.t()} | :error
  def load_handle(registry, key) do
    case read(registry, key) do
      {_record, 0, nil} -> with {:ok, handle} <- described(registry, key, []), do: {:ok, %Load{handle: handle}}
      {_record, _version, handle} -> {:ok, %Load{handle: handle}}
      :error -> :error
    end
  end

  @spec set_load(atom, Load.t() | term, non_neg_integer) :: :ok | :error
  def set_load(registry, %Load{handle: handle}, load) do
    case Engine.set_load(registry, handle, load) do
      true -> :ok
      false -> :error
      :unknown -> Config.unknown_registry!(registry)
    end
  end

  def set_load(registry, key, load), do: by_key(registry, key, &set_load(registry, &1, load))

  @spec add_load(atom, Load.t() | term, integer) :: {:ok, non_neg_integer} | :error
  def add_load(registry, %Load{handle: handle}, change) do
    case Engine.add_load(registry, handle, change) do
      {:ok, _load} = added -> added
      false -> :error
      :unknown -> Config.unknown_registry!(registry)
    end
  end

  def add_load(registry, key, change), do: by_key(registry, key, &add_load(registry, &1, change))

  # The registration may end between the two steps; then its successor, if any, is looked up in its place.
  defp by_key(registry, key, fun) do
    with {:ok, load} <- load_handle(registry, key),
         :error <- fun.(load),
         do: by_key(registry, key, fun)
  end

  # Queries ---------------------------------------------------------------------------------------------------------

  @spec find(atom, keyword) :: [{term, pid}] | [pid] | [term] | [Entry.t()]
  def find(registry, criteria) do
    case Criteria.compile!(criteria) do
      %{residual: [], return: :entries} = compiled -> registry |> records(compiled.query) |> shaped(:entries)
      %{residual: [], return: :pairs} = compiled -> pairs(registry, compiled.query)
      %{residual: []} = compiled -> registry |> pairs(compiled.query) |> shaped(compiled.return)
      compiled -> registry |> filtered(compiled) |> shaped(compiled.return)
    end
  end

  defp records(registry, query), do: known!(Engine.find(registry, query), registry)
  defp pairs(registry, query), do: known!(Engine.find_pids(registry, query), registry)

  defp filtered(registry, %{query: {all, any, none, order, limit}} = compiled) do
    records = records(registry, {all, any, none, order, :infinity})
    matching = Stream.filter(records, fn record -> Criteria.holds?(compiled, elem(record, 3)) end)
    if limit == :infinity, do: Enum.to_list(matching), else: Enum.take(matching, limit)
  end

  defp shaped(records, :entries), do: Enum.map(records, &Entry.from_record/1)
  defp shaped(found, :pids), do: Enum.map(found, &elem(&1, 1))
  defp shaped(found, :keys), do: Enum.map(found, &elem(&1, 0))
  defp shaped(found, :pairs), do: Enum.map(found, &{elem(&1, 0), elem(&1, 1)})

  @spec count(atom, keyword) :: non_neg_integer
  def count(registry, criteria) do
    case Criteria.compile!(criteria) do
      %{residual: [], query: query} -> known!(Engine.count(registry, query), registry)
      %{query: query} = compiled -> registry |> filtered(%{compiled | query: put_elem(query, 4, :infinity)}) |> length()
    end
  end

  @spec watch(atom, keyword) :: {:ok, reference, [Entry.t()]}
  def watch(registry, criteria) do
    %{query: query} = Criteria.compile_watch!(criteria)
    {:ok, ref, records} = known!(Engine.watch(registry, query, self()), registry)
    {:ok, ref, Enum.map(records, &Entry.from_record/1)}
  end

  @spec unwatch(atom, reference) :: :ok
  def unwatch(registry, ref) do
    case known!(Engine.unwatch(registry, ref), registry) do
      :ok -> flush(ref, 0)
      :pending -> flush(ref, @end_within)
    end
  end

  defp flush(ref, patience) do
    receive do
      {:kantoku_watch, ^ref, _event, _what} -> flush(ref, patience)
      {:kantoku_watch, ^ref, :end} -> :ok
    after
      patience -> :ok
    end
  end

  defp known!(:unknown, registry), do: Config.unknown_registry!(registry)
  defp known!(answer, _registry), do: answer
end

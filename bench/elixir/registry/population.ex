defmodule Bench.Names.Population do
  @moduledoc false
  # Names held by living processes, the same ones in our registry, in Elixir's, and in a bare ETS table. Knows nothing
  # of what is measured on them.

  alias Bench.{Crowd, Ours}

  @names_per_holder 10
  @table_options [:set, :public, read_concurrency: true, write_concurrency: true]

  @type t :: %{
          ours: atom,
          theirs: atom,
          table: :ets.table(),
          size: pos_integer,
          holders: Crowd.t(),
          supervisors: [pid]
        }

  @doc """
  Builds `size` names of a shape, #{@names_per_holder} to a process.

  The keys, in random order, are kept as a literal (`keys/3` reads them): no caller carries a copy of them on its heap, so
  neither side pays for collecting them.
  """
  @spec build(pos_integer, :binary | :tuple, Bench.Options.t()) :: t
  def build(size, shape, options) do
    population = open(options)
    keys = size |> keys_of(shape) |> Enum.shuffle()
    :persistent_term.put({__MODULE__, population.theirs}, keys)
    {holders, _} = keys |> Enum.chunk_every(@names_per_holder) |> Crowd.start(&hold(&1, population))
    population = Map.merge(population, %{size: size, holders: holders})
    agree!(population, Enum.take(keys, 1_000))
    population
  end

  @doc "Both registries with no name in them."
  @spec open(Bench.Options.t(), partitions :: pos_integer) :: map
  def open(options, partitions \\ 1) do
    suffix = System.unique_integer([:positive])
    theirs = :"bench_elixir_registry_#{suffix}"
    {:ok, supervisor} = Registry.start_link(keys: :unique, name: theirs, partitions: partitions)
    {ours, ours_supervisor} = Ours.open_registry(:"bench_registry_#{suffix}", partitions, options)
    %{ours: ours, theirs: theirs, table: :ets.new(:bench, @table_options), supervisors: [supervisor, ours_supervisor]}
  end

  @doc "All keys, from where caller `index` of `count` begins, and from the first one: neither is copied to a heap."
  @spec keys(t, non_neg_integer, pos_integer) :: {from :: [term, ...], all :: [term, ...]}
  def keys(population, index, count) do
    all = :persistent_term.get({__MODULE__, population.theirs})
    {Enum.drop(all, index * div(population.size, count)), all}
  end

  @spec clear(map) :: :ok
  def clear(population) do
    if holders = population[:holders], do: Crowd.stop(holders)
    for supervisor <- population.supervisors, supervisor != nil, do: Supervisor.stop(supervisor)
    :persistent_term.erase({__MODULE__, population.theirs})
    :ok
  end

  defp keys_of(size, :binary), do: Enum.map(1..size, &"agent:#{&1}")
  defp keys_of(size, :tuple), do: Enum.map(1..size, &{:agent, "tenant-#{rem(&1, 100)}", &1})

  defp hold(keys, %{ours: ours, theirs: theirs, table: table}) do
    Enum.each(keys, &register(&1, ours, theirs, table))
  end

  defp register(key, ours, theirs, table) do
    {:ok, _} = Registry.register(theirs, key, nil)
    if ours, do: {:ok, _} = Ours.register(ours, key)
    :ets.insert(table, {key, {self(), nil}})
  end

  # All sides have to answer the same before it means anything how fast they do.
  defp agree!(population, keys) do
    for key <- keys do
      pid = Registry.whereis_name({population.theirs, key})
      [{^key, {^pid, nil}}] = :ets.lookup(population.table, key)
      if population.ours, do: ^pid = Ours.whereis(population.ours, key)
    end
  end
end

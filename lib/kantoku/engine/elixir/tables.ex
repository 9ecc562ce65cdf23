defmodule Kantoku.Engine.Elixir.Tables do
  # The rows of one instance: their shapes, and every read. Only the keeper writes. Knows nothing of processes beyond
  # whether they live.
  #
  #   names      unique: {key, incarnation, pid}; duplicate: {{hash, incarnation}, key, pid}, so that the entries of a
  #              key are together and in order
  #   entries    {incarnation, key, pid, value}, ordered
  #   owners     {{pid, incarnation}, key}, ordered
  #   described  {incarnation, key, pid, version, attributes, facets}
  #   index      {{facet, incarnation}}, ordered; what Query walks
  #   sizes      {facet, how many}
  #   loads      {incarnation, load}; anyone writes. The handle of a load is its incarnation, which is never used again
  #   turn       odd while descriptions change, and another number after
  #
  # Invariants:
  #   1. The names row of a unique key is the truth; an entry with another incarnation does not count any more.
  #   2. An entries row is there before its names row, and goes after it.
  #   3. No key or facet stands in a match pattern: atoms as :_ are keys like any other.
  @moduledoc false

  @max_load Kantoku.Engine.max_load()
  @tables [:names, :entries, :owners, :described, :index, :sizes, :loads]
  @enforce_keys [:keys, :keeper, :holder, :turn | @tables]
  defstruct @enforce_keys

  @type t :: %__MODULE__{keys: :unique | :duplicate, keeper: pid, holder: pid}

  @doc "Makes the tables of an instance; the caller is their keeper."
  @spec new(:unique | :duplicate, pid) :: t
  def new(keys, holder) do
    %__MODULE__{
      keys: keys,
      keeper: self(),
      holder: holder,
      turn: :atomics.new(1, []),
      names: table(if(keys == :unique, do: :set, else: :ordered_set)),
      entries: table(:ordered_set),
      owners: table(:ordered_set),
      described: table(:set),
      index: table(:ordered_set),
      sizes: table(:set),
      loads: :ets.new(:loads, [:set, :public, read_concurrency: true, write_concurrency: true])
    }
  end

  defp table(type), do: :ets.new(:kantoku, [type, :protected, read_concurrency: true])

  @doc "Whether a pid is a live process of this node."
  @spec alive?(term) :: boolean
  def alive?(pid), do: is_pid(pid) and node(pid) == node() and Process.alive?(pid)

  @doc "The key of a names row."
  @spec name_key(t, term, pos_integer) :: term
  def name_key(%{keys: :unique}, key, _incarnation), do: key
  def name_key(%{keys: :duplicate}, key, incarnation), do: {:erlang.phash2(key), incarnation}

  @doc "Who is in the names row of a unique key, dead or alive."
  @spec named(t, term) :: {pos_integer, pid} | nil
  def named(tables, key) do
    case :ets.lookup(tables.names, key) do
      [{_key, incarnation, pid}] -> {incarnation, pid}
      [] -> nil
    end
  end

  @spec whereis(t, term) :: pid | :undefined | :duplicate
  def whereis(%{keys: :duplicate}, _key), do: :duplicate

  def whereis(tables, key), do: whereis(tables, key, named(tables, key))

  # A dead holder may have been succeeded before it died: the name was never free then, so it is read until it stays.
  defp whereis(_tables, _key, nil), do: :undefined

  defp whereis(tables, key, {_incarnation, pid} = found) do
    if alive?(pid) do
      pid
    else
      case named(tables, key) do
        ^found -> :undefined
        successor -> whereis(tables, key, successor)
      end
    end
  end

  @spec lookup(t, term) :: [{pid, term}]
  def lookup(%{keys: :unique} = tables, key) do
    with {incarnation, pid} <- named(tables, key), true <- alive?(pid) do
      case :ets.lookup(tables.entries, incarnation) do
        [{_incarnation, _key, _pid, value}] -> [{pid, value}]
        # Gone or succeeded since the names row was read (invariant 2): that row has changed by now.
        [] -> lookup(tables, key)
      end
    else
      _nobody -> []
    end
  end

  def lookup(tables, key) do
    for {incarnation, pid} <- holders(tables, key),
        alive?(pid),
        {_incarnation, _key, _pid, value} <- :ets.lookup(tables.entries, incarnation),
        do: {pid, value}
  end

  @doc "Incarnations and owners under a key, in order, dead or alive."
  @spec holders(t, term) :: [{pos_integer, pid}]
  def holders(%{keys: :unique} = tables, key), do: List.wrap(named(tables, key))

  def holders(tables, key) do
    pattern = {{:erlang.phash2(key), :"$1"}, :"$2", :"$3"}
    :ets.select(tables.names, [{pattern, [{:"=:=", :"$2", {:const, key}}], [{{:"$1", :"$3"}}]}])
  end

  @spec keys(t, pid) :: [term]
  def keys(tables, pid) do
    if alive?(pid) do
      for {incarnation, key} <- owned(tables, pid), current?(tables, key, incarnation), do: key
    else
      []
    end
  end

  @doc "Incarnations and keys of an owner, in order; at most `limit` of them."
  @spec owned(t, pid) :: [{pos_integer, term}]
  def owned(tables, pid), do: :ets.select(tables.owners, owner_spec(pid))

  @spec owned(t, pid, pos_integer) :: [{pos_integer, term}]
  def owned(tables, pid, limit) do
    case :ets.select(tables.owners, owner_spec(pid), limit) do
      {rows, _continuation} -> rows
      :"$end_of_table" -> []
    end
  end

  defp owner_spec(pid), do: [{{{pid, :"$1"}, :"$2"}, [], [{{:"$1", :"$2"}}]}]

  @spec own(t, term, pid) :: [{pos_integer, term}]
  def own(tables, key, pid) do
    if alive?(pid) do
      for {incarnation, ^pid} <- holders(tables, key),
          {_incarnation, _key, _pid, value} <- :ets.lookup(tables.entries, incarnation),
          do: {incarnation, value}
    else
      []
    end
  end

  @doc "Entries with live owners after the incarnation `cursor`, among the next `limit` rows."
  @spec slice(t, non_neg_integer, pos_integer) :: {[{term, pid, term}], pos_integer | :done}
  def slice(tables, cursor, limit), do: slice(tables, cursor, limit, [])

  defp slice(_tables, cursor, 0, acc), do: {Enum.reverse(acc), cursor}

  defp slice(tables, cursor, limit, acc) do
    case :ets.next(tables.entries, cursor) do
      :"$end_of_table" -> {Enum.reverse(acc), :done}
      incarnation -> slice(tables, incarnation, limit - 1, shown(tables, incarnation) ++ acc)
    end
  end

  defp shown(tables, incarnation) do
    for {_incarnation, key, pid, value} <- :ets.lookup(tables.entries, incarnation),
        alive?(pid) and current?(tables, key, incarnation),
        do: {key, pid, value}
  end

  # Invariant 1.
  defp current?(%{keys: :duplicate}, _key, _incarnation), do: true
  defp current?(tables, key, incarnation), do: match?({^incarnation, _pid}, named(tables, key))

  @spec entry(t, term) :: {Kantoku.Engine.record(), non_neg_integer, non_neg_integer | nil} | :none
  def entry(%{keys: :duplicate}, _key), do: :none

  def entry(tables, key) do
    with {incarnation, pid} <- named(tables, key), true <- alive?(pid) do
      case {:ets.lookup(tables.entries, incarnation), :ets.lookup(tables.described, incarnation)} do
        {[], _description} -> entry(tables, key)
        {[row], []} -> {record(row, %{}, 0), 0, nil}
        {[row], [description]} -> described_entry(tables, row, description)
      end
    else
      _nobody -> :none
    end
  end

  defp described_entry(tables, {incarnation, _key, _pid, _value} = row, description) do
    {record(row, elem(description, 4), load(tables, incarnation)), elem(description, 3), incarnation}
  end

  @doc "The record of a described entry; `[]` if it is gone or was never described."
  @spec records(t, pos_integer) :: [Kantoku.Engine.record()]
  def records(tables, incarnation) do
    for row <- :ets.lookup(tables.entries, incarnation),
        {_incarnation, _key, _pid, _version, attributes, _facets} <- :ets.lookup(tables.described, incarnation),
        do: record(row, attributes, load(tables, incarnation))
  end

  defp record({incarnation, key, pid, value}, attributes, load), do: {key, pid, value, attributes, load, incarnation}

  @doc "The load of an entry; 0 if it has none."
  @spec load(t, pos_integer) :: non_neg_integer
  def load(tables, incarnation) do
    case :ets.lookup(tables.loads, incarnation) do
      [{_incarnation, load}] -> load
      [] -> 0
    end
  end

  @spec set_load(t, non_neg_integer, non_neg_integer) :: boolean
  def set_load(tables, handle, load), do: :ets.update_element(tables.loads, handle, {2, min(load, @max_load)})

  @spec add_load(t, non_neg_integer, integer) :: {:ok, non_neg_integer} | false
  def add_load(tables, handle, change) do
    step = if change < 0, do: {2, change, 0, 0}, else: {2, change, @max_load, @max_load}
    {:ok, :ets.update_counter(tables.loads, handle, step)}
  rescue
    error in ArgumentError -> if :ets.member(tables.loads, handle), do: reraise(error, __STACKTRACE__), else: false
  end

  @doc "What `fun` reads, if no description changed meanwhile."
  @spec undisturbed(t, (t -> answer)) :: {:ok, answer} | :disturbed when answer: term
  def undisturbed(tables, fun) do
    turn = :atomics.get(tables.turn, 1)

    with true <- rem(turn, 2) == 0, answer = fun.(tables), ^turn <- :atomics.get(tables.turn, 1) do
      {:ok, answer}
    else
      _changing -> :disturbed
    end
  end
end

defmodule Kantoku.Migration.Roster do
  # Which agent is on which side. Rows are written by whoever starts, moves or stops one, each in one step; in a table of the
  # application's, so that a move that was cut off is known.
  #
  # Rows: {key, place, pid, origin, ledger, stays}; {{:left, key}, side, pid, new, sent}; {{:subject, instance, id}, subject}.
  @moduledoc false

  alias Kantoku.Migration.{Carrier, Mode, Names, Old}
  alias Kantoku.Pattern

  @table __MODULE__

  # Between two looks at an agent that moves, in ms.
  @look 1

  @type key :: {instance :: atom, subject :: term, key :: term}

  @typedoc "While it moves: from which side, by whom, the process that is held still and the names that were taken from it."
  @type place :: Mode.side() | {:moving, Mode.side(), mover :: pid, frozen :: pid | nil, [Names.name() | :none]}
  @type origin :: %{
          old: Old.supervision(),
          spec: term,
          agent: keyword,
          carrier: module,
          means: Carrier.means(),
          registry: {module, term} | nil,
          linger: non_neg_integer
        }
  @type row :: {key, place, pid | nil, origin, ledger :: term, stays :: term}

  @doc "Makes the table, which lives as long as the calling process."
  @spec new_table() :: :ok
  def new_table do
    :ets.new(@table, [:named_table, :public, read_concurrency: true, write_concurrency: true])
    :ok
  end

  @spec fetch(key) :: row | nil
  def fetch(key) do
    case :ets.lookup(@table, key) do
      [row] -> row
      [] -> nil
    end
  end

  @doc "A new row, if there is none."
  @spec enter(key, Mode.side(), origin) :: boolean
  def enter(key, side, origin), do: :ets.insert_new(@table, {key, side, nil, origin, nil, nil})

  @spec delete(key) :: :ok
  def delete(key) do
    :ets.delete(@table, key)
    :ok
  end

  @doc "Its process, if it is still at the place that was read; whatever the place, by a key."
  @spec put_pid(key | row, pid, ledger :: term) :: boolean
  def put_pid({key, place, _pid, _origin, _ledger, _stays}, pid, ledger) do
    new =
      {{:element, 1, :"$_"}, {:const, place}, {:const, pid}, {:element, 4, :"$_"}, {:const, ledger},
       {:element, 6, :"$_"}}

    there = [Pattern.element_is(1, key), Pattern.element_is(2, place)]
    :ets.select_replace(@table, [{{Pattern.bound(key), :_, :_, :_, :_, :_}, there, [{new}]}]) == 1
  end

  def put_pid({_instance, _subject, _id} = key, pid, ledger),
    do: :ets.update_element(@table, key, [{3, pid}, {5, ledger}])

  @spec put_place(key, place, stays :: term) :: boolean
  def put_place(key, place, stays \\ nil), do: :ets.update_element(@table, key, [{2, place}, {6, stays}])

  @doc "From its side to the way to the other, for one mover; `false` if it is not there any more, or as another process."
  @spec depart(row, pid | nil) :: boolean
  def depart({key, side, pid, origin, ledger, _stays}, frozen) do
    new =
      {{:element, 1, :"$_"}, {:const, {:moving, side, self(), frozen, []}}, {:const, pid}, {:const, origin},
       {:const, ledger}, nil}

    as_it_was = [Pattern.element_is(1, key), Pattern.is(:"$1", pid)]
    :ets.select_replace(@table, [{{Pattern.bound(key), side, :"$1", :_, :_, :_}, as_it_was, [{new}]}]) == 1
  end

  @doc "An agent that has moved: it is there, and what it left is to be stopped."
  @spec arrive(row, Mode.side(), new :: pid, frozen :: pid, pid | nil) :: true
  def arrive({key, _place, _pid, origin, _ledger, _stays}, side, new, frozen, pid) do
    left = if side == :new, do: :old, else: :new
    :ets.insert(@table, [{key, side, pid, origin, nil, nil}, {{:left, key}, left, frozen, new, 0}])
  end

  # Subjects by id, where who asks knows only that ---------------------------------------------------------------------------

  @spec index(atom, id :: term, subject :: term) :: true
  def index(instance, id, subject), do: :ets.insert(@table, {{:subject, instance, id}, subject})

  @spec subject(atom, id :: term) :: {:ok, term} | :error
  def subject(instance, id) do
    case :ets.lookup(@table, {:subject, instance, id}) do
      [{_key, subject}] -> {:ok, subject}
      [] -> :error
    end
  end

  @spec unindex(atom, id :: term) :: true
  def unindex(instance, id), do: :ets.delete(@table, {:subject, instance, id})

  # What was left ----------------------------------------------------------------------------------------------------------

  @spec left?(key) :: boolean
  def left?(key), do: :ets.member(@table, {:left, key})

  @doc "`{side, pid, successor, sent}` of what a key has left."
  @spec left(key) :: {Mode.side(), pid, pid, non_neg_integer} | nil
  def left(key) do
    case :ets.lookup(@table, {:left, key}) do
      [{_key, side, pid, new, sent}] -> {side, pid, new, sent}
      [] -> nil
    end
  end

  @spec all_left() :: [key]
  def all_left, do: for([key] <- :ets.match(@table, {{:left, :"$1"}, :_, :_, :_, :_}), do: key)

  @spec all_left(atom, term) :: [key]
  def all_left(instance, subject) do
    theirs = [Pattern.is(:"$1", instance), Pattern.is(:"$2", subject)]
    key = {:"$1", :"$2", :"$3"}
    :ets.select(@table, [{{{:left, key}, :_, :_, :_, :_}, theirs, [{key}]}])
  end

  @spec put_sent(key, non_neg_integer) :: boolean
  def put_sent(key, sent), do: :ets.update_element(@table, {:left, key}, {5, sent})

  @spec forget_left(key) :: true
  def forget_left(key), do: :ets.delete(@table, {:left, key})

  # All of them ------------------------------------------------------------------------------------------------------------

  @spec of(atom, term) :: [row]
  def of(instance, subject) do
    theirs = [Pattern.is(:"$1", instance), Pattern.is(:"$2", subject)]
    :ets.select(@table, [{{{:"$1", :"$2", :_}, :_, :_, :_, :_, :_}, theirs, [:"$_"]}])
  end

  @doc "The subjects that have an agent on its way."
  @spec moving() :: [{atom, term}]
  def moving do
    Enum.uniq(
      :ets.select(@table, [{{{:"$1", :"$2", :_}, {:moving, :_, :_, :_, :_}, :_, :_, :_, :_}, [], [{{:"$1", :"$2"}}]}])
    )
  end

  @doc "The row of an agent when it is not on its way, but for `timeout` ms at most; then as it is."
  @spec settled(key, timeout :: integer) :: row | nil
  def settled(key, timeout) do
    case fetch(key) do
      {_key, place, _pid, _origin, _ledger, _stays} when is_tuple(place) and timeout > 0 ->
        Process.sleep(@look)
        settled(key, timeout - @look)

      row ->
        row
    end
  end

  @doc "Where an agent is, waiting up to `timeout` ms for one that moves."
  @spec locate(key, timeout :: integer) :: {place | nil, pid | nil}
  def locate(key, timeout) do
    row = settled(key, timeout)

    case pid(row) do
      # It may have left after its row was read.
      nil -> if row == fetch(key), do: {row && elem(row, 1), nil}, else: locate(key, timeout)
      pid -> {elem(row, 1), pid}
    end
  end

  @doc "Where an agent is, by its row."
  @spec pid(row | nil) :: pid | nil
  def pid({_key, :old, pid, _origin, _ledger, _stays}), do: if(is_pid(pid) and Process.alive?(pid), do: pid)
  def pid({{instance, _subject, id}, :new, _pid, _origin, _ledger, _stays}), do: Kantoku.whereis(instance, id)
  def pid(_moving_or_none), do: nil
end

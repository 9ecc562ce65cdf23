defmodule Kantoku.Domain.Rows do
  # What is wanted and what is there: one row per agent, in a table that the instance's own supervisor holds, so that it
  # outlives everything that decides restarts. Knows no process but by its pid.
  #
  # R1  A row is inserted by whoever wants the agent, in phase :new, with the supervisor it is meant for.
  # R2  While that supervisor lives, it alone (in `Start`, run by it) writes the row, one after the other. Others flip `wanted`, and
  #     may supersede the row of an ended agent that is not permanent.
  # R3  When it is dead, and every process it may have left is dead too, a keeper gives the row to its successor by
  #     compare and swap (`hand_over/3`); nobody else does.
  # R4  `gen` names one wish: what was asked for under an older one finds no row and does nothing.
  @moduledoc false
  require Record

  alias Kantoku.Pattern

  @type phase :: :new | :starting | :up | :resting | :behind | :parked | :recover | :stopped
  @type due :: nil | :never | integer
  @type restart :: :permanent | :transient | :temporary
  @type child :: {restart, timeout | :brutal_kill, :worker | :supervisor}

  # Ms; OTP's.
  @usual_shutdown 5_000

  @fields [
    :id,
    :gen,
    :domain,
    # Index of the partition, or :group for a declared agent.
    :part,
    :sup,
    # {:data, module, args, options}, or the module alone if it was given neither, which most are; {:otp, mfa, modules}; or
    # {:informed, mfa, module} of an adapter
    :what,
    # {restart, shutdown, type}, or the restart alone of a worker that has the usual time to end, which most are
    :child,
    :entry,
    :pid,
    # Monotonic native time of the last real start.
    :started,
    # Monotonic ms when a resting process starts its successor.
    :due,
    # Monotonic ms when it came to rest.
    :since,
    :ledger,
    # true; false; or {:park, reason} when the agent asked for that and is about to end.
    wanted: true,
    phase: :new,
    incarnation: 0,
    restarts: 0
  ]
  Record.defrecord(:row, @fields)

  @type row :: record(:row, [])

  # The record's name is at position 1.
  @keypos 2
  for {field, index} <- Enum.with_index(Enum.map(@fields, &((is_tuple(&1) && elem(&1, 0)) || &1)), @keypos) do
    @doc false
    defmacro unquote(:"#{field}_at")(), do: unquote(index)
  end

  @doc "Makes the table, which lives as long as the calling process."
  @spec new_table() :: :ets.tid()
  def new_table do
    # Every start and restart writes as often as it reads, which is what :read_concurrency makes dear.
    :ets.new(__MODULE__, [:public, keypos: @keypos, write_concurrency: true])
  end

  @spec get(:ets.tid(), term) :: row | nil
  def get(rows, id) do
    case :ets.lookup(rows, id) do
      [row] -> row
      [] -> nil
    end
  end

  @doc "How a supervisor is to treat the agent."
  @spec child(row) :: child
  def child(row(child: restart)) when is_atom(restart), do: {restart, @usual_shutdown, :worker}
  def child(row(child: child)), do: child

  @doc "The row with this in it."
  @spec put_child(row, child) :: row
  def put_child(row, {restart, @usual_shutdown, :worker}), do: row(row, child: restart)
  def put_child(row, child), do: row(row, child: child)

  @spec restart(row) :: restart
  def restart(row(child: restart)) when is_atom(restart), do: restart
  def restart(row(child: {restart, _shutdown, _type})), do: restart

  @doc "Inserts a row unless there is one of that id."
  @spec insert_new(:ets.tid(), row) :: boolean
  def insert_new(rows, row), do: :ets.insert_new(rows, row)

  @doc "Sets fields, given as `{position, value}`; `false` if there is no such row. Only as R2 allows."
  @spec put(:ets.tid(), term, [{pos_integer, term}]) :: boolean
  def put(rows, id, fields), do: :ets.update_element(rows, id, fields)

  @doc "Whether the agent is still wanted, for its own supervisor. One that asked to be parked is."
  @spec wanted?(:ets.tid(), term) :: boolean
  def wanted?(rows, id), do: :ets.lookup_element(rows, id, wanted_at()) != false

  @doc "Says, for the agent itself, that it is to be parked when it ends."
  @spec want_parked(:ets.tid(), row, reason :: term) :: boolean
  def want_parked(rows, row(wanted: true) = row, reason), do: move(rows, row, [{wanted_at(), {:park, reason}}])
  def want_parked(_rows, _row, _reason), do: false

  @doc "Says that the agent is not wanted any more, under this wish."
  @spec unwant(:ets.tid(), row) :: boolean
  def unwant(rows, row(id: id, gen: gen)), do: replace(rows, id, [{gen_at(), gen}], [{wanted_at(), false}])

  @doc "Sets fields if the row is still as it was seen."
  @spec move(:ets.tid(), row, [{pos_integer, term}]) :: boolean
  def move(rows, row(id: id) = row, fields), do: replace(rows, id, seen(row), fields)

  @doc """
  As `move/3`, for the row's own supervisor. Only what is not permanent may be superseded beside it, so for all others a plain write
  does, at a tenth of the price.
  """
  @spec advance(:ets.tid(), row, [{pos_integer, term}]) :: boolean
  def advance(rows, row(id: id) = row, fields),
    do: if(restart(row) == :permanent, do: put(rows, id, fields), else: move(rows, row, fields))

  @doc "Gives a row of a dead supervisor to `sup` in a phase, if it is still as it was seen (R3)."
  @spec hand_over(:ets.tid(), row, pid | nil, phase) :: boolean
  def hand_over(rows, row, sup, phase),
    do: move(rows, row, [{sup_at(), sup}, {phase_at(), phase}, {pid_at(), nil}])

  @doc "Puts a new wish in place of an ended one, if that is still as it was seen."
  @spec supersede(:ets.tid(), row, row) :: boolean
  def supersede(rows, row, new), do: move(rows, row, for(at <- gen_at()..row_size(), do: {at, elem(new, at - 1)}))

  @doc "Deletes a row if it is still as it was seen; whether this call did it."
  @spec delete(:ets.tid(), row) :: boolean
  def delete(rows, row(id: id) = row) do
    :ets.select_delete(rows, [{pattern(Pattern.bound(id), []), conditions([{id_at(), id} | seen(row)]), [true]}]) == 1
  end

  defp seen(row(gen: gen, sup: sup, pid: pid, phase: phase)),
    do: [{gen_at(), gen}, {sup_at(), sup}, {pid_at(), pid}, {phase_at(), phase}]

  @doc "How long the supervisor of these rows may take to end, in ms: as long as the slowest of them, and a second."
  @spec patience([row, ...]) :: pos_integer
  def patience(rows), do: Enum.max(Enum.map(rows, &allowed/1)) + 1_000

  defp allowed(row) do
    {_restart, shutdown, _type} = child(row)
    if is_integer(shutdown), do: shutdown, else: @usual_shutdown
  end

  @doc "All rows of a place: a domain, or one of its partitions."
  @spec of(:ets.tid(), Kantoku.Domain.name(), :_ | non_neg_integer | :group) :: [row]
  def of(rows, domain, part \\ :_), do: :ets.match_object(rows, pattern(:_, [{domain_at(), domain}, {part_at(), part}]))

  @doc "How many rows there are of each phase."
  @spec phases(:ets.tid(), Kantoku.Domain.name()) :: %{phase => pos_integer}
  def phases(rows, domain) do
    spec = [{pattern(:_, [{domain_at(), domain}, {phase_at(), :"$1"}]), [], [:"$1"]}]
    rows |> :ets.select(spec) |> Enum.frequencies()
  end

  @doc "How many rows there are of a phase, by domain."
  @spec by_domain(:ets.tid(), phase) :: %{Kantoku.Domain.name() => pos_integer}
  def by_domain(rows, phase) do
    spec = [{pattern(:_, [{phase_at(), phase}, {domain_at(), :"$1"}]), [], [:"$1"]}]
    count = fn domains, counts -> Enum.reduce(domains, counts, &Map.update(&2, &1, 1, fn count -> count + 1 end)) end
    fold_slices(rows, spec, 500, %{}, count)
  end

  @doc "Folds over all rows in slices, so that no slice holds a scheduler for long. Rows may come and go meanwhile."
  @spec fold(:ets.tid(), pos_integer, acc, (row, acc -> acc)) :: acc when acc: term
  def fold(rows, slice, acc, fun),
    do: fold_slices(rows, [{pattern(:_, []), [], [:"$_"]}], slice, acc, &Enum.reduce(&1, &2, fun))

  @doc "As `fold/4`, over what a match specification makes of the rows, a list of up to `slice` at a time."
  @spec fold_slices(:ets.tid(), :ets.match_spec(), pos_integer, acc, (list, acc -> acc)) :: acc when acc: term
  def fold_slices(rows, spec, slice, acc, fun) do
    :ets.safe_fixtable(rows, true)
    slices(:ets.select(rows, spec, slice), acc, fun)
  after
    :ets.safe_fixtable(rows, false)
  end

  defp slices(:"$end_of_table", acc, _fun), do: acc
  defp slices({found, continuation}, acc, fun), do: slices(:ets.select(continuation), fun.(found, acc), fun)

  # A compare and swap: `seen` and `fields` are {position, value}.
  defp replace(rows, id, seen, fields) do
    body = for at <- 1..row_size(), do: {:element, at, :"$_"}
    body = Enum.reduce(fields, body, fn {at, value}, body -> List.replace_at(body, at - 1, {:const, value}) end)
    spec = {pattern(Pattern.bound(id), []), conditions([{id_at(), id} | seen]), [{List.to_tuple(body)}]}
    :ets.select_replace(rows, [spec]) == 1
  end

  defp conditions(seen), do: for({at, value} <- seen, do: Pattern.element_is(at, value))

  defp pattern(id, fields) do
    blank =
      put_elem(unquote(Macro.escape(List.to_tuple([:row | List.duplicate(:_, length(@fields))]))), id_at() - 1, id)

    Enum.reduce(fields, blank, fn {at, value}, pattern -> put_elem(pattern, at - 1, value) end)
  end

  @doc "A pattern of rows in which only these fields are said."
  @spec pattern_of(keyword) :: tuple
  def pattern_of(fields) do
    known = unquote(Enum.map(@fields, &((is_tuple(&1) && elem(&1, 0)) || &1)))
    List.to_tuple([:row | Enum.map(known, &Keyword.get(fields, &1, :_))])
  end

  defp row_size, do: unquote(length(@fields) + 1)
end

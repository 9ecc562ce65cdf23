defmodule Kantoku.Engine.Elixir.Metrics do
  # Metrics in a table and atomics, of whoever opened them. Anyone writes; rules and refusals are `Kantoku.Engine.Metrics`'s. Rows:
  #
  #   {{:family, name}, number, help, {kind, unit, ticks}, labels}
  #   {{:series, name, values}, number, series or {:read, readings, sum of those that are gone}}
  #   {{:count, name}, series of a family but for that of all others}    {{:folded, name}, times}    {:bytes, bytes}    {:number, last one given}
  #
  # E1. A row of a series is there once its place was counted, and whoever finds no place left leaves the count as it was.
  @moduledoc false
  @behaviour Kantoku.Engine.Metrics

  alias Kantoku.Engine.Elixir.Metrics.{Cells, Reading}
  alias Kantoku.Engine.Metrics, as: Contract
  alias Kantoku.Metrics.Spread

  @enforce_keys [:table, :common, :series, :bytes]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          table: :ets.tid(),
          common: Contract.labels(),
          series: pos_integer,
          bytes: pos_integer
        }
  @type series :: Cells.t()

  @other "other"

  # Of a row with its key, without texts, and of a reading, in bytes; about.
  @row 200
  @reading 100

  @impl true
  def metrics_open(common, series, bytes) do
    table = :ets.new(:kantoku_metrics, [:ordered_set, :public, read_concurrency: true])
    :ets.insert(table, [{:bytes, 0}, {:number, 0}])
    %__MODULE__{table: table, common: common, series: series, bytes: bytes}
  end

  # Declaring ----------------------------------------------------------------------------------------------------------

  @impl true
  def metrics_declare(%{table: table} = metrics, name, help, shape, labels) do
    case :ets.lookup(table, {:family, name}) do
      [known] -> same(known, shape, labels)
      [] -> declare(metrics, {{:family, name}, number(table), help, shape, labels})
    end
  end

  defp declare(%{table: table} = metrics, {_key, _number, help, shape, labels} = row) do
    with {:ok, bytes} <- take_room(metrics, [help | labels]) do
      if :ets.insert_new(table, row) do
        :ok
      else
        give_room(table, bytes)
        [known] = :ets.lookup(table, elem(row, 0))
        same(known, shape, labels)
      end
    end
  end

  defp same({_key, _number, _help, shape, labels}, shape, labels), do: :ok
  defp same({_key, _number, _help, {kind, _unit, _ticks}, labels}, _, _), do: {:error, {:different, kind, labels}}

  # Series -------------------------------------------------------------------------------------------------------------

  @impl true
  def metrics_series(metrics, name, values) do
    with {:ok, {kind, _unit, ticks}} <- family(metrics, name, values) do
      case at(metrics, name, values) do
        {:read, _readings, _gone} -> {:error, :bound}
        nil -> enter(metrics, name, values, fn -> Cells.new(kind, ticks) end, Cells.bytes(kind))
        series -> {:ok, series}
      end
    end
  end

  defp family(%{table: table}, name, values) do
    case :ets.lookup(table, {:family, name}) do
      [{_key, _number, _help, shape, labels}] when length(labels) == length(values) -> {:ok, shape}
      [{_key, _number, _help, _shape, labels}] -> {:error, {:labels, length(labels)}}
      [] -> {:error, :unknown}
    end
  end

  defp at(%{table: table}, name, values) do
    case :ets.lookup(table, {:series, name, values}) do
      [{_key, _number, held}] -> held
      [] -> nil
    end
  end

  defp enter(metrics, name, values, new, bytes) do
    if take_place(metrics, name, values),
      do: insert(metrics, name, values, new, bytes),
      else: enter_others(metrics, name, others(values), new, bytes)
  end

  defp enter_others(metrics, name, others, new, bytes) do
    with {:ok, series} <- series_of_others(at(metrics, name, others), metrics, name, others, new, bytes) do
      fold(metrics.table, name)
      {:other, series}
    end
  end

  defp series_of_others(nil, metrics, name, others, new, bytes), do: insert(metrics, name, others, new, bytes)
  defp series_of_others({:read, _readings, _gone}, _metrics, _name, _others, _new, _bytes), do: {:error, :bound}
  defp series_of_others(series, _metrics, _name, _others, _new, _bytes), do: {:ok, series}

  # Of two at once one enters it, and the other takes that. Texts are not to hold what they are a part of.
  defp insert(%{table: table} = metrics, name, values, new, bytes) do
    with {:ok, taken} <- take_room(metrics, values, bytes) do
      row = {{:series, name, Enum.map(values, &:binary.copy/1)}, number(table), new.()}

      if :ets.insert_new(table, row) do
        {:ok, elem(row, 2)}
      else
        give_room(table, taken)
        give_place(table, name, values)
        {:ok, at(metrics, name, values)}
      end
    else
      refused ->
        give_place(table, name, values)
        refused
    end
  end

  # E1. A family without labels has one series, and that of all others takes nobody's place.
  defp take_place(%{table: table, series: limit}, name, values) do
    free? = placeless?(values) or count(table, name, 1) <= limit
    unless free?, do: count(table, name, -1)
    free?
  end

  defp give_place(table, name, values), do: unless(placeless?(values), do: count(table, name, -1))
  defp count(table, name, by), do: :ets.update_counter(table, {:count, name}, by, {{:count, name}, 0})
  defp placeless?(values), do: Enum.all?(values, &(&1 == @other))
  defp others(values), do: Enum.map(values, fn _value -> @other end)

  # What is read ---------------------------------------------------------------------------------------------------------

  @impl true
  def metrics_bind(metrics, name, values, reading) do
    with {:ok, _shape} <- family(metrics, name, values) do
      if at(metrics, name, values) || take_place(metrics, name, values),
        do: bind_own(metrics, name, values, reading),
        else: bind_other(metrics, name, others(values), reading)
    end
  end

  defp bind_own(metrics, name, values, reading) do
    with :ok <- bind(metrics, name, values, reading) do
      if values != others(values), do: unbind(metrics, name, others(values), reading, nil)
      :ok
    end
  end

  defp bind_other(metrics, name, others, reading) do
    with :ok <- bind(metrics, name, others, reading) do
      fold(metrics.table, name)
      :other
    end
  end

  defp bind(metrics, name, values, reading) do
    case at(metrics, name, values) do
      nil -> bind_new(metrics, name, values, reading)
      {:read, readings, _gone} = held -> reading in readings || bind_more(metrics, name, values, reading, held)
      _recorded -> put(metrics, name, values, {:read, [reading], nil})
    end
    |> bound()
  end

  defp bound({:error, _} = refused), do: refused
  defp bound(_done), do: :ok

  # Who was second is bound beside who was first.
  defp bind_new(metrics, name, values, reading) do
    with {:ok, held} <- insert(metrics, name, values, fn -> {:read, [reading], nil} end, @reading) do
      if held != {:read, [reading], nil}, do: bind(metrics, name, values, reading)
    end
  end

  defp bind_more(metrics, name, values, reading, {:read, readings, gone} = held) do
    with {:ok, taken} <- take_room(metrics, [], @reading - @row) do
      unless swap(metrics, name, values, held, {:read, [reading | readings], gone}) do
        give_room(metrics.table, taken)
        bind(metrics, name, values, reading)
      end
    end
  end

  @impl true
  def metrics_exemplar(_metrics, _name, _values, _value, _at, _ids), do: :other

  @impl true
  def metrics_unbind(metrics, name, values, reading) do
    with {:ok, {kind, _unit, _ticks}} <- family(metrics, name, values) do
      own? = unbind(metrics, name, values, reading, nil)
      last = unless own? or kind == :gauge, do: Reading.look([reading]).(reading)
      if own? or unbind(metrics, name, others(values), reading, last), do: :ok, else: {:error, :unknown}
    end
  end

  # What it said last stays in the sum that it was part of, so that this does not fall.
  defp unbind(metrics, name, values, reading, last) do
    with {:read, readings, gone} = held <- at(metrics, name, values), true <- reading in readings do
      left = {:read, List.delete(readings, reading), sum([gone, last])}

      if swap(metrics, name, values, held, left) do
        give_room(metrics.table, @reading)
        drop(metrics, name, values, left)
        true
      else
        unbind(metrics, name, values, reading, last)
      end
    else
      _not_bound -> false
    end
  end

  # The series goes with its last reading.
  defp drop(%{table: table}, name, values, {:read, [], nil} = left) do
    key = {:series, name, values}

    if :ets.select_delete(table, [{{key, :_, :"$1"}, [{:"=:=", :"$1", {:const, left}}], [true]}]) == 1 do
      give_room(table, room(values, 0))
      give_place(table, name, values)
    end
  end

  defp drop(_metrics, _name, _values, _left), do: :ok

  # Texts match nothing but themselves; terms in readings are compared, and no patterns.
  defp swap(%{table: table}, name, values, held, new) do
    key = {:series, name, values}
    as_was = [{:"=:=", :"$2", {:const, held}}]
    :ets.select_replace(table, [{{key, :"$1", :"$2"}, as_was, [{{{:const, key}, :"$1", {:const, new}}}]}]) == 1
  end

  defp put(%{table: table}, name, values, held), do: :ets.update_element(table, {:series, name, values}, {3, held})

  # Limits ---------------------------------------------------------------------------------------------------------------

  defp fold(table, name), do: :ets.update_counter(table, {:folded, name}, 1, {{:folded, name}, 0})
  defp number(table), do: :ets.update_counter(table, :number, 1)

  defp take_room(%{table: table, bytes: limit}, texts, more \\ 0) do
    bytes = room(texts, more)

    if :ets.update_counter(table, :bytes, bytes) <= limit do
      {:ok, bytes}
    else
      give_room(table, bytes)
      {:error, {:limit, limit}}
    end
  end

  defp room(texts, more), do: @row + more + (texts |> Enum.map(&byte_size/1) |> Enum.sum())
  defp give_room(table, bytes), do: :ets.update_counter(table, :bytes, -bytes)

  @impl true
  def metrics_bytes(%{table: table}), do: :ets.lookup_element(table, :bytes, 2)

  # Recording ----------------------------------------------------------------------------------------------------------

  @impl true
  defdelegate metric_add(series, number), to: Cells, as: :add
  @impl true
  defdelegate metric_set(series, number), to: Cells, as: :set
  @impl true
  defdelegate metric_observe(series, number), to: Cells, as: :observe
  @impl true
  defdelegate metric_quantile(series, share), to: Cells, as: :quantile

  @impl true
  def metrics_quantile(metrics, name, values, share) do
    with {:ok, _shape} <- family(metrics, name, values) do
      held = at(metrics, name, values) || if(full?(metrics, name, values), do: at(metrics, name, others(values)))
      {:ok, held && quantile(held, share)}
    end
  end

  defp full?(%{table: table, series: limit}, name, values),
    do: not placeless?(values) and count(table, name, 0) >= limit

  defp quantile({:read, readings, _gone} = held, share) do
    case read(held, Reading.look(readings)) do
      spread when is_tuple(spread) -> Spread.quantile(spread, share)
      _no_histogram -> nil
    end
  end

  defp quantile(series, share), do: Cells.quantile(series, share)

  # Looking ------------------------------------------------------------------------------------------------------------

  @impl true
  def metrics_snapshot(%{table: table} = metrics) do
    families = :ets.select(table, [{{{:family, :_}, :_, :_, :_, :_}, [], [:"$_"]}])

    families =
      for {{:family, name}, _, _, _, _} = row <- Enum.sort_by(families, &elem(&1, 1)), do: {row, members(metrics, name)}

    look =
      Reading.look(
        for {_row, members} <- families, {_values, {:read, readings, _}} <- members, one <- readings, do: one
      )

    for({row, members} <- families, shown = show(metrics, row, members, look), do: shown) ++ folded(metrics)
  end

  defp show(metrics, {{:family, name}, _number, help, {kind, unit, _ticks}, labels}, members, look) do
    series =
      for {values, held} <- members, value = read(held, look) do
        {metrics.common ++ Enum.zip(labels, values), value}
      end

    if series != [], do: {name, help, unit && Atom.to_string(unit), kind, series}
  end

  # A name is a text, and so matches nothing but itself.
  defp members(%{table: table}, name) do
    rows = :ets.select(table, [{{{:series, name, :"$1"}, :"$2", :"$3"}, [], [{{:"$2", :"$1", :"$3"}}]}])
    for {_number, values, held} <- Enum.sort_by(rows, &elem(&1, 0)), do: {values, held}
  end

  defp read({:read, readings, gone}, look), do: sum([gone | Enum.map(readings, look)])
  defp read(series, _look), do: Cells.read(series)

  defp sum(values) do
    case Enum.reject(values, &is_nil/1) do
      [] -> nil
      [first | rest] -> Enum.reduce(rest, first, &together/2)
    end
  end

  defp together(one, other) when is_number(one), do: one + other
  defp together(one, other), do: Spread.merge(one, other)

  defp folded(%{table: table} = metrics) do
    case :ets.select(table, [{{{:folded, :"$1"}, :"$2"}, [], [{{:"$1", :"$2"}}]}]) do
      [] ->
        []

      folded ->
        help = "How often a series was asked for, or bound, that was one too many: it is part of that of all others."
        series = for {name, times} <- folded, do: {metrics.common ++ [{"metric", name}], times * 1.0}
        [{"kantoku_metrics_folded", help, nil, :counter, series}]
    end
  end
end

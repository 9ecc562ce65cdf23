defmodule Kantoku.Engine.Elixir.Metrics do
  # Metrics in a table and atomics, of whoever opened them. Anyone writes; rules and refusals are `Kantoku.Engine.Metrics`'s. Rows:
  #
  #   {{:family, name}, number, help, {kind, unit, ticks}, labels}
  #   {{:series, name, values}, number, series or {:read, reading}}
  #   {{:count, name}, series of a family}    {{:folded, name}, times}    {:bytes, bytes}    {:number, last one given}
  #
  # E1. A row of a series is there once its place was counted, and whoever finds no place left leaves the count as it was.
  @moduledoc false
  @behaviour Kantoku.Engine.Metrics

  alias Kantoku.Engine.Elixir.Metrics.{Cells, Reading}
  alias Kantoku.Engine.Metrics, as: Contract

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

  # Of a row with its key, without texts, in bytes; about.
  @row 200

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
        {:read, _reading} -> {:error, :unknown}
        nil -> enter(metrics, name, values, fn -> Cells.new(kind, ticks) end, Cells.bytes(kind))
        series -> {:ok, series}
      end
    end
  end

  @impl true
  def metrics_bind(%{table: table} = metrics, name, values, reading) do
    with {:ok, _shape} <- family(metrics, name, values) do
      case at(metrics, name, values) do
        nil -> bind(metrics, name, values, reading)
        _known -> :ets.update_element(table, {:series, name, values}, {3, {:read, reading}}) && :ok
      end
    end
  end

  defp bind(%{table: table} = metrics, name, values, reading) do
    if take_place(metrics, name),
      do: with({:ok, _bound} <- insert(metrics, name, values, fn -> {:read, reading} end, 0), do: :ok),
      else: folded(table, name, :other)
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

  # A family without labels has one series.
  defp enter(metrics, name, values, new, bytes) do
    cond do
      values == [] or take_place(metrics, name) -> insert(metrics, name, values, new, bytes)
      found = at(metrics, name, others(values)) -> folded(metrics.table, name, {:other, found})
      true -> enter_others(metrics, name, others(values), new, bytes)
    end
  end

  defp enter_others(metrics, name, others, new, bytes) do
    count(metrics.table, name, 1)

    with {:ok, series} <- insert(metrics, name, others, new, bytes) do
      fold(metrics.table, name)
      {:other, series}
    end
  end

  defp others(values), do: Enum.map(values, fn _value -> @other end)

  # Of two at once one enters it, and the other takes that.
  defp insert(%{table: table} = metrics, name, values, new, bytes) do
    with {:ok, taken} <- take_room(metrics, values, bytes) do
      series = new.()

      if :ets.insert_new(table, {{:series, name, values}, number(table), series}) do
        {:ok, series}
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

  # E1
  defp take_place(%{table: table, series: limit}, name) do
    taken? = count(table, name, 1) <= limit
    unless taken?, do: count(table, name, -1)
    taken?
  end

  defp give_place(_table, _name, []), do: :ok
  defp give_place(table, name, _values), do: count(table, name, -1)

  defp count(table, name, by), do: :ets.update_counter(table, {:count, name}, by, {{:count, name}, 0})

  defp folded(table, name, answer) do
    fold(table, name)
    answer
  end

  defp fold(table, name), do: :ets.update_counter(table, {:folded, name}, 1, {{:folded, name}, 0})
  defp number(table), do: :ets.update_counter(table, :number, 1)

  defp take_room(%{table: table, bytes: limit}, texts, more \\ 0) do
    bytes = @row + more + (texts |> Enum.map(&byte_size/1) |> Enum.sum())

    if :ets.update_counter(table, :bytes, bytes) <= limit do
      {:ok, bytes}
    else
      give_room(table, bytes)
      {:error, {:limit, limit}}
    end
  end

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

  # Looking ------------------------------------------------------------------------------------------------------------

  @impl true
  def metrics_snapshot(%{table: table} = metrics) do
    families = :ets.select(table, [{{{:family, :_}, :_, :_, :_, :_}, [], [:"$_"]}])
    families = for family <- Enum.sort_by(families, &elem(&1, 1)), shown = show(metrics, family), do: shown
    families ++ folded(metrics)
  end

  defp show(metrics, {{:family, name}, _number, help, {kind, unit, _ticks}, labels}) do
    series =
      for {values, held} <- members(metrics, name), value = read(held) do
        {metrics.common ++ Enum.zip(labels, values), value}
      end

    if series != [], do: {name, help, unit && Atom.to_string(unit), kind, series}
  end

  # A name is a text, and so matches nothing but itself.
  defp members(%{table: table}, name) do
    rows = :ets.select(table, [{{{:series, name, :"$1"}, :"$2", :"$3"}, [], [{{:"$2", :"$1", :"$3"}}]}])
    for {_number, values, held} <- Enum.sort_by(rows, &elem(&1, 0)), do: {values, held}
  end

  defp read({:read, reading}), do: Reading.read(reading)
  defp read(series), do: Cells.read(series)

  defp folded(%{table: table} = metrics) do
    case :ets.select(table, [{{{:folded, :"$1"}, :"$2"}, [], [{{:"$1", :"$2"}}]}]) do
      [] ->
        []

      folded ->
        help = "How often a series was asked for that was one too many, and that of all others was given."
        series = for {name, times} <- folded, do: {metrics.common ++ [{"metric", name}], times * 1.0}
        [{"kantoku_metrics_folded", help, nil, :counter, series}]
    end
  end
end

defmodule Kantoku.Metrics.Board do
  # An instance's metrics, and which series were found before. Both are of its top supervisor, so what was measured outlives all below. In
  # the book: {:metrics, collection, found}. Rows of `found`:
  #
  #   {{:metric, name}, definition}    {{:series, name, labels as they were given}, series}    {:instance, name}
  #   :told_full, once it was logged that something had no room
  #
  # What was folded is not among them, nor labels of which not all can be read from their texts. So these are no more than the engine lets
  # series be, but for the few ways in which the same labels can be written.
  @moduledoc false

  alias Kantoku.Engine.Metrics, as: Engine
  alias Kantoku.{Error, Instances}
  alias Kantoku.Metrics.Definition
  require Logger

  @typep found :: :ets.tid()

  @doc "Makes the collection and the table, which live as long as the calling process."
  @spec open(book :: :ets.tid(), Kantoku.Config.t()) :: true
  def open(book, %{name: name, engine: engine, metrics: limits}) do
    common = [{"instance", Definition.text(name)}]
    collection = Engine.open(engine, common, limits.max_series, limits.max_bytes)
    found = :ets.new(__MODULE__, [:public, read_concurrency: true])
    :ets.insert(found, {:instance, name})
    :ets.insert(book, {:metrics, collection, found})
  end

  @doc "Runs `fun` with the metrics of an instance that runs."
  @spec reading(atom, (Engine.collection(), found -> result)) :: result | {:error, Error.t()} when result: term
  def reading(instance, fun) do
    Instances.reading(instance, fn _rows, book ->
      {collection, found} = of(book)
      fun.(collection, found)
    end)
  end

  @doc "The metrics of a book."
  @spec of(book :: :ets.tid()) :: {Engine.collection(), found}
  def of(book) do
    [{:metrics, collection, found}] = :ets.lookup(book, :metrics)
    {collection, found}
  end

  @doc "Declares a metric; raises if it is another by that name."
  @spec declare({Engine.collection(), found}, Definition.t()) :: :ok | {:error, Error.t()}
  def declare({collection, found}, %{name: name} = definition) do
    %{kind: kind, help: help, unit: unit, labels: labels, ticks: ticks} = definition

    case Engine.declare(collection, name, help, {kind, unit, ticks}, Enum.map(labels, &Atom.to_string/1)) do
      :ok -> noted(found, {{:metric, name}, definition}, :ok)
      {:error, {:limit, bytes}} -> {:error, full(found, name, bytes)}
      {:error, {:different, kind, labels}} -> raise ArgumentError, different(name, kind, labels)
    end
  end

  defp noted(found, row, answer) do
    :ets.insert(found, row)
    answer
  end

  defp different(name, kind, labels) do
    "metric #{inspect(name)} was declared before, as a #{kind} with the labels #{inspect(Enum.map(labels, &String.to_atom/1))} or " <>
      "of another unit or scale; what it is cannot be changed"
  end

  @doc "The series of these labels."
  @spec series(atom, {Engine.collection(), found}, String.t(), Enumerable.t()) ::
          {:ok, Engine.series()} | {:error, Error.t()}
  def series(instance, {_collection, found} = metrics, name, labels) do
    case :ets.lookup(found, {:series, name, labels}) do
      [{_key, series}] -> {:ok, series}
      [] -> find(instance, metrics, name, labels)
    end
  end

  defp find(instance, {collection, found}, name, labels) do
    with {:ok, definition} <- definition(instance, found, name) do
      case Engine.series(collection, name, Definition.values!(definition, labels)) do
        {:ok, series} -> note(found, definition, labels, series)
        {:other, series} -> {:ok, series}
        {:error, {:limit, bytes}} -> {:error, full(found, name, bytes)}
        {:error, _bound} -> {:error, absent(instance, name)}
      end
    end
  end

  # Texts are not to hold what they are a part of.
  defp note(found, %{name: name} = definition, labels, series) do
    if Definition.plain?(definition, labels) do
      own = for {label, value} <- labels, do: {label, if(is_binary(value), do: :binary.copy(value), else: value)}
      own = if is_map(labels), do: Map.new(own), else: own
      :ets.insert(found, {{:series, name, own}, series})
    end

    {:ok, series}
  end

  @doc "What a share of a histogram's observations is not above, recorded or read."
  @spec quantile(atom, {Engine.collection(), found}, String.t(), number, Enumerable.t()) ::
          {:ok, float | nil} | {:error, Error.t()}
  def quantile(instance, {collection, found}, name, share, labels) do
    with {:ok, definition} <- definition(instance, found, name) do
      {:ok, _found} = Engine.quantile(collection, name, Definition.values!(definition, labels), share)
    end
  end

  @doc "Has something of ours read under these values; what has no room is logged."
  @spec bind({Engine.collection(), found}, String.t(), [String.t()], Engine.reading()) :: :ok
  def bind({collection, found}, name, values, reading) do
    with {:error, {:limit, bytes}} <- Engine.bind(collection, name, values, reading), do: full(found, name, bytes)
    :ok
  end

  @doc "Keeps an observation of a histogram with the trace that it was made in, if there is room; of labels that are wrong, or unknown, nothing."
  @spec exemplar(atom, String.t(), keyword, number, float, {String.t(), String.t()}) :: :ok
  def exemplar(instance, name, labels, value, at, ids) do
    reading(instance, fn collection, found ->
      with {:ok, definition} <- definition(instance, found, name),
           do: Engine.exemplar(collection, name, Definition.values!(definition, labels), value, at, ids)
    end)

    :ok
  end

  defp definition(instance, found, name) do
    case :ets.lookup(found, {:metric, name}) do
      [{_key, definition}] -> {:ok, definition}
      [] -> {:error, absent(instance, name)}
    end
  end

  defp absent(instance, name), do: Error.new(:not_found, metric: {instance, name})

  # Who records often would be told as often.
  defp full(found, name, bytes) do
    error = Error.new(:limit, metric: name, max_bytes: bytes)

    if :ets.insert_new(found, {:told_full}) do
      [{:instance, instance}] = :ets.lookup(found, :instance)
      Logger.warning("Kantoku #{inspect(instance)}: #{Exception.message(error)} (said once)")
    end

    error
  end
end

defmodule Kantoku.SLO.Board do
  # The objectives of an instance and what was counted for them, in a table of its top supervisor: so they outlive the clerk, who
  # alone writes it. Rows:
  #
  #   {{:objective, name}, objective, counters}    {{:watching, of}, [{limit in ns or nil, counters}]}
  #   {{:history, name}, history, what of the counters is in it}
  #
  # Decides nothing.
  @moduledoc false

  alias Kantoku.Instances
  alias Kantoku.SLO.{History, Objective}

  @type counted :: {good :: non_neg_integer, bad :: non_neg_integer}

  @doc "Makes the table, which lives as long as the calling process, with the objectives of the options."
  @spec open(book :: :ets.tid(), [Objective.t()]) :: true
  def open(book, objectives) do
    board = :ets.new(__MODULE__, [:public, read_concurrency: true])
    for objective <- objectives, do: put(board, objective, new_counters())
    :ets.insert(book, {:objectives, board})
  end

  @doc "The board of an instance's book."
  @spec of(book :: :ets.tid()) :: :ets.tid()
  def of(book), do: :ets.lookup_element(book, :objectives, 2)

  @doc "Runs `fun` with the board of an instance that runs."
  @spec reading(atom, (:ets.tid() -> result)) :: result | {:error, Kantoku.Error.t()} when result: term
  def reading(instance, fun), do: Instances.reading(instance, fn _rows, book -> fun.(of(book)) end)

  # Objectives -------------------------------------------------------------------------------------------------------------

  @spec new_counters() :: :counters.counters_ref()
  def new_counters, do: :counters.new(2, [:write_concurrency])

  @spec put(:ets.tid(), Objective.t(), :counters.counters_ref()) :: :ok
  def put(board, objective, counters) do
    :ets.insert(board, {{:objective, objective.name}, objective, counters})
    watch(board, objective.of)
  end

  @spec delete(:ets.tid(), Objective.t()) :: :ok
  def delete(board, objective) do
    :ets.delete(board, {:objective, objective.name})
    :ets.delete(board, {:history, objective.name})
    watch(board, objective.of)
  end

  @spec fetch(:ets.tid(), term) :: {Objective.t(), :counters.counters_ref()} | nil
  def fetch(board, name) do
    case :ets.lookup(board, {:objective, name}) do
      [{_key, objective, counters}] -> {objective, counters}
      [] -> nil
    end
  end

  @spec all(:ets.tid()) :: [{Objective.t(), :counters.counters_ref()}]
  def all(board), do: :ets.select(board, [{{{:objective, :_}, :"$1", :"$2"}, [], [{{:"$1", :"$2"}}]}])

  # Who counts -------------------------------------------------------------------------------------------------------------

  # Made anew from the rows, so that nothing can be there twice.
  defp watch(board, of) do
    case for({%{of: ^of} = objective, counters} <- all(board), do: {limit(objective), counters}) do
      [] -> :ets.delete(board, {:watching, of})
      watching -> :ets.insert(board, {{:watching, of}, watching})
    end

    :ok
  end

  defp limit(%{latency: nil}), do: nil
  defp limit(%{latency: ms}), do: System.convert_time_unit(ms, :millisecond, :nanosecond)

  @spec watching(:ets.tid(), Objective.of()) :: [{pos_integer | nil, :counters.counters_ref()}]
  def watching(board, of) do
    case :ets.lookup(board, {:watching, of}) do
      [{_of, watching}] -> watching
      [] -> []
    end
  end

  @doc "The pools that have an objective."
  @spec pools(:ets.tid()) :: [atom]
  def pools(board), do: Enum.uniq(for {%{of: {:pool, pool}}, _counters} <- all(board), do: pool)

  @doc "Who counts calls to agents, by their module."
  @spec types(:ets.tid()) :: %{module => [{pos_integer | nil, :counters.counters_ref()}]}
  def types(board),
    do: for({%{of: {:type, module} = of}, _counters} <- all(board), into: %{}, do: {module, watching(board, of)})

  # Histories --------------------------------------------------------------------------------------------------------------

  @spec put_history(:ets.tid(), term, History.t(), counted) :: true
  def put_history(board, name, history, counted), do: :ets.insert(board, {{:history, name}, history, counted})

  @doc "The history as it was last written, and what of the counters is in it."
  @spec history(:ets.tid(), term) :: {History.t(), counted} | nil
  def history(board, name) do
    case :ets.lookup(board, {:history, name}) do
      [{_key, history, counted}] -> {history, counted}
      [] -> nil
    end
  end

  @doc "The history with what was counted since, and what of the counters is in it then."
  @spec current(History.t(), counted, :counters.counters_ref(), integer) :: {History.t(), counted}
  def current(history, {good, bad}, counters, now) do
    {now_good, now_bad} = counted = {:counters.get(counters, 1), :counters.get(counters, 2)}
    {History.add(history, now, max(now_good - good, 0), max(now_bad - bad, 0)), counted}
  end

  @doc "The names of all objectives."
  @spec names(:ets.tid()) :: [term]
  def names(board), do: for({objective, _counters} <- all(board), do: objective.name)
end

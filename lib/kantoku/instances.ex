defmodule Kantoku.Instances do
  # Which instances run in this VM, and where each keeps its tables; a `:via` module, so that an instance's supervisor has a
  # name that is no new atom. Knows nothing of what the tables hold.
  #
  # Row: {name, top supervisor, tables, core, gauges}. `core` is the supervisor of all that must not exist twice: whoever starts
  # an instance again after its top was killed waits for it. The process here only clears rows away, so that
  # it may die at any time.
  @moduledoc false
  use GenServer

  alias Kantoku.Domain.Gauges
  alias Kantoku.{Error, Telemetry}

  @table __MODULE__

  @type tables :: {rows :: :ets.tid(), book :: :ets.tid()}

  @doc "Makes the table, which lives as long as the calling process."
  @spec new_table() :: :ok
  def new_table do
    :ets.new(@table, [:named_table, :public, read_concurrency: true])
    :ok
  end

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  # Reading ----------------------------------------------------------------------------------------------------------

  @doc "The tables of a running instance."
  @spec tables(atom) :: {:ok, tables} | {:error, Error.t()}
  def tables(name) do
    case :ets.lookup_element(@table, name, 3) do
      {_, _} = tables -> {:ok, tables}
      nil -> {:error, Error.new(:not_running, instance: name)}
    end
  rescue
    ArgumentError -> {:error, Error.new(:not_running, instance: name)}
  end

  @doc "Runs `fun` with the tables, for those outside: an instance that ends meanwhile is one that does not run."
  @spec reading(atom, (rows :: :ets.tid(), book :: :ets.tid() -> result)) :: result | {:error, Error.t()}
        when result: term
  def reading(name, fun) do
    with {:ok, {rows, book}} <- tables(name), do: read(name, rows, book, fun)
  end

  defp read(name, rows, book, fun) do
    fun.(rows, book)
  rescue
    error in ArgumentError ->
      if :ets.info(rows, :id) == :undefined,
        do: {:error, Error.new(:not_running, instance: name)},
        else: reraise(error, __STACKTRACE__)
  end

  @doc "As `tables/1`, for those below the instance: it runs, or they would not."
  @spec tables!(atom) :: tables
  def tables!(name), do: :ets.lookup_element(@table, name, 3)

  @doc "The instance's own gauges."
  @spec gauges(atom) :: Gauges.t() | nil
  def gauges(name) do
    case :ets.lookup(@table, name) do
      [{_name, _top, _tables, _core, gauges}] -> gauges
      [] -> nil
    end
  end

  @doc "The names of all instances whose supervisor lives."
  @spec names() :: [atom]
  def names, do: for({name, top, {_, _}, _core, _gauges} <- :ets.tab2list(@table), Process.alive?(top), do: name)

  # Writing, by the instance's own supervisors ------------------------------------------------------------------------

  @spec publish(atom, tables, Gauges.t()) :: true
  def publish(name, tables, gauges), do: :ets.update_element(@table, name, [{3, tables}, {5, gauges}])

  @doc "Says which process supervises the core of an instance."
  @spec publish_core(atom, pid) :: :ok
  def publish_core(name, core) do
    :ets.update_element(@table, name, {4, core})
    GenServer.cast(__MODULE__, {:watch, name, :core, core})
  end

  @doc "The core that the last supervisor of that name left behind, dead or alive."
  @spec core(atom) :: pid | nil
  def core(name), do: :ets.lookup_element(@table, name, 4)

  # :via ---------------------------------------------------------------------------------------------------------------

  @spec register_name(atom, pid) :: :yes | :no
  def register_name(name, pid) do
    if :ets.insert_new(@table, {name, pid, nil, nil, nil}) or take_over(name, pid) do
      GenServer.cast(__MODULE__, {:watch, name, :top, pid})
      :yes
    else
      :no
    end
  end

  # What is read may be swept or taken before it is replaced; then it is read again, until someone living has the name.
  defp take_over(name, pid) do
    case :ets.lookup(@table, name) do
      [{^name, top, _tables, core, _gauges}] ->
        not Process.alive?(top) and (replace(name, top, core, pid) or take_over(name, pid))

      [] ->
        :ets.insert_new(@table, {name, pid, nil, nil, nil}) or take_over(name, pid)
    end
  end

  defp replace(name, top, core, pid) do
    row = {{{:const, name}, pid, nil, {:const, core}, nil}}
    :ets.select_replace(@table, [{{name, top, :_, :_, :_}, [], [row]}]) == 1
  end

  @spec whereis_name(atom) :: pid | :undefined
  def whereis_name(name) do
    case :ets.lookup(@table, name) do
      [{_name, top, _tables, _core, _gauges}] -> if Process.alive?(top), do: top, else: :undefined
      [] -> :undefined
    end
  end

  @spec unregister_name(atom) :: :ok
  def unregister_name(name) do
    :ets.match_delete(@table, {name, self(), :_, :_, :_})
    :ok
  end

  @spec send(atom, term) :: pid
  def send(name, message) do
    case whereis_name(name) do
      :undefined -> exit({:badarg, {name, message}})
      pid -> Kernel.send(pid, message) && pid
    end
  end

  # Clearing away ------------------------------------------------------------------------------------------------------

  @impl true
  def init(_arg) do
    for {name, top, _tables, core, _gauges} <- :ets.tab2list(@table),
        {part, pid} <- [top: top, core: core],
        pid,
        do: watch(name, part, pid)

    {:ok, nil, :hibernate}
  end

  @impl true
  def handle_cast({:watch, name, part, pid}, state) do
    watch(name, part, pid)
    {:noreply, state, :hibernate}
  end

  @impl true
  def handle_info({{:down, name, part}, _ref, :process, _pid, reason}, state) do
    if part == :top, do: Telemetry.emit(name, [:instance, :stopped], %{}, %{reason: reason})

    case :ets.lookup(@table, name) do
      [{^name, top, _tables, core, _gauges}] -> clear(name, top, core)
      [] -> :ok
    end

    {:noreply, state, :hibernate}
  end

  defp clear(name, top, core) do
    unless Process.alive?(top) or (core && Process.alive?(core)),
      do: :ets.match_delete(@table, {name, top, :_, core, :_})
  end

  defp watch(name, part, pid), do: :erlang.monitor(:process, pid, tag: {:down, name, part})
end

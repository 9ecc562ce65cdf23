defmodule Kantoku.SLO.Clerk do
  # Writes what was counted into the histories, once a second, has these kept, and adds and takes away objectives, one after the
  # other. No call passes through it, and while there is no objective it sleeps.
  #
  # K1  A call that was counted is in one history once, whenever this process dies: a history and what of the counters is in it are
  #     one row.
  @moduledoc false
  use GenServer

  alias Kantoku.Domain.Book
  alias Kantoku.{Error, Instances}
  alias Kantoku.Pool.{Detours, Life}
  alias Kantoku.SLO.{Board, History, Keeping, Objective, Watch}

  # Between two looks at the counters at most, in ms.
  @tick 1_000

  # Between two times that histories are kept, in ms: so much a killed VM may lose.
  @keep 60_000

  defstruct [:instance, :book, :board, :store, :timer, :keeper]

  @spec start_link(atom) :: GenServer.on_start()
  def start_link(instance), do: GenServer.start_link(__MODULE__, instance)

  @doc "Has the clerk do something in its turn."
  @spec ask(atom, term) :: term | {:error, Error.t()}
  def ask(instance, request) do
    Instances.reading(instance, fn _rows, book -> call(instance, Book.seated(book, :objectives), request) end)
  end

  defp call(instance, clerk, request) do
    GenServer.call(clerk, request, :infinity)
  catch
    :exit, _gone -> {:error, Error.new(:restarting, objective: {instance, elem(request, 1)}, retry_in: 50)}
  end

  @impl true
  def init(instance) do
    # For the histories to be kept in an orderly shutdown.
    Process.flag(:trap_exit, true)
    {_rows, book} = Instances.tables!(instance)
    Book.seat(book, :objectives, Book.next_epoch([]), self())
    state = %__MODULE__{instance: instance, book: book, board: Board.of(book), store: Keeping.store(book)}
    for {objective, _counters} <- Board.all(state.board), do: begin(state, objective)
    {:ok, state |> ticking() |> keeping_later()}
  end

  # One that was here before this process goes on.
  defp begin(state, objective) do
    unless Board.history(state.board, objective.name), do: begin_anew(state, objective)
    admit(state, objective)
  end

  defp begin_anew(state, objective) do
    history = Keeping.load(state.store, objective) || History.new(Objective.windows(objective), now())
    Board.put_history(state.board, objective.name, history, {0, 0})
  end

  # Where calls are counted --------------------------------------------------------------------------------------------------

  defp admit(state, %{of: {:pool, pool} = of}) do
    case Board.watching(state.board, of) do
      [] -> Detours.erase(:objective, {state.instance, pool})
      watching -> Detours.put(:objective, {state.instance, pool}, watching)
    end

    # Its short way counts nobody.
    Life.refresh(state.book, [pool])
  end

  defp admit(state, %{of: {:type, _module}}), do: Watch.watch_agents(state.instance, Board.types(state.board))
  defp admit(_state, %{of: {:operation, _name}}), do: :ok

  # Requests -----------------------------------------------------------------------------------------------------------------

  @impl true
  def handle_call({:put, _name, objective}, _from, state) do
    put(state, objective, Board.fetch(state.board, objective.name))
    {:reply, :ok, ticking(state)}
  end

  def handle_call({:delete, name}, _from, state) do
    case Board.fetch(state.board, name) do
      {objective, _counters} ->
        Board.delete(state.board, objective)
        admit(state, objective)
        _ = Keeping.forget(state.store, objective)
        {:reply, :ok, state}

      nil ->
        {:reply, {:error, Error.new(:not_found, objective: {state.instance, name})}, state}
    end
  end

  def handle_call({:flush, _all}, _from, state) do
    {:reply, keep(tick(state)), state}
  end

  # What asks the same of the same goes on with what was counted.
  defp put(state, %{of: of, latency: latency} = objective, {%{of: of, latency: latency}, counters}) do
    {history, counted} = Board.history(state.board, objective.name)
    Board.put_history(state.board, objective.name, History.resize(history, Objective.windows(objective)), counted)
    Board.put(state.board, objective, counters)
  end

  defp put(state, objective, before) do
    with {former, _counters} <- before do
      Board.delete(state.board, former)
      admit(state, former)
    end

    counters = Board.new_counters()
    begin_anew(state, objective)
    Board.put(state.board, objective, counters)
    admit(state, objective)
  end

  # Ticks --------------------------------------------------------------------------------------------------------------------

  @impl true
  def handle_info(:tick, state), do: {:noreply, ticking(tick(%{state | timer: nil}))}

  def handle_info(:keep, %{keeper: nil} = state) do
    {_pid, monitor} = spawn_monitor(fn -> keep(state) end)
    {:noreply, keeping_later(%{state | keeper: monitor})}
  end

  # The store still has the one before in hand.
  def handle_info(:keep, state), do: {:noreply, keeping_later(state)}

  def handle_info({:DOWN, monitor, :process, _pid, _reason}, %{keeper: monitor} = state),
    do: {:noreply, %{state | keeper: nil}}

  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, state) do
    for pool <- Board.pools(state.board), do: Detours.erase(:objective, {state.instance, pool})
    Watch.watch_agents(state.instance, %{})
    keep(tick(state))
  end

  defp ticking(%{timer: nil} = state) do
    case Board.all(state.board) do
      [] -> state
      all -> %{state | timer: Process.send_after(self(), :tick, pace(all))}
    end
  end

  defp ticking(state), do: state

  # No slower than the narrowest bucket.
  defp pace(all) do
    shortest = all |> Enum.flat_map(fn {objective, _counters} -> Objective.windows(objective) end) |> Enum.min()
    shortest |> div(100) |> max(10) |> min(@tick)
  end

  defp tick(state) do
    now = now()
    for {objective, counters} <- Board.all(state.board), do: look(state.board, objective.name, counters, now)
    state
  end

  defp look(board, name, counters, now) do
    {history, counted} = Board.history(board, name)

    case Board.current(history, counted, counters, now) do
      {_history, ^counted} -> true
      {history, counted} -> Board.put_history(board, name, history, counted)
    end
  end

  # Beyond the VM ------------------------------------------------------------------------------------------------------------

  defp keeping_later(%{store: nil} = state), do: state

  defp keeping_later(state) do
    Process.send_after(self(), :keep, @keep)
    state
  end

  defp keep(%{store: nil}), do: :ok

  defp keep(%{board: board, store: store}) do
    written =
      for {objective, _counters} <- Board.all(board), {history, _counted} <- [Board.history(board, objective.name)] do
        Keeping.save(store, objective, history)
      end

    Enum.find(written, :ok, &(&1 != :ok))
  end

  defp now, do: System.system_time(:millisecond)
end

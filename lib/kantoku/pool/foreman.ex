defmodule Kantoku.Pool.Foreman do
  # Sees to one pool: opens it in the engine, keeps as many workers as are wanted, asks who is at abandoned work. No request passes
  # through it, and its death loses nothing: members are the rows of the pool's domain, permits and tickets are the engine's, options
  # are in the book, and workers join by themselves.
  #
  # P1  A worker is started under a number that has no row, and the row is inserted only if there is none: two foremen, or one that
  #     died in between, start nobody twice.
  # P2  A worker that is up and not in the pool is joined at the next tick; all others have joined by themselves.
  # P3  A worker is told to leave, and stopped when the engine says that it has nothing left. Who was told so by a predecessor is
  #     known from the engine.
  # P4  What is abandoned is asked about until the worker has answered, was replaced, or died. A new foreman asks again.
  #
  # It never waits: whatever asks a supervisor is done by a process that it starts for that (`Errands`).
  @moduledoc false
  use GenServer

  import Kantoku.Pool.Foreman.State, only: [emit: 2, emit: 4, now: 0, status: 1]

  alias Kantoku.Domain.{Book, Policy, Remains}
  alias Kantoku.Engine.Pools
  alias Kantoku.{Error, Instances}
  alias Kantoku.Pool.{Abandoned, Config, Errands, Notes, Pace, Scaling, Size, Standing}
  alias Kantoku.Pool.Foreman.{Opening, Sizing, Staffing, State}

  # An engine that does not know the instance yet is asked again after this many ms.
  @again 50

  # A predecessor that was cut off may take this many ms to end.
  @patience 5_000

  @spec child_spec({atom, atom}) :: Supervisor.child_spec()
  def child_spec({_instance, pool} = argument), do: %{id: pool, start: {__MODULE__, :start_link, [argument]}}

  @spec start_link({atom, atom}) :: GenServer.on_start()
  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  @impl true
  def init({instance, pool}) do
    Process.flag(:trap_exit, true)
    {rows, book} = Instances.tables!(instance)
    Remains.await(Notes.foreman(book, pool), @patience)
    Book.seat(book, {:foreman, pool}, Book.next_epoch([]), self())

    case Notes.config(book, pool) do
      nil -> :ignore
      config -> {:ok, new(instance, rows, book, config), {:continue, :open}}
    end
  end

  defp new(instance, rows, book, %{name: pool} = config) do
    condition = Notes.condition(book, pool)

    %State{instance: instance, pool: pool, rows: rows, book: book, config: config, condition: condition}
    |> Sizing.scaled(Scaling.resume(book, config))
  end

  # Opening ----------------------------------------------------------------------------------------------------------------

  @impl true
  def handle_continue(:open, state), do: {:noreply, open(state)}

  defp open(state) do
    case Opening.tell_engine(state) do
      {:ok, state} ->
        state |> Opening.take_over() |> schedule(Pace.fast()) |> Opening.tell_once() |> reconcile()

      {:unknown, state} ->
        Process.send_after(self(), :open, @again)
        state
    end
  end

  # Asked ------------------------------------------------------------------------------------------------------------------

  @impl true
  def handle_call({:update, changes}, _from, %{config: config, book: book} = state) do
    config = Config.change!(config, changes)
    Notes.put(book, config)

    if policy = changes[:domain],
      do: Book.change_policy(book, config.domain.name, &Policy.change!(&1, policy, "Kantoku"))

    state = %{state | config: config, size: Size.rested(state.size), cause: :update, held: false}
    scaling = Scaling.change(state.scaling, book, config, changes[:target])
    {_answer, state} = state |> Sizing.scaled(scaling) |> Opening.tell_engine()
    {:reply, :ok, state |> schedule(Pace.fastest()) |> reconcile()}
  rescue
    error in ArgumentError -> {:reply, {:raise, error}, state}
  end

  # Its domain drains, or its requests are counted for an objective; or that is over.
  def handle_call(:refresh, _from, state) do
    {_answer, state} = Opening.tell_engine(state)
    {:reply, :ok, due(state)}
  end

  def handle_call(:warm, from, state), do: {:noreply, due(%{state | warming: [from | state.warming]})}

  @impl true
  def terminate(_reason, state), do: Opening.forget(state)

  # Told by the engine -----------------------------------------------------------------------------------------------------

  @impl true
  def handle_info({:kantoku_pool, pool, notice}, %{pool: pool} = state), do: {:noreply, told(notice, state)}

  # Told by workers' supervisors (`Kantoku.Domain.Enrolment`).
  def handle_info({:joined, number, pid}, state) do
    numbers = MapSet.put(state.numbers, number)
    {:noreply, due(%{state | numbers: numbers, pids: Map.put(state.pids, pid, number)})}
  end

  # It comes to rest only after this.
  def handle_info({:refused, _id, reason}, state), do: {:noreply, schedule(%{state | reason: reason}, Pace.fastest())}

  def handle_info(:open, state), do: {:noreply, open(state)}
  def handle_info(:tick, state), do: {:noreply, tick(%{state | timer: nil})}
  def handle_info(:reconcile, state), do: {:noreply, reconcile(%{state | due: false})}

  def handle_info({:scaling, kind, result}, state),
    do: {:noreply, %{state | scaling: Scaling.told(state.scaling, kind, result)}}

  def handle_info({:recording_failed, path, why}, state) do
    emit(state, :recording_failed, %{}, %{path: path, reason: why})
    {:noreply, state}
  end

  def handle_info({:usage, reading}, state), do: {:noreply, Sizing.weighed(state, reading)}

  # The end of an errand. A start that was refused, and left no row that tries again, waits for the next tick.
  def handle_info({:errand, _pid, {:error, %Error{reason: reason} = error}}, state) when reason in [:limit, :draining],
    do: {:noreply, %{state | held: true, reason: error}}

  def handle_info({:errand, _pid, _result}, state), do: {:noreply, state}

  # One that failed at it would fail again at once.
  def handle_info({:EXIT, pid, reason}, state) when is_map_key(state.errands, pid) do
    state = if reason == :normal, do: state, else: %{state | held: true, reason: reason}
    {:noreply, due(%{state | errands: Map.delete(state.errands, pid)})}
  end

  # A worker is done with what was abandoned.
  def handle_info({ref, _answer}, state) when is_reference(ref) do
    {ticket, asked} = Abandoned.answered(state.asked, ref)
    if ticket, do: Pools.pool_answered(state.instance, state.pool, ticket)
    {:noreply, %{state | asked: asked}}
  end

  def handle_info(_late, state), do: {:noreply, state}

  defp told({:abandoned, ticket, pid}, state), do: state |> ask(ticket, pid, :given_up) |> replace_overdue()

  # Sent without waiting: nobody gave up.
  defp told({:cast, ticket, pid}, state), do: ask(state, ticket, pid, :cast)

  defp told({:down, pid}, state) do
    {number, pids} = Map.pop(state.pids, pid)
    if number, do: left(state, number, pid, :down)
    due(%{state | pids: pids, asked: Abandoned.forget(state.asked, pid)})
  end

  defp told({:left, pid}, state) do
    case Map.pop(state.pids, pid) do
      {nil, _pids} ->
        state

      {number, pids} ->
        left(state, number, pid, :retired)
        due(Errands.stop(%{state | pids: pids}, number))
    end
  end

  defp told(:pressed, state), do: state |> Sizing.pressed() |> schedule(Pace.fast()) |> due()

  defp told(standing, %{instance: instance, pool: pool} = state) do
    emit(state, Standing.events({instance, pool}, standing))
    state
  end

  defp left(state, number, pid, reason),
    do: emit(state, :worker_left, %{}, %{member: number, pid: pid, reason: reason})

  defp ask(state, ticket, pid, kind), do: %{state | asked: Abandoned.ask(state.asked, ticket, pid, kind, now())}

  # Who is not known yet, or is at a replacement already, is looked at again soon.
  defp replace_overdue(%{config: config} = state) do
    overdue = Abandoned.overdue(state.asked, config.on_abandon == :replace, config.abandon_timeout, now())

    state =
      for {pid, reason} <- overdue,
          number = state.pids[pid],
          reduce: state,
          do: (state -> Errands.replace(state, number, pid, reason))

    if overdue == [], do: state, else: schedule(state, Pace.fast())
  end

  # Ticks ------------------------------------------------------------------------------------------------------------------

  defp tick(%{open: false} = state), do: schedule(state, Pace.fast())

  # The engine may have lost the pool: with it, its workers and tickets.
  defp tick(%{instance: instance, pool: pool} = state) do
    case Pools.pool_tick(instance, pool) do
      :ok -> look_around(state)
      :unknown -> open(%{state | open: false, asked: Abandoned.new()})
    end
  end

  defp look_around(state) do
    state = state |> Opening.join_all() |> Sizing.look() |> replace_overdue() |> tell_overload(status(state))
    %{state | held: false} |> Errands.end_starts() |> schedule(Pace.of(state.config, status(state))) |> reconcile()
  end

  defp tell_overload(%{overloaded: told} = state, %{overloaded: flag, queue: queue}) do
    overloaded = flag == 1

    if overloaded != told,
      do: emit(state, if(overloaded, do: :overloaded, else: :relieved), %{queue: queue}, %{})

    %{state | overloaded: overloaded}
  end

  # One timer at a time: the next one that is due.
  defp schedule(%{timer: nil} = state, ms), do: %{state | timer: Process.send_after(self(), :tick, ms)}

  defp schedule(%{timer: timer} = state, ms) do
    case Process.read_timer(timer) do
      left when is_integer(left) and left > ms ->
        Process.cancel_timer(timer)
        schedule(%{state | timer: nil}, ms)

      _sooner ->
        state
    end
  end

  # What comes in a bunch is looked at once.
  defp due(%{due: true} = state), do: state

  defp due(state) do
    send(self(), :reconcile)
    %{state | due: true}
  end

  defp reconcile(%{open: false} = state), do: state
  defp reconcile(state), do: Staffing.reconcile(state)
end

defmodule Kantoku.Pool.Manager do
  # Sees to one pool: opens it in the engine, keeps as many workers as are wanted, asks who is at abandoned work. No request passes
  # through it, and its death loses nothing: members are the rows of the pool's domain, permits and tickets are the engine's, options
  # are in the book, and workers join by themselves.
  #
  # P1  A worker is started under a number that has no row, and the row is inserted only if there is none: two managers, or one that
  #     died in between, start nobody twice.
  # P2  A worker that is up and not in the pool is joined at the next tick; all others have joined by themselves.
  # P3  A worker is told to leave, and stopped when the engine says that it has nothing left. Who was told so by a predecessor is
  #     known from the engine.
  # P4  What is abandoned is asked about until the worker has answered, was replaced, or died. A new manager asks again.
  #
  # It never waits: whatever asks a supervisor is done by a process that it starts for that (`Errands`).
  @moduledoc false
  use GenServer

  alias Kantoku.Domain.{Book, Gauges, Policy, Remains}
  alias Kantoku.Engine.Pools
  alias Kantoku.Health.Gate
  alias Kantoku.{Error, Instances, Telemetry, Trace}
  alias Kantoku.Metrics.Own
  alias Kantoku.Pool.{Abandoned, Condition, Config, Detours, Errands, Guard, Idle, Members, Memory, Notes, Pace}
  alias Kantoku.Pool.{Quota, Scaling, Shed, Size, Standing, Strategy, Worker}

  # An engine that does not know the instance yet is asked again after this many ms.
  @again 50

  # A predecessor that was cut off may take this many ms to end.
  @patience 5_000

  @enforce_keys [:instance, :pool, :rows, :book, :config]
  defstruct @enforce_keys ++
              [
                open: false,
                # Whether it was said that it opened the pool.
                told: false,
                draining: false,
                size: %Size{},
                scaling: nil,
                # The numbers of members; of those that were told to go, and the pid that was.
                numbers: MapSet.new(),
                leaving: %{},
                # Workers by pid, to name them when they have died.
                pids: %{},
                errands: %{},
                asked: Abandoned.new(),
                idle: %{},
                # What workers use, and whether the engine was told that it is too much.
                memory: %Memory{},
                over_quota: false,
                # Why the last worker did not start, and whether starts wait for the next tick.
                reason: nil,
                held: false,
                condition: nil,
                cause: :update,
                warming: [],
                due: false,
                timer: nil
              ]

  @spec child_spec({atom, atom}) :: Supervisor.child_spec()
  def child_spec({_instance, pool} = argument), do: %{id: pool, start: {__MODULE__, :start_link, [argument]}}

  @spec start_link({atom, atom}) :: GenServer.on_start()
  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  @impl true
  def init({instance, pool}) do
    Process.flag(:trap_exit, true)
    {rows, book} = Instances.tables!(instance)
    Remains.await(Notes.manager(book, pool), @patience)
    Book.seat(book, {:manager, pool}, Book.next_epoch([]), self())

    case Notes.config(book, pool) do
      nil -> :ignore
      config -> {:ok, new(instance, rows, book, config), {:continue, :open}}
    end
  end

  defp new(instance, rows, book, %{name: pool} = config) do
    condition = Notes.condition(book, pool)

    %__MODULE__{instance: instance, pool: pool, rows: rows, book: book, config: config, condition: condition}
    |> scaled(Scaling.resume(book, config))
  end

  # Opening ----------------------------------------------------------------------------------------------------------------

  @impl true
  def handle_continue(:open, state), do: {:noreply, open(state)}

  defp open(state) do
    case tell_engine(state) do
      {:ok, state} ->
        state |> take_over() |> tell_once() |> reconcile()

      {:unknown, state} ->
        Process.send_after(self(), :open, @again)
        state
    end
  end

  defp tell_engine(%{instance: instance, pool: pool, config: config, book: book} = state) do
    draining = Gauges.draining?(Book.chain(book, config.domain.name))
    over_quota = Memory.over?(state.memory, Quota.memory(config.quotas))
    Strategy.set({instance, pool}, if(Config.custom?(config), do: config.strategy))
    Guard.set({instance, pool}, config.breaker)
    Shed.set({instance, pool}, book, config.shed)
    traced? = Trace.Pools.set({instance, pool}, config)
    counted? = traced? or Detours.get(:objective, {instance, pool}) != nil
    said = Config.for_engine(config, %{draining: draining, over_quota: over_quota, counted: counted?})
    answer = Pools.pool_open(instance, pool, self(), said)
    {answer, %{state | draining: draining, over_quota: over_quota}}
  end

  # What a predecessor knew, from where it stands.
  defp take_over(%{instance: instance, pool: pool, rows: rows, book: book} = state) do
    Own.bind_pool(book, instance, pool)
    state = %{state | open: true, pids: %{}, numbers: MapSet.new(Members.numbers(rows, pool))} |> join_all()
    workers = workers(state)
    leaving = for {pid, member, :leaving, _, _, _} <- workers, into: %{}, do: {member, pid}
    for {pid, _member, :leaving, 0, _, _} <- workers, do: send(self(), {:kantoku_pool, pool, {:left, pid}})

    state =
      for {kind, ticket, pid} <- list(Pools.pool_abandoned(instance, pool)),
          reduce: state,
          do: (state -> ask(state, ticket, pid, if(kind == :cast, do: :cast, else: :given_up)))

    schedule(%{state | leaving: leaving}, Pace.fast())
  end

  # A pool that the engine lost, or that a drain closed before this heard of it, is opened again by the same manager: that is no start.
  defp tell_once(%{told: true} = state), do: state

  defp tell_once(state) do
    emit(state, :started, %{workers: length(workers(state))}, %{})
    %{state | told: true}
  end

  # Who is up and not in the pool: its start found the pool closed; or it was told to leave, and has left.
  defp join_all(state) do
    here = MapSet.new(workers(state), &elem(&1, 0))
    for %{pid: pid} = member <- members(state), pid, pid not in here, do: join(state, member)
    %{state | pids: for({pid, number, _, _, _, _} <- workers(state), into: state.pids, do: {pid, number})}
  end

  defp join(%{pool: pool}, %{leaving: true, pid: pid}), do: send(self(), {:kantoku_pool, pool, {:left, pid}})

  # Who is not ready joins when it is (`Kantoku.Health.Gate`).
  defp join(%{instance: instance, pool: pool} = state, %{pid: pid, number: number}) do
    joined? = not shut?(state, number) and Pools.pool_join(instance, pool, pid, number) == :ok
    if joined? and not is_map_key(state.pids, pid), do: emit(state, :worker_joined, %{}, %{member: number, pid: pid})
  end

  defp shut?(%{book: book, pool: pool}, number), do: Gate.shut?(book, Worker.id(pool, number))

  defp workers(%{instance: instance, pool: pool}), do: list(Pools.pool_workers(instance, pool))

  defp list(:unknown), do: []
  defp list(list), do: list

  # Asked ------------------------------------------------------------------------------------------------------------------

  @impl true
  def handle_call({:update, changes}, _from, %{config: config, book: book} = state) do
    config = Config.change!(config, changes)
    Notes.put(book, config)

    if policy = changes[:domain],
      do: Book.change_policy(book, config.domain.name, &Policy.change!(&1, policy, "Kantoku"))

    state = %{state | config: config, size: Size.rested(state.size), cause: :update, held: false}
    {_answer, state} = state |> scaled(Scaling.change(state.scaling, book, config, changes[:target])) |> tell_engine()
    {:reply, :ok, state |> schedule(Pace.fastest()) |> reconcile()}
  rescue
    error in ArgumentError -> {:reply, {:raise, error}, state}
  end

  # Its domain drains, or its requests are counted for an objective; or that is over.
  def handle_call(:refresh, _from, state) do
    {_answer, state} = tell_engine(state)
    {:reply, :ok, due(state)}
  end

  def handle_call(:warm, from, state), do: {:noreply, due(%{state | warming: [from | state.warming]})}

  @impl true
  def terminate(_reason, %{instance: instance, pool: pool}) do
    Strategy.set({instance, pool}, nil)
    Guard.forget({instance, pool})
    Shed.forget({instance, pool})
    Trace.Pools.forget({instance, pool})
  end

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

  def handle_info({:memory, seen}, %{memory: memory} = state),
    do: {:noreply, weighed(%{state | memory: Memory.seen(memory, seen, now())})}

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

  defp told(:pressed, state), do: state |> pressed() |> schedule(Pace.fast()) |> due()

  defp told(standing, %{instance: instance, pool: pool} = state) do
    for {event, measurements, metadata} <- Standing.events({instance, pool}, standing),
        do: emit(state, event, measurements, metadata)

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
    state =
      state
      |> join_all()
      |> weigh()
      |> size(status(state))
      |> scale(status(state))
      |> dismiss_idle()
      |> replace_overdue()

    %{state | held: false} |> Errands.end_starts() |> schedule(Pace.of(state.config, status(state))) |> reconcile()
  end

  defp status(%{instance: instance, pool: pool}) do
    case Pools.pool_status(instance, pool) do
      :unknown -> %{queue: 0, free: 0, overloaded: 0, ready: 0}
      status -> status
    end
  end

  defp size(state, %{queue: 0, free: free}) do
    size = Size.relaxed(state.size, state.config, free, now())
    if size.overflow == state.size.overflow, do: %{state | size: size}, else: %{state | size: size, cause: :linger}
  end

  defp size(state, _pressed), do: pressed(state)

  defp pressed(state) do
    coming = Enum.count(members(state), &(not &1.leaving and &1.phase in [:new, :recover, :starting]))
    size = Size.pressed(state.size, state.config, status(state).queue, coming, now())
    %{state | size: size, cause: :pressed}
  end

  defp scale(%{scaling: scaling, draining: false} = state, %{arrived: _} = counts) when scaling != nil do
    {events, after_it} =
      Scaling.step(scaling, state.config, counts, Map.keys(state.pids), Memory.each(state.memory, now()))

    for {event, measurements, metadata} <- events, do: emit(state, event, measurements, metadata)

    if after_it.size == scaling.size,
      do: %{state | scaling: after_it},
      else: scaled(%{state | cause: :scaled}, after_it)
  end

  defp scale(state, _counts), do: state

  defp scaled(%{size: size} = state, scaling),
    do: %{state | scaling: scaling, size: Size.scaled(size, scaling && scaling.size)}

  defp weigh(%{config: config, memory: memory} = state),
    do: %{state | memory: Memory.look(memory, Quota.memory(config.quotas), Map.keys(state.pids), now())}

  # The engine refuses what comes while workers use more than they may.
  defp weighed(%{config: config, memory: memory, over_quota: told} = state) do
    if state.open and Memory.over?(memory, Quota.memory(config.quotas)) != told,
      do: state |> tell_engine() |> elem(1),
      else: state
  end

  defp dismiss_idle(%{config: %{idle_timeout: nil}} = state), do: state

  defp dismiss_idle(%{config: config, size: size} = state) do
    idle = Idle.look(state.idle, workers(state), now())
    count = idle |> Idle.since(config.idle_timeout, now()) |> length() |> min(Size.dispensable(size, config))
    state = %{state | idle: idle}
    if count > 0, do: %{state | size: Size.idled(size, config, count), cause: :idle}, else: state
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

  # As many as wanted ---------------------------------------------------------------------------------------------------------

  # What comes in a bunch is looked at once.
  defp due(%{due: true} = state), do: state

  defp due(state) do
    send(self(), :reconcile)
    %{state | due: true}
  end

  defp reconcile(%{open: false} = state), do: state

  defp reconcile(%{config: config} = state) do
    members = members(state)
    state = %{state | numbers: kept(state, members), leaving: Map.take(state.leaving, Enum.map(members, & &1.number))}
    wanted = Size.wanted(state.size, config)
    state |> finish_stops(members) |> change(members, wanted) |> note(members, wanted) |> warm()
  end

  defp members(%{rows: rows, config: config, numbers: numbers} = state) do
    found = Members.look(rows, config, MapSet.union(numbers, Errands.numbers(state)), state.leaving)
    found ++ Errands.beginning(state, found)
  end

  defp kept(state, members), do: MapSet.union(MapSet.new(members, & &1.number), Errands.numbers(state))

  # Who is not wanted any more, and whose end was cut short with a predecessor.
  defp finish_stops(state, members) do
    for %{wanted: false, number: number} <- members, reduce: state, do: (state -> Errands.stop(state, number))
  end

  defp change(%{draining: true} = state, _members, _wanted), do: state

  defp change(state, members, wanted) do
    {start, leave} = Members.plan(members, wanted, Map.keys(state.idle))
    state = if state.held, do: state, else: Enum.reduce(start, state, &Errands.start(&2, &1))
    Enum.reduce(leave, state, &dismiss/2)
  end

  defp dismiss(%{pid: nil, number: number}, state), do: Errands.stop(state, number)

  defp dismiss(%{pid: pid, number: number}, %{instance: instance, pool: pool} = state) do
    state = %{state | leaving: Map.put(state.leaving, number, pid), pids: Map.put(state.pids, pid, number)}
    if Pools.pool_leave(instance, pool, pid) == :ok, do: state, else: Errands.stop(state, number)
  end

  # What others are told -----------------------------------------------------------------------------------------------------

  defp note(%{condition: before, config: config} = state, members, wanted) do
    condition = Condition.of(members, {wanted, Size.overflow(state.size, config)}, state.held, state.reason)
    if condition != before, do: Notes.put_condition(state.book, state.pool, condition)

    for {event, measurements, metadata} <- Condition.events(before, condition, state.cause),
        do: emit(state, event, measurements, metadata)

    %{state | condition: condition, reason: if(condition.missing > 0, do: state.reason)}
  end

  defp emit(%{instance: instance, pool: pool}, event, measurements, metadata),
    do: Telemetry.emit(instance, [:pool, event], measurements, Map.put(metadata, :pool, pool))

  defp warm(%{warming: []} = state), do: state

  defp warm(%{warming: waiting, config: config, condition: condition} = state) do
    ready = status(state).ready

    if ready >= min(config.warm_up, condition.wanted) do
      for from <- waiting, do: GenServer.reply(from, :ok)
      %{state | warming: []}
    else
      state
    end
  end

  defp now, do: System.monotonic_time(:millisecond)
end

defmodule Kantoku.Domain.Start do
  # The start function of every agent. A supervisor runs it, first and at each restart; it reads the agent's row and decides:
  # start now, hold the place with a resting process until it is due, or let the place go. Knows no supervisor's state.
  #
  # S1  On a restart it never answers an error: the supervisor would try again at once, for ever.
  # S2  It runs no code of the agent but the agent's own start.
  # S3  A place whose agent lives elsewhere is let go (`:ignore`): so a successor and what it succeeds may both fall at once.
  # S4  After a real start it writes the pid, and then reads again whether the agent is wanted.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.{Error, Instances, Telemetry}
  alias Kantoku.Health.Gate
  alias Kantoku.Domain.{Book, Enrolment, Fuse, Gauges, Group, Launch, Ledger, Remains, Resting, Rows}

  @type context :: {instance :: atom, rows :: :ets.tid(), book :: :ets.tid()}

  @doc "The child spec that starts a row's agent by this module, for a supervisor which itself gives its children the instance."
  @spec child(Rows.row()) :: :supervisor.child_spec()
  def child(row(id: id, gen: gen) = row), do: spec(row, [id, gen])

  @doc "As `child/1`, for any supervisor."
  @spec child(atom, Rows.row()) :: :supervisor.child_spec()
  def child(instance, row(id: id, gen: gen) = row), do: spec(row, [instance, id, gen])

  defp spec(row(id: id, what: what) = row, args) do
    {restart, shutdown, type} = Rows.child(row)

    %{
      id: id,
      start: {__MODULE__, :agent, args},
      restart: restart,
      shutdown: shutdown,
      type: type,
      modules: Launch.modules(what)
    }
  end

  @doc "Starts or restarts an agent, or holds its place."
  @spec agent(atom, term, term) :: Supervisor.on_start_child() | :ignore
  def agent(instance, id, gen) do
    with {:ok, {rows, book}} <- Instances.tables(instance),
         row(gen: ^gen, sup: sup) = row when sup == self() <- Rows.get(rows, id) do
      decide({instance, rows, book}, row)
    else
      _ -> :ignore
    end
  end

  defp decide(context, row(wanted: false, pid: pid) = row),
    do: if(alive?(pid), do: :ignore, else: let_go(context, row, :stopped))

  defp decide(context, row(wanted: {:park, reason}, pid: pid) = row),
    do: if(alive?(pid), do: :ignore, else: park_as_asked(context, row, reason))

  defp decide(context, row(phase: phase, pid: pid) = row) do
    cond do
      alive?(pid) -> living(phase, context, row)
      phase == :new -> first(context, row)
      phase == :recover -> again(context, row)
      true -> decide(phase, Group.cause(elem(context, 1), elem(context, 2), row), context, row)
    end
  end

  defp decide(_phase, :behind, context, row), do: rest(context, row, :behind, :never)
  defp decide(_phase, :collateral, context, row), do: again(context, row)
  defp decide(phase, :own, context, row) when phase in [:up, :starting], do: crashed(context, row)
  defp decide(:behind, :own, context, row), do: again(context, row)

  defp decide(phase, :own, context, row(due: due) = row),
    do: if(due?(due), do: again(context, row), else: rest(context, row, phase, due))

  # A resting process that is due asks for its successor before it goes.
  defp living(phase, context, row(due: due) = row) when phase in [:resting, :parked],
    do: if(due?(due), do: again(context, row), else: :ignore)

  # It came to rest while it was being excused: it is started as was asked, and who holds its place is told to leave.
  defp living(:recover, context, row(part: part, pid: pid, due: due) = row) when due != nil and part != :group do
    Resting.wake(pid)
    again(context, row)
  end

  # Whoever excused it for a restart did not get further.
  defp living(:recover, context, row) do
    go_on_living(context, row)
    :ignore
  end

  defp living(_phase, _context, _row), do: :ignore

  defp alive?(pid), do: is_pid(pid) and Process.alive?(pid)

  defp due?(due), do: is_integer(due) and due <= now()

  # Unwanted -----------------------------------------------------------------------------------------------------------

  defp let_go(context, row, reason) do
    strike(context, row, reason)
    :ignore
  end

  @typedoc "Why an agent does not come back, as `[:agent, :stopped]` says it."
  @type parting :: :stopped | :drained | :ended | :lost | :ignore | {:refused, term}

  @doc "Takes an agent off the books, as its supervisor or as who has seen that supervisor dead; a declared one stays as stopped."
  @spec strike(context, Rows.row(), parting) :: boolean
  def strike({_instance, rows, _book}, row(part: :group) = row, _reason),
    do: Rows.move(rows, row, [{wanted_at(), false}, {phase_at(), :stopped}, {pid_at(), nil}, {due_at(), nil}])

  def strike({instance, rows, book}, row(id: id, domain: domain) = row, reason) do
    gone? = Rows.delete(rows, row)
    if gone?, do: Gauges.leave(Book.chain(book, domain))
    if gone?, do: Launch.emit(instance, [:agent, :stopped], %{}, row, id: id, reason: reason)
    gone?
  end

  # An agent that cannot go on by itself is parked without a crash being charged. In a group, those behind it wait.
  defp park_as_asked({_instance, rows, book} = context, row(domain: domain, ledger: ledger) = row, reason) do
    policy = Book.policy(book, domain)
    {park, ledger} = Ledger.park(ledger, policy)

    if Rows.advance(rows, row, [{wanted_at(), true}, {ledger_at(), ledger}]),
      do: follow(park, context, row, policy, {Ledger.crashes(ledger), reason}),
      else: :ignore
  end

  # Really starting ------------------------------------------------------------------------------------------------------

  defp first(context, row) do
    case Launch.run(context, row) do
      {:ok, _pid, _started, _incarnation} = launched ->
        settle(context, row, launched)

      :ignore ->
        strike(context, row, :ignore)
        :ignore

      {:error, reason} = refused ->
        strike(context, row, {:refused, reason})
        refused
    end
  end

  defp again({_instance, rows, _book} = context, row(phase: before) = row) do
    if Rows.advance(rows, row, [{phase_at(), :starting}, {pid_at(), nil}]) do
      unparked(context, row, before)
      restart(context, row(row, phase: :starting, pid: nil))
    else
      :ignore
    end
  end

  defp restart(context, row) do
    case Launch.run(context, row) do
      {:ok, _pid, _started, _incarnation} = launched -> settle(context, row, launched)
      :ignore -> let_go(context, row, :ignore)
      {:error, reason} -> crashed(context, row(row, started: nil), reason)
    end
  end

  defp settle({_instance, rows, _book} = context, row(id: id) = row, {:ok, pid, started, incarnation}) do
    fields = [
      {pid_at(), pid},
      {phase_at(), :up},
      {due_at(), nil},
      {started_at(), started},
      {incarnation_at(), incarnation}
    ]

    Rows.put(rows, id, fields)
    before = row(row, :phase)
    row = row(row, pid: pid, phase: :up, due: nil, started: started, incarnation: incarnation)

    if Rows.wanted?(rows, id) do
      introduce(context, row, before)
    else
      Remains.end_child(pid)
      let_go(context, row, :stopped)
    end
  end

  defp introduce({instance, _rows, book} = context, row(pid: pid) = row, before) do
    gated? = Gate.at_start(book, row)

    case Launch.introduce(instance, row, gated?) do
      :ok ->
        unless gated?, do: Enrolment.join(instance, book, row)
        Gate.settle(instance, book, row, gated?)
        {:ok, pid}

      {:error, reason} ->
        turned_away(before, context, row, reason)
    end
  end

  # Someone else has the name. A first start fails as OTP's would; a restart waits for the name.
  defp turned_away(phase, {_instance, rows, _book} = context, row(id: id, pid: pid) = row, reason) do
    Remains.end_child(pid)

    if phase == :new do
      strike(context, row, {:refused, reason})
      {:error, reason}
    else
      Rows.put(rows, id, [{phase_at(), :starting}, {pid_at(), nil}])
      crashed(context, row(row, phase: :starting, pid: nil, started: nil), reason)
    end
  end

  # Crashed --------------------------------------------------------------------------------------------------------------

  defp crashed(context, row, reason \\ :unknown)

  defp crashed({instance, rows, book} = context, row(id: id, domain: domain, ledger: ledger) = row, reason) do
    policy = Book.policy(book, domain)
    crashes = Ledger.crashes(ledger) + 1
    {decision, ledger} = Ledger.charge(ledger, now(), uptime(row), policy, :rand.uniform())
    row = row(row, ledger: ledger, restarts: row(row, :restarts) + 1)

    if Rows.advance(rows, row, [{ledger_at(), ledger}, {restarts_at(), row(row, :restarts)}]) do
      Launch.emit(instance, [:agent, :crashed], %{crashes: crashes}, row, id: id, reason: reason)
      follow(escalated(policy, context, row) || decision, context, row, policy, {crashes, reason})
    else
      :ignore
    end
  end

  defp uptime(row(started: nil)), do: 0

  defp uptime(row(started: started)),
    do: System.convert_time_unit(System.monotonic_time() - started, :native, :millisecond)

  defp escalated(%{on_exhausted: :park}, _context, _row), do: nil

  defp escalated(_policy, {instance, _rows, book}, row(domain: domain)) do
    if Book.exceeded?(book, domain, now()) do
      Fuse.blow(instance, book, domain)
      :escalated
    end
  end

  # The domain is about to be stopped; until then the place is only held, and whoever starts the domain anew starts the agent.
  defp follow(:escalated, context, row, _policy, _why), do: rest(context, row, :behind, :never)

  defp follow({:park, delay}, {instance, _rows, _book} = context, row(id: id) = row, _policy, {crashes, reason}) do
    measurements = %{crashes: crashes, retry_in: delay}
    Launch.emit(instance, [:agent, :parked], measurements, row, id: id, reason: reason)
    rest(context, row, :parked, if(delay == :never, do: :never, else: now() + delay))
  end

  defp follow({:start, delay}, {instance, _rows, book} = context, row(id: id) = row, policy, {crashes, reason}) do
    delay = delay + throttled(instance, book, row, now() + delay, policy)
    measurements = %{delay: delay, crashes: crashes}
    Launch.emit(instance, [:agent, :restarting], measurements, row, id: id, reason: reason)
    # A start that was refused is not repeated within the supervisor, however short the delay.
    if delay == 0 and row(row, :started),
      do: again(context, row),
      else: rest(context, row, :resting, now() + max(delay, 1))
  end

  defp throttled(_instance, _book, _row, _at, %{storm: :infinity}), do: 0

  defp throttled(instance, book, row(id: id, domain: domain), at, policy) do
    delay = book |> Book.chain(domain) |> hd() |> Gauges.reserve(at, policy.storm)
    if delay > 0, do: Telemetry.emit(instance, [:domain, :throttled], %{delay: delay}, %{domain: domain, id: id})
    delay
  end

  # Resting --------------------------------------------------------------------------------------------------------------

  defp rest({instance, rows, _book}, row(id: id, gen: gen, part: part) = row, phase, due) do
    {:ok, pid} = Resting.start_link({instance, id, gen, part, due})

    since = if row(row, :phase) == phase, do: row(row, :since), else: now()

    if Rows.advance(rows, row, [{phase_at(), phase}, {pid_at(), pid}, {due_at(), due}, {since_at(), since}]) do
      {:ok, pid}
    else
      Remains.end_child(pid)
      :ignore
    end
  end

  # Run by the supervisor on others' behalf ------------------------------------------------------------------------------

  @doc "Has a supervisor run one of the functions below between its other work, on `[instance | arguments]`."
  @spec aside(pid | nil, Book.part(), atom, [term]) :: DynamicSupervisor.on_start_child()
  def aside(supervisor, :group, function, arguments), do: Supervisor.start_child(supervisor, once(function, arguments))

  def aside(supervisor, _index, function, [_instance | arguments]),
    do: DynamicSupervisor.start_child(supervisor, once(function, arguments))

  defp once(function, arguments),
    do: %{id: {__MODULE__, make_ref()}, start: {__MODULE__, function, arguments}, restart: :temporary}

  @doc "Forgets an agent that is unwanted and not there any more. Holds no place."
  @spec forget(atom, term, term) :: :ignore
  def forget(instance, id, gen), do: serially(instance, id, gen, &forget_unwanted/2)

  defp forget_unwanted(_context, row(wanted: true)), do: :ok
  defp forget_unwanted(context, row(pid: pid) = row), do: alive?(pid) || strike(context, row, :stopped)

  @doc "Makes a resting agent due now, with a clean ledger. Holds no place."
  @spec release(atom, term, term) :: :ignore
  def release(instance, id, gen), do: serially(instance, id, gen, &make_due/2)

  defp make_due({_instance, rows, _book}, row(phase: phase, id: id, pid: pid)) when phase in [:resting, :parked] do
    Rows.put(rows, id, [{due_at(), now()}, {ledger_at(), nil}])
    is_pid(pid) && Resting.wake(pid)
  end

  defp make_due(_context, _row), do: :ok

  @doc "Wants a stopped agent again, and leaves any other alone. Holds no place."
  @spec want(atom, term, term) :: :ignore
  def want(instance, id, gen), do: serially(instance, id, gen, &want_stopped/2)

  defp want_stopped(context, row(phase: :stopped) = row), do: recover(context, row)
  defp want_stopped(_context, _row), do: :ok

  @doc "Lets the next start of an agent go uncharged, or wants a stopped one again. Holds no place."
  @spec excuse(atom, term, term) :: :ignore
  def excuse(instance, id, gen), do: serially(instance, id, gen, &recover/2)

  defp recover({_instance, rows, _book}, row(phase: :stopped, id: id)),
    do: Rows.put(rows, id, [{wanted_at(), true}, {phase_at(), :recover}, {ledger_at(), nil}])

  defp recover({_instance, rows, _book}, row(phase: phase, id: id)) when phase in [:up, :resting, :parked, :behind],
    do: Rows.put(rows, id, [{phase_at(), :recover}, {ledger_at(), nil}])

  defp recover(_context, _row), do: :ok

  @doc "Lets an agent go on that was excused for a restart which nobody asked for then. Holds no place."
  @spec go_on(atom, term, term) :: :ignore
  def go_on(instance, id, gen), do: serially(instance, id, gen, &go_on_living/2)

  defp go_on_living({_instance, rows, _book}, row(phase: :recover, due: nil, id: id, pid: pid)),
    do: alive?(pid) && Rows.put(rows, id, [{phase_at(), :up}])

  defp go_on_living(_context, row(phase: :recover, pid: pid)), do: is_pid(pid) && Resting.wake(pid)
  defp go_on_living(_context, _row), do: :ok

  defp serially(instance, id, gen, fun) do
    with {:ok, {rows, book}} <- Instances.tables(instance),
         row(gen: ^gen, sup: sup) = row when sup == self() <- Rows.get(rows, id) do
      fun.({instance, rows, book}, row)
    end

    :ignore
  end

  # Who was released by someone has a clean ledger.
  defp unparked({instance, _rows, _book}, row(id: id, ledger: ledger, since: since) = row, :parked) do
    by = if ledger == nil, do: :operator, else: :timer
    Launch.emit(instance, [:agent, :unparked], %{parked_for: now() - since}, row, id: id, by: by)
  end

  defp unparked(_context, _row, _phase), do: :ok

  @doc "How long until an agent is tried again, as an error says it."
  @spec excuse_for(Rows.row()) :: Error.t()
  def excuse_for(row(id: id, phase: :parked, due: due)), do: Error.new(:parked, id: id, retry_in: left(due))
  def excuse_for(row(id: id, due: due)), do: Error.new(:restarting, id: id, retry_in: left(due))

  # Never 0, so that whoever waits that long and asks again does not spin.
  defp left(due) when is_integer(due), do: max(1, due - now())
  defp left(nil), do: 1
  defp left(:never), do: :never

  defp now, do: System.monotonic_time(:millisecond)
end

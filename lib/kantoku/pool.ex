defmodule Kantoku.Pool do
  @moduledoc """
  Workers that share work: chosen well, waited for fairly, pushed back when it is too much.

      {Kantoku,
       name: MyApp.Agents,
       pools: [[name: :writers, worker: {MyApp.Writer, []}, target: 8, max_overflow: 4]]}

      {:ok, reply} = Kantoku.Pool.call({MyApp.Agents, :writers}, {:write, text}, tenant: "acme", timeout: 2_000)

  Workers are plain OTP processes, or any agent. There is no process between who asks and who serves: a call is sent to a free
  worker by the caller itself, or waits in the pool's queue and is sent by whoever hands a worker back. A pool's foreman only sees
  to its size.

  ## What holds

    * **A worker never has more than `:max_ongoing` requests**, whatever times out, is killed or resized. One that is still busy with
      a call whose caller gave up is not handed out until it is done (`on_abandon: :wait`) or was replaced (`:replace`). Whether it is
      done it is asked by a message that every OTP behaviour answers in its turn.
    * **Who waits is served in a fair order**: tenants by deficit round-robin (Shreedhar and Varghese, SIGCOMM 1995), a tenant's own
      requests by priority and age. Who is dead or too late is never served.
    * **A flood keeps nobody else out**: when the queue is full, the tenant with most in it for its weight makes room for who comes
      with less (McKenney, "Stochastic Fairness Queueing", INFOCOM 1990).
    * **Too much is refused at once**, with a reason and `retry_in` ms: `:queue_full`, `:overloaded` (CoDel on the time that
      requests wait, in the variant of Maurer, "Fail at Scale", ACM Queue 2015), `:quota`, `:deadline`, `:draining`, `:closed`.
    * **A pool with a breaker** (`breaker: [...]`, `Kantoku.Breaker`) refuses as `:breaker_open`, with `retry_in`, while too many requests fail
      or are slow. A worker that died and a time-out after a worker had begun are failures, as is what is handed in as `:error` or
      `:abandoned`; refusals and casts are neither. The breaker's name is `{:pool, name}`.
    * **When the VM itself runs short** (`shed: :low`, `Kantoku.Degradation`), requests of a low priority are `:overloaded` at the door.
    * **A worker that fails or lags is given nothing new for a while** (`Kantoku.Pool.Ejection`), and comes back little by little
      (`Kantoku.Pool.SlowStart`). While fewer than `:healthy_panic_threshold` percent are in and ready, all that live are given work: some
      hope is better than none. A worker alone is never ejected, and is given nothing while its probe says that it is not ready.
    * **A worker's death during a call reaches the caller at once**, as `:crashed`.
    * **Workers are agents of a domain of their own**, `{:pool, name}`, with ids `{:pool, name, number}`. What keeps crashing or
      does not start backs off and is parked (`Kantoku.Domain`), while the pool goes on with the rest and `status/1` says
      `degraded: true`. `Kantoku.Domain.status(MyApp.Agents, {:pool, :writers})` says how many are where.

  ## Options

  #{Kantoku.Pool.Config.docs()}

  All but `:name` and `:partitions` can be changed while it runs (`update/2`).

  ## Options of a request

    * `:timeout` - ms for the whole of it, waiting included, or `:infinity`; default 5_000, as for `GenServer.call/3`;
    * `:tenant` - for whom: an atom, an integer of up to 60 bits or a binary of up to 255 bytes; default `nil`, one tenant like any
      other;
    * `:priority` - `:high`, `:normal` (default) or `:low`, within the tenant. Every eighth request of a tenant is its oldest, so
      nothing starves;
    * `:cost` - from 1 (default) to 1_000_000: what it counts in the tenant's share, and in quotas of tokens;
    * `:key` - any term; with `strategy: :hash`, requests of one key go to the same worker while it is free and stays;
    * `:trace` - a `Kantoku.Trace.Context` that this is to be traced below, in place of what is current (`Kantoku.Trace`);
    * `:replies` - for `call/3`: `:strict` (default), and an answer that comes too late never arrives; or `:fast`, which costs less,
      and it arrives as `{reference, reply}`, as with `GenServer.call/3` before OTP 24. A second answer to the same call arrives under both.

  A bad option raises `ArgumentError`. All functions answer `{:error, %Kantoku.Error{}}` and never exit; `:not_found` where there is no
  such pool, `:not_running` where there is no such instance, `:restarting` while a pool is being opened again. See the guide "Pools".
  """

  alias Kantoku.{Agents, Engine, Error, Instances, Telemetry, Trace}
  alias Kantoku.Domain.{Book, Rows}
  alias Kantoku.Pool.{Calls, Config, Detours, Lease, Life, Notes, Scaling, Standing, Ways, Worker}

  alias Kantoku.Pool.Scaling.Recorder

  require Rows

  @typedoc "A pool of an instance."
  @type t :: {instance :: atom, name :: atom}

  @typedoc "How what was checked out went. `:abandoned`: the worker may still be busy with it, so it is asked before it is handed out."
  @type outcome :: :ok | :error | :abandoned

  # Work -------------------------------------------------------------------------------------------------------------------

  @doc """
  Calls a worker, as `GenServer.call/3` does, when it is this caller's turn.

      {:ok, reply} = Kantoku.Pool.call({MyApp.Agents, :writers}, {:write, text})
      {:error, %Kantoku.Error{reason: :queue_full, details: %{retry_in: ms}}} = Kantoku.Pool.call(pool, request, tenant: "greedy")

  Errors besides those of all functions: the refusals above; `:timeout`, whose `details.begun` says whether a worker has it;
  `:crashed` when the worker died.
  """
  @spec call(t, request :: term, keyword) :: {:ok, reply :: term} | {:error, Error.t()}
  def call(pool, request, opts \\ []) do
    case Detours.way(pool, opts) do
      nil -> Calls.call(pool, request, opts)
      :trace -> Trace.Pools.call(pool, request, opts)
      way -> Ways.call(way, pool, request, opts)
    end
  end

  @doc """
  Sends a worker a request without waiting for it to be served, as `GenServer.cast/2` does. `:ok` says that it was sent, or waits its
  turn, of which nobody hears any more if it is refused after all. It counts as ongoing until the worker is done with it, and is nobody's: the death of who sent it changes nothing.
  """
  @spec cast(t, request :: term, keyword) :: :ok | {:error, Error.t()}
  def cast(pool, request, opts \\ []) do
    case Detours.uncounted(pool, opts) do
      :trace -> Trace.Pools.cast(pool, request, opts)
      way -> Ways.cast(way, pool, request, opts)
    end
  end

  @doc """
  Runs `fun` with the pid of a worker that nobody else is given meanwhile (with `max_ongoing: 1`), and answers `{:ok, result}`.

      {:ok, rows} = Kantoku.Pool.run({MyApp.Agents, :connections}, &GenServer.call(&1, {:query, sql}))

  What `fun` raises, throws or exits with passes through, after the worker was handed back as abandoned: a call of `fun` to it may
  not be answered yet. `:timeout` is for the wait only. Errors as of `checkout/2`.
  """
  @spec run(t, (pid -> result), keyword) :: {:ok, result} | {:error, Error.t()} when result: term
  def run(pool, fun, opts \\ []), do: Ways.run(pool, fun, opts)

  @doc """
  Takes a worker out. It belongs to the calling process until `checkin/2`, or until that dies: then it is abandoned.

  Errors: the refusals above, and `:timeout`.
  """
  @spec checkout(t, keyword) :: {:ok, Lease.t()} | {:error, Error.t()}
  def checkout(pool, opts \\ []), do: Ways.checkout(pool, opts)

  @doc """
  Hands a worker in. `:not_held` if it was handed in before, or its worker or pool ended; `:not_owner` if another process took it.
  """
  @spec checkin(Lease.t(), outcome) :: :ok | {:error, Error.t()}
  def checkin(lease, outcome \\ :ok), do: Ways.checkin(lease, outcome)

  @doc """
  Answers a request from within the worker that has it, as `GenServer.reply/2` does, and lets the pool go on in the same step: the
  request has ended, and the next one that waits is in the worker's mailbox.

      def handle_call({:write, text}, from, state) do
        :ok = Kantoku.Pool.reply({MyApp.Agents, :writers}, from, String.upcase(text))
        {:noreply, state}
      end

  A reply that is returned reaches the caller first, which then hands the worker back: until it is run again, the worker has nothing to
  do. With this it never stands idle while requests wait, and who calls makes one step less. Nothing else changes: a worker may answer
  some requests so and others by returning, and what came past the pool, as from a function of `run/3`, is answered as well. It is to be
  called by the worker itself; in another process it is `GenServer.reply/2`. Agents (`Kantoku.Agent`) that work for a pool answer so by
  themselves.
  """
  @spec reply(t, GenServer.from(), term) :: :ok
  def reply({instance, pool}, {_pid, tag} = from, reply) do
    # Late or unknown here: what then becomes of it is a matter of its tag.
    if Engine.Pools.pool_reply(instance, pool, tag, reply) != :ok, do: GenServer.reply(from, reply)
    :ok
  end

  # Looking ----------------------------------------------------------------------------------------------------------------

  @doc """
  What a pool has and does now, read without asking its foreman:

    * `target`, `min`, `max`, `wanted` (workers; more than the target by `overflow`), `workers` (that are in the pool), `ready`, `leaving`;
    * `missing`, `degraded`, `reason`: how many workers are not up; whether that is for failures; why the last one did not start;
    * `ejected` and `not_ready` workers, which take no work unless there is a `panic`; those `growing`, with a part of their share;
      `held_back`: how often nobody was ejected any more, as enough were;
    * `free` permits, `ongoing` requests, of which `abandoned`; `queue`, of `tenants` tenants; `overloaded`; `draining`;
    * since it was opened: `arrived`, `served`, `refused`, `expired`, `cancelled`; of the served those that `succeeded`, `failed`, were
      `given_up`, `lost` with their worker, `returned` unused; of the refused those `dropped` under overload and `drained`;
    * `used`: what the workers use together, where a quota asks for that: `memory` in bytes, `cpu` in percent of the schedulers' time;
      each `nil` where none does, or before the first look;
    * `wait` and `hold`, exponentially weighted means in microseconds of how long requests waited and were served.
  """
  @spec status(t) :: {:ok, map} | {:error, Error.t()}
  def status({instance, pool}) do
    inside(instance, pool, fn _rows, book, config ->
      case Engine.Pools.pool_status(instance, pool) do
        :unknown -> {:error, Notes.absent(instance, pool)}
        counts -> {:ok, Notes.status(book, config, counts)}
      end
    end)
  end

  @doc """
  The workers by number: `%{id, member, pid, state, ongoing, latency_us, served, ejection, share}`. `state` is `:ready`, `:busy` (nothing
  free), `:ejected`, `:not_ready` (by a probe; neither in a panic) or `:leaving`; or, of one that is not in the pool, `:starting`,
  `:restarting` or `:parked`, with `pid: nil`. Looks at all agents of the instance.

  `ejection` is `nil`, or of one that is ejected `%{cause, evidence, enforced, since, left, times}`: `cause` is `:consecutive_failures`
  (evidence: `failures`), `:success_rate` (`rate` and `threshold` in percent, of so many `workers`), `:latency` (`mean_us`, `median_us`,
  `workers`) or `:by_hand`; `since` and `left` are ms, `left` may be `:infinity`; `times` is how often it was. `share` is the percent that a
  worker gets of its share.
  """
  @spec workers(t) :: {:ok, [map]} | {:error, Error.t()}
  def workers({instance, pool}) do
    inside(instance, pool, fn rows, _book, _config ->
      case Engine.Pools.pool_workers(instance, pool) do
        :unknown -> {:error, Notes.absent(instance, pool)}
        here -> {:ok, in_pool(pool, here) |> Kernel.++(elsewhere(rows, pool, here)) |> standing({instance, pool})}
      end
    end)
  end

  defp standing(workers, pool) do
    standing = Standing.all(pool)
    for worker <- Enum.sort_by(workers, & &1.member), do: Map.merge(worker, Map.get(standing, worker.member, %{}))
  end

  defp in_pool(pool, here) do
    for {pid, member, state, ongoing, latency, served} <- here do
      %{worker(pool, member, pid, state) | ongoing: ongoing, latency_us: latency, served: served}
    end
  end

  defp elsewhere(rows, pool, here) do
    members = MapSet.new(here, &elem(&1, 1))

    for Rows.row(id: {:pool, ^pool, member}, phase: phase) <- Rows.of(rows, {:pool, pool}), member not in members do
      worker(pool, member, nil, if(phase == :up, do: :starting, else: Agents.status(phase)))
    end
  end

  defp worker(pool, member, pid, state) do
    idle = %{ongoing: 0, latency_us: 0, served: 0, ejection: nil, share: 100}
    Map.merge(idle, %{id: Worker.id(pool, member), member: member, pid: pid, state: state})
  end

  @doc """
  Why a pool that scales itself has the size that it has, read without asking its foreman:

    * `scaling`: whether it does, now; `size`: as last decided, `nil` if it does not. Overflow comes on top;
    * `forecast`: what the last review of it said, or `nil` before the first and with `forecast: :off`. `mode` is `:shadow` or `:active`,
      `reason` and `explanation` say why, `backtest` has the scores (`Kantoku.Pool.Forecast.Backtest`);
    * `decisions`: the last 100 entries of a log, newest first.

  An entry is what `Kantoku.Pool.Scaler.Decision.to_map/1` makes of a decision - `at` (ms of system time), `size` before and `wanted`
  after, `move`, the `readings`, for each metric its `formula` and `wish`, the `steps` of all rules and those that it was
  `limited_by` - and `explanation`, the same in words. One that moves the size has an entry of its own. Those that do not are one
  entry for the rules that hold the size, until it moves: the last of them, `since` when, and how many `times`.

      {:ok, %{decisions: [last | _]}} = Kantoku.Pool.explain({MyApp.Agents, :writers})
      IO.puts(last.explanation)
  """
  @spec explain(t) :: {:ok, map} | {:error, Error.t()}
  def explain({instance, pool}),
    do: inside(instance, pool, fn _rows, book, config -> {:ok, Scaling.explain(book, config)} end)

  @doc """
  Has what a pool's scaling decides written to a file, for `mix kantoku.scaling.replay`; `nil` ends that. A file that is there is
  written anew, and one that is being written is ended. It is some 400 bytes a decision, ten times a second while the pool is at
  work. Raises `File.Error` where the file cannot be written; if that is so later, the recording ends with a warning in the log.

      :ok = Kantoku.Pool.record({MyApp.Agents, :writers}, "writers.scaling")
  """
  @spec record(t, Path.t() | nil) :: :ok | {:error, Error.t()}
  def record({instance, pool}, path) do
    inside(instance, pool, fn _rows, book, _config ->
      Recorder.record(book, pool, path)
      :ok
    end)
  end

  @doc "The names of an instance's pools."
  @spec names(instance :: atom) :: {:ok, [atom]} | {:error, Error.t()}
  def names(instance), do: Instances.reading(instance, fn _rows, book -> {:ok, Enum.sort(Notes.pools(book))} end)

  # Life -------------------------------------------------------------------------------------------------------------------

  @doc """
  Changes options of a running pool, without dropping a call: workers that are too many finish what they have. Those of `:domain`
  are merged; a new `:worker` is for workers that are started from now on. Raises `ArgumentError` on a bad option.

      :ok = Kantoku.Pool.update({MyApp.Agents, :writers}, target: 64, max_queue: 10_000)

  Where `:min` or `:max` is the target, it goes with it, unless the pool scales itself: then a new target is a size from which it goes
  on. Options of `:scaling` are merged, too; `scaling: false` goes back to the target. `:ok` does not wait for workers to come or go.
  """
  @spec update(t, keyword) :: :ok | {:error, Error.t()}
  def update({instance, pool}, changes) do
    inside(instance, pool, fn _rows, book, config ->
      _ = checked!(instance, book, Config.change!(config, changes))
      # Someone else's change may have come in between.
      case Life.update(book, {instance, pool}, changes) do
        {:raise, error} -> raise error
        answer -> Telemetry.options_changed(answer, instance, {:pool, pool}, changes)
      end
    end)
  end

  defp checked!(instance, book, config) do
    wish = Worker.wish(instance, config, 0)
    :ok = Kantoku.Domain.Wish.check!(wish, Book.agent_options(book))
    config
  end

  @doc """
  Ejects a worker by hand: it is given nothing new, and finishes what it has. `worker` is its number, id or pid. `for:` is ms, or
  `:infinity` (default): until `readmit/2`, or its pool is opened anew. A successor of it is ejected as well. Limits are not asked: who ejects
  all has a pool that panics, or with `healthy_panic_threshold: 0` one that serves nobody.

      :ok = Kantoku.Pool.eject({MyApp.Agents, :writers}, 3, for: 60_000)

  `:not_found` if there is no such worker.
  """
  @spec eject(t, worker :: non_neg_integer | term | pid, keyword) :: :ok | {:error, Error.t()}
  def eject(pool, worker, opts \\ []), do: Standing.eject(pool, worker, opts)

  @doc """
  Lets a worker in again that was ejected, by hand or not, or `:all`; its share grows as after any ejection. `:ok`, too, if it was not.

      :ok = Kantoku.Pool.readmit({MyApp.Agents, :writers}, 3)
  """
  @spec readmit(t, worker :: non_neg_integer | term | pid | :all) :: :ok | {:error, Error.t()}
  def readmit(pool, worker), do: Standing.readmit(pool, worker)

  @doc """
  Starts a pool of a running instance, and answers when `:warm_up` workers are up. It ends with its instance or by `stop/2`.

  `{:error, {:already_started, foreman}}` if there is one of that name; `:start_failed` when it was not warm in time, and then it is
  stopped again. Raises `ArgumentError` on a bad option.
  """
  @spec start(instance :: atom, keyword) :: {:ok, t} | {:error, Error.t() | {:already_started, pid | nil}}
  def start(instance, opts) do
    config = Config.new!(opts)

    with {:ok, {_rows, book}} <- Instances.tables(instance) do
      Life.start(instance, checked!(instance, book, config))
    end
  end

  @doc """
  Stops a pool: refuses new requests as `:draining`, serves those that it has for up to `timeout` ms (`nil`: the instance's
  `:drain` option), stops the workers. What is left then is `:closed`, or `:crashed` if a worker had it. Answers what
  `Kantoku.drain/2` does.
  """
  @spec stop(t, timeout :: non_neg_integer | nil) :: {:ok, Kantoku.drained()} | {:error, Error.t()}
  def stop({instance, pool}, timeout \\ nil), do: Life.stop(instance, pool, timeout)

  defp inside(instance, pool, fun) do
    Instances.reading(instance, fn rows, book ->
      case Notes.config(book, pool) do
        nil -> {:error, Error.new(:not_found, pool: {instance, pool})}
        config -> fun.(rows, book, config)
      end
    end)
  end
end

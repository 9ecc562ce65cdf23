defmodule Kantoku.Migration do
  @moduledoc """
  Moving over to Kantoku gradually: feature by feature, one agent type or pool at a time, one percent at a time, and back.

      {Kantoku, name: MyApp.Agents, migration: [supervision: %{MyApp.Session => {:canary, 1}}, pools: [search: :shadow]]}

      :ok = Kantoku.Migration.set(MyApp.Agents, :supervision, MyApp.Session, {:canary, 10}, by: "ada")

  Code calls the functions here in place of `DynamicSupervisor`, `Registry` and poolboy, and gives each its old path along. With nothing set
  they do what that did. See the guide "Moving over, safely"; for Jido, `Kantoku.Jido.Migrated` needs no change in calling code.

  ## Features

  | feature | subject | decides | its shadow compares |
  |---|---|---|---|
  | `:supervision` | a type of agents | who starts and restarts them (`start_child/5`) | each restart with back-off and parking as the domain would have them |
  | `:registry` | a type of agents | who is asked where they are (`whereis/3`) | the answers of both registries |
  | `:pools` | a pool | whose workers serve (`transaction/4`) | what came of each with what ours would have: served, queued or refused, by how many workers |
  | `:state` | a type of agents | whether Jido's agents on our side keep snapshots; nothing of plain processes, which keep none | the state with itself, written and read again (`check_state/2`) |
  | `:health` | a type of agents | whose verdict holds (`healthy?/4`) | both verdicts |

  A subject is any term; by custom the module, or the pool's name. Ids of agents are theirs in the instance, so all its subjects share them.

  ## Modes

    * `:off` - the old path, and nothing else. The default;
    * `:shadow` - the old path; beside it is worked out what ours would have done, without doing it, and counted whether it agrees. The last
      20 cases in which it does not are kept;
    * `{:canary, percent}` - our path for that share of keys, from 0 to 100 with two decimals. A key's place is
      `:erlang.phash2({subject, key}, 10_000)`, which is the same in every process and VM and on every OTP, so an agent never flaps, a higher
      percentage only adds keys, and features at the same percentage have the same ones. (Pids and references as keys have no such
      promise between VMs);
    * `:enforce` - our path.

  When the mode of `:supervision` changes, agents that run are moved to where they belong, with their state (`start_child/5`, option
  `:state`), in both directions. Callers who ask here (`whereis/3`, `call/4`) wait for an agent that moves; what was sent to the process that it
  leaves is handed on.

  ## Canaries that take themselves back

  Each call through a canary counts for its side: how long it took, or that it failed (an exit, a raise, `:error`, `{:error, _}`; of a look-up,
  that it found nothing). Once a second both sides are compared over a window. A canary that fails more often, or is slower, by more than the
  margin and by more than chance does, goes to `:revert_to`; `status/1` and `[:kantoku, :migration, :reverted]` have the reason as a
  `Kantoku.Migration.Reversal`. Failures are compared as shares (Agresti and Caffo 2000), latencies as a quantile by its order statistics, which asks
  nothing of their distribution. What is compared, given at start as `migration: [canary: [...]]` or with `set/5`:

  #{Kantoku.Options.docs(Kantoku.Migration.Judge.schema())}

  At 100 % there is no control to compare with, and nothing is taken back.

  ## What lasts

  A mode that was set at run time stands when the instance starts again, and with `Kantoku.Store.Disk` when the VM does, unless its start
  option is another than it was: then that is the newer word. `status/1` says who set it and when.
  """

  alias Kantoku.Migration.{
    Account,
    Borrowing,
    Changes,
    Journal,
    Lookup,
    Mode,
    Old,
    Option,
    Restored,
    Settings,
    Status,
    Supervision
  }

  alias Kantoku.{Error, Instances}

  @type instance :: atom
  @type feature :: :supervision | :registry | :pools | :state | :health

  @typedoc "A type of agents, or a pool."
  @type subject :: term

  @type mode :: :off | :shadow | {:canary, percent :: number} | :enforce

  @typedoc "What an app comes from: a supervisor, or functions that start (given a child spec) and stop (given a pid)."
  @type old_supervision ::
          {DynamicSupervisor, Supervisor.supervisor()}
          | %{start: (Supervisor.child_spec() -> DynamicSupervisor.on_start_child()), stop: (pid -> term)}

  @typedoc "`{Registry, name}`, or any module with its functions; or a function of the key."
  @type old_registry :: {module, term} | (key :: term -> pid | nil)

  @typedoc "`{:poolboy, name}`, or a function that is given what to run with a worker, and runs it in the caller."
  @type old_pool :: {:poolboy, term} | ((worker :: pid -> term) -> term)

  # Modes ----------------------------------------------------------------------------------------------------------------

  @doc """
  Sets a mode. Options: `:by`, who does it, any term; and those of canaries above, which stay with this feature and subject.

  `:ok` when it holds, for all who ask from then on; agents that have to move do so after that (`await/3`). `{:error, %Kantoku.Error{}}` with
  `:not_running`, or the store's reason where it holds but could not be written. Raises `ArgumentError` on a bad feature, mode or option.
  """
  @spec set(instance, feature, subject, mode, keyword) :: :ok | {:error, Error.t() | term}
  def set(instance, feature, subject, mode, opts \\ []) do
    feature = Option.feature!(feature)
    mode = Mode.check!(mode, "Kantoku.Migration.set/5, mode")
    with {:ok, _tables} <- Instances.tables(instance), do: Changes.set({instance, feature, subject}, mode, opts)
  end

  @doc "Goes back to the start option, or to `:off` if there is none. Answers as `set/5`."
  @spec reset(instance, feature, subject) :: :ok | {:error, Error.t() | term}
  def reset(instance, feature, subject) do
    feature = Option.feature!(feature)
    with {:ok, _tables} <- Instances.tables(instance), do: Changes.reset({instance, feature, subject})
  end

  @doc "The mode that holds. One read of memory; needs no instance to run."
  @spec mode(instance, feature, subject) :: mode
  def mode(instance, feature, subject) do
    case Settings.fetch({instance, feature, subject}) do
      {_gate, _version, setting} -> setting.mode
      nil -> :off
    end
  end

  @doc "On which side a key is: `:old` or `:new`. One look-up and one hash."
  @spec side(instance, feature, subject, key :: term) :: :old | :new
  def side(instance, feature, subject, key), do: instance |> Settings.gate(feature, subject) |> Mode.side(subject, key)

  @doc """
  Everything that was set, sorted by feature: `%{feature, subject, mode, by, at, source, option, rules, reversal, shadow, canary, agents}`.

    * `at` - ms of system time; `source` - `:option` or `:run_time`; `option` - the mode of the start option, or `nil`;
    * `reversal` - a `Kantoku.Migration.Reversal` if the canary went back by itself, else `nil`;
    * `shadow` - `%{agreed, disagreed, last}`, the last of `%{key, ours, theirs, at}`, newest first;
    * `canary` - `%{old: side, new: side}` of `%{calls, errors, latency_us}` in the window, `nil` without a canary;
    * `agents` - for `:supervision`, how many are where: `%{old, new, moving, staying}`, the last up to 20 of `{id, reason}` that could not
      move: `:no_state` (see `start_child/5`), `:busy`, `{:not_up, looks}`, or why the other side did not start them. They are tried again.
  """
  @spec status(instance) :: {:ok, [map]} | {:error, Error.t()}
  def status(instance), do: with({:ok, _tables} <- Instances.tables(instance), do: {:ok, Status.of(instance)})

  @doc "The same as a table for people; what `mix kantoku.migration` prints."
  @spec table(instance) :: {:ok, String.t()} | {:error, Error.t()}
  def table(instance), do: with({:ok, entries} <- status(instance), do: {:ok, Status.table(entries)})

  @doc """
  Waits until every agent of a subject is where it belongs, for up to `timeout` ms. `{:error, %Kantoku.Error{reason: :timeout}}` otherwise;
  `status/1` then says who stays, and why.
  """
  @spec await(instance, subject, timeout :: non_neg_integer) :: :ok | {:error, Error.t()}
  def await(instance, subject, timeout \\ 5_000) do
    if Supervision.settled?(instance, subject, timeout),
      do: :ok,
      else: {:error, Error.new(:timeout, id: subject, timeout: timeout)}
  end

  # Agents ---------------------------------------------------------------------------------------------------------------

  @doc """
  Starts an agent where it belongs. `spec` is a child spec as `DynamicSupervisor.start_child/2` takes it, the same for both sides.

      Kantoku.Migration.start_child({MyApp.Agents, MyApp.Session}, "ada", {MyApp.Session, "ada"}, {DynamicSupervisor, MyApp.Sessions},
        registry: {Registry, MyApp.Registry}
      )

    * `:state` - how its state moves: a module of `Kantoku.Migration.Portable`, by default that of the spec if it is one; `:sys`, the whole
      state as it is; `:fresh`, there is none worth taking; `:none` (else the default): it stays where it is until it ends;
    * `:registry` - the old registry that it registers itself in, as `{Registry, name}`: its names move with it. A local name does so anyhow;
    * `:linger` - ms that the process it leaves is kept, held still, so that late messages are handed on; default 1,000. When it is
      stopped then, its `terminate` runs on the state that it had;
    * `:domain`, `:restart`, `:shutdown`, `:tags`, `:capabilities`, `:metadata` - as of `Kantoku.start_agent/3`, on our side.

  Returns what `DynamicSupervisor.start_child/2` does; an id that is there on either side is `{:error, {:already_started, pid}}`.
  """
  @spec start_child({instance, subject}, id :: term, term, old_supervision, keyword) ::
          DynamicSupervisor.on_start_child()
  defdelegate start_child(subject, id, spec, old, opts \\ []), to: Supervision

  @doc "Stops an agent on whichever side it is. `{:error, :not_found}` as of `DynamicSupervisor.terminate_child/2`."
  @spec stop_child({instance, subject}, id :: term) :: :ok | {:error, :not_found | Error.t()}
  defdelegate stop_child(subject, id), to: Supervision

  @doc """
  As `GenServer.call/3`, to an agent that was started by `start_child/5`, wherever it is. One that moves is waited for. Exits as that
  does, with `:noproc` where there is none.
  """
  @spec call({instance, subject}, id :: term, request :: term, timeout) :: term
  defdelegate call(subject, id, request, timeout \\ 5_000), to: Supervision

  @doc """
  Where an agent is, or `nil`. `old` is the old registry, or `nil` where there was none: then what `start_child/5` knows is the answer. One that
  moves is waited for.

      Kantoku.Migration.whereis({MyApp.Agents, MyApp.Session}, "ada", {Registry, MyApp.Registry})
  """
  @spec whereis({instance, subject}, id :: term, old_registry | nil) :: pid | nil
  def whereis(subject, id, old \\ nil) do
    if old, do: Old.check!(:registry, old)
    Lookup.whereis(subject, id, old)
  end

  @doc """
  Writes and reads an agent's state in memory, and says whether it is the same after that: `:same`, or `{:differs, why}`, where `why` is
  `{:local, kind}` for a pid, port, reference or anonymous function in it, or `:content`. The agent's state is not touched. It is noted in
  `status/1`, with `:state` at `:shadow` or above; else the answer is `:off`.
  """
  @spec check_state({instance, subject}, id :: term) :: :same | {:differs, term} | :off | {:error, term}
  defdelegate check_state(subject, id), to: Restored, as: :check

  @doc """
  Whether an agent is well: by `theirs`, the check that there was, or by ours. Ours says that its process is up and not on its way; give
  another as `ours: fun`.
  """
  @spec healthy?({instance, subject}, id :: term, theirs :: (() -> boolean), keyword) :: boolean
  def healthy?({instance, subject}, id, theirs, opts \\ []) when is_function(theirs, 0) do
    ours = opts[:ours] || fn -> up?({instance, subject, id}) end
    journal = {instance, :health, subject}

    case Settings.gate(instance, :health, subject) do
      :off -> theirs.()
      :shadow -> tap(theirs.(), &Journal.compare(journal, id, ours.(), &1))
      gate -> sided(gate, Mode.side(gate, subject, id), ours, theirs)
    end
  end

  defp sided(gate, side, ours, theirs), do: Account.run(gate, side, if(side == :new, do: ours, else: theirs))
  defp up?(key), do: Supervision.whereis(key) != nil

  # Anything -------------------------------------------------------------------------------------------------------------

  @doc """
  Runs `fun` with a worker of the old pool or of the pool of Kantoku's by that name, and answers what it does. As `:poolboy.transaction/3`:
  where there is none in time, it exits with `:timeout`; what else our pool refuses is the exit's reason, as a `Kantoku.Error`.

    * `:key` - whose work it is, for the share of a canary; by default the calling process;
    * `:timeout` - ms to wait for a worker, default 5,000; for `{:poolboy, name}` and for ours;
    * `:tenant`, `:priority` - as of `Kantoku.Pool`, on our side.
  """
  @spec transaction({instance, pool :: atom}, (pid -> result), old_pool, keyword) :: result when result: term
  defdelegate transaction(pool, fun, old, opts \\ []), to: Borrowing

  @doc """
  Runs one of two functions, as the key falls, and counts it for its side: for whatever else is to be moved over.

      Kantoku.Migration.run({MyApp.Agents, MyApp.Planner}, :state, id, fn -> load_ours(id) end, fn -> load_theirs(id) end)
  """
  @spec run({instance, subject}, feature, key :: term, ours :: (() -> a), theirs :: (() -> b)) :: a | b
        when a: term, b: term
  def run({instance, subject}, feature, key, ours, theirs) do
    gate = Settings.gate(instance, Option.feature!(feature), subject)
    sided(gate, Mode.side(gate, subject, key), ours, theirs)
  end
end

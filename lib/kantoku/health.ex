defmodule Kantoku.Health do
  @moduledoc """
  How agents fare: who is busy and fine, who is stuck, and what follows from it.

      {Kantoku, name: MyApp.Agents, agents: [max_busy: 30_000], health: [period: 10_000]}

      {:ok, %{state: :healthy}} = Kantoku.Health.status(MyApp.Agents)
      {:ok, %{members: %{healthy: 120, unhealthy: 0}}} = Kantoku.Health.status(MyApp.Agents, {:domain, :default})

  A probe that is a call waits behind the agent's work, so to it a busy agent looks dead. Here nobody is asked at first: an agent's own
  loop writes down when a message begins and when it ends, in one store without a lock. Once a period all agents are looked at:

    * within its declared limit (`max_busy`, `Kantoku.waiting/2`) an agent is fine, however long that is;
    * beyond it, it is *stuck*: killed, and restarted by its domain with its state and its back-off (`restart: false` only tells);
    * agents that wait for each other in a circle of `Kantoku.call/4`s, seen twice in the same calls, are stuck as well;
    * at work for longer than a period without a limit, it is `:unknown`: nobody said how long that may take, so it is never restarted.

  OTP agents say nothing of themselves. Several samplers look at their status and reductions; where such an agent stands still in the
  middle of something for longer than `max_busy` says of its module, it is stuck. One that runs all the time cannot be told from one
  with much to do: ask it by a probe (`Kantoku.Probe`).

  Ahead of that it sees whose memory, mailbox, answers to probes or restarts grow towards a limit (`:at_risk`), and when they will be there.
  Nothing follows from it but that it is told, unless a pool wants such workers replaced early (`on_risk: :replace`).

  If we were stopped ourselves for more than a period (a paused VM, a suspended machine), everybody gets a fresh one.

  ## States

  `:healthy`; `:degraded`: it serves, and something about it does not pass; `:starting`; `:unknown`; `:unhealthy`: it does not serve,
  as it is stuck, down, or fails a probe. Agents belong to their domain (of a pool's workers, the pool), domains to those they are
  nested in, all to the instance. A group follows the `:rule`: with a quorum it serves if so many percent of its members do, and is
  degraded if not all do.

  ## Options

  #{Kantoku.Health.Config.docs()}

  `health: false` turns all of it off. Each change of a state is an event, `[:kantoku, :health, :changed]`; see `Kantoku.Telemetry`. States of groups
  and of their members are metrics (`kantoku_health_state`, `kantoku_health_members`); see `Kantoku.Metrics`.
  All functions answer `{:error, %Kantoku.Error{}}`: `:not_running`, and `:not_found` where nothing of that name is looked after, or
  health is off. See the guide "Health".
  """

  alias Kantoku.Engine.Health, as: Core
  alias Kantoku.Health.{Board, Config, Risks, Waits}
  alias Kantoku.{Error, Instances, Telemetry}

  @type state :: Core.state()

  @typedoc "What a state is asked of."
  @type of :: :instance | {:agent, id :: term} | {:domain, atom} | {:pool, atom}

  @typedoc """
  Of a group: `state`, `since` (ms in it), `members` by state: of a domain its agents and the domains in it, of the instance its outermost domains and pools;
  `at_risk`: how many of its agents are (of a domain, without those in it).

  Of an agent: `state`, `since`, `probes`, each with `name` (`:passive` is the look without asking), `kind`, `verdict`, `since` and
  `evidence`; `busy`: how many ms it is at its message (`for`), how far `over` its limit that is (below 0: so much is left; `nil`: it has
  none) and what it `waits_for` (a pid, `:outside` by `Kantoku.waiting/2`, or `nil`), or `nil` if it is at no message or does not say;
  `at_risk`: a list of what it is at risk of, each with `sign` (`:memory`, `:mailbox`, `{:latency, probe}`, `:restarts`), `in` (ms until
  its limit, if it goes on like that), `value` and `limit` (bytes, messages, ms, crashes), `rise` (of the value, a second) and `since`
  (ms that it is known).
  """
  @type status :: map

  @states [:healthy, :degraded, :starting, :unknown, :unhealthy]

  @doc "How the instance fares. Read without asking any process."
  @spec status(instance :: atom) :: {:ok, status} | {:error, Error.t()}
  def status(instance), do: status(instance, :instance)

  @doc "How one agent, domain or pool fares."
  @spec status(instance :: atom, of) :: {:ok, status} | {:error, Error.t()}
  def status(instance, of) do
    with nil <- Board.reading(instance, &look_up(instance, of, &1)),
         do: {:error, Error.new(:not_found, health: {instance, of})}
  end

  defp look_up(instance, of, board) do
    with node when node != nil <- node(board, of),
         {_state, _age, _counts, _probes, _pulse} = status <- Core.health_status(instance, node, nil) do
      {:ok, of |> shown(status, board) |> Map.put(:at_risk, at_risk(instance, of))}
    else
      _absent -> nil
    end
  end

  # All groups: what each is of, its state, and its members by theirs. None where health is off.
  @doc false
  @spec groups(instance :: atom) :: {:ok, [{of, state, %{state => non_neg_integer}}]} | {:error, Error.t()}
  def groups(instance) do
    read = fn board -> {:ok, Enum.flat_map(Board.groups(board), &group(instance, board, &1))} end
    with nil <- Board.reading(instance, read), do: {:ok, []}
  end

  defp group(instance, board, name) do
    with node when node != nil <- Board.group(board, name),
         {state, _age, counts, _probes, _pulse} <- Core.health_status(instance, node, nil) do
      [{of(name), state, members(counts)}]
    else
      _ended_meanwhile -> []
    end
  end

  defp of(nil), do: :instance
  defp of({:pool, _name} = pool), do: pool
  defp of(domain), do: {:domain, domain}

  defp members(counts), do: @states |> Enum.zip(counts) |> Map.new()

  @doc false
  @spec states() :: [state]
  def states, do: @states

  defp node(board, :instance), do: Board.group(board, nil)
  defp node(board, {:domain, name}), do: Board.group(board, name)
  defp node(board, {:pool, _name} = pool), do: Board.group(board, pool)
  defp node(board, {:agent, id}), do: with({node, _pid, _condition} <- Board.agent(board, id), do: node)

  defp shown({:agent, id}, {state, age, _counts, probes, pulse}, board) do
    %{state: state, since: ms(age), probes: Enum.map(probes, &probe(&1, id, board)), busy: busy(pulse, id, board)}
  end

  defp shown(_group, {state, age, counts, _probes, _pulse}, _board),
    do: %{state: state, since: ms(age), members: members(counts)}

  defp probe({id, verdict, age}, agent, board) do
    {name, kind} = Config.named(Board.config(board), id)
    %{name: name, kind: kind, verdict: verdict, since: ms(age), evidence: Board.evidence(board, agent, id)}
  end

  defp busy({since, over}, id, board) do
    {_node, pid, _condition} = Board.agent(board, id) || {nil, nil, nil}
    %{for: since, over: over, waits_for: whom(Waits.for_whom(Board.waits(board), pid))}
  end

  defp busy(_none_or_idle, _id, _board), do: nil

  defp whom({:outside, _until}), do: :outside
  defp whom(pid_or_nil), do: pid_or_nil

  defp at_risk(instance, of) do
    Instances.reading(instance, fn _rows, book ->
      case of do
        :instance -> Risks.count(book, nil)
        {:domain, name} -> Risks.count(book, name)
        {:pool, _name} = pool -> Risks.count(book, pool)
        {:agent, id} -> for {sign, risk} <- Risks.of(book, id), do: risk(sign, risk)
      end
    end)
  end

  defp risk(sign, %{since: since} = risk),
    do: Map.merge(risk, %{sign: sign, since: System.monotonic_time(:millisecond) - since})

  defp ms(ns), do: div(ns, 1_000_000)

  @doc """
  Changes options while it runs, all but `:samplers`; they hold until the instance ends. `:probes` replaces all probes. Raises
  `ArgumentError` on a bad one.

      :ok = Kantoku.Health.configure(MyApp.Agents, restart: false)
  """
  @spec configure(instance :: atom, keyword) :: :ok | {:error, Error.t()}
  def configure(instance, changes) do
    _ = Config.change!(Config.new!([]), changes)

    Instances.reading(instance, fn _rows, book ->
      case Board.rounds(book) do
        nil ->
          {:error, Error.new(:not_found, health: {instance, :instance})}

        rounds ->
          instance |> ask(rounds, {:configure, changes}) |> Telemetry.options_changed(instance, :health, changes)
      end
    end)
  end

  defp ask(instance, rounds, request) do
    GenServer.call(rounds, request, :infinity)
  catch
    :exit, _gone -> {:error, Error.new(:restarting, health: {instance, :instance}, retry_in: 50)}
  end
end

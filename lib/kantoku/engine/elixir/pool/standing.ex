defmodule Kantoku.Engine.Elixir.Pool.Standing do
  # Who is out of service, for how long and why: ejected by what its requests came to, or by hand; not ready by a probe; and the panic
  # in which all of that is ignored. What is held against a worker is held against its member, so a successor inherits it; but who
  # was told to leave is forgotten. Serves nobody: whoever changes something here serves who waits.
  #
  #   E1. Who is out is given nothing new, but in a panic; what it has it finishes.
  #   E2. No more are ejected by what was counted than `max_ejection_percent` of those that stay, but one may be where there are two.
  #   E3. There is a panic when, and only when, fewer than `healthy_panic_threshold` percent of those that stay, being two at
  #       least, are in.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.{Ejection, SlowStart, State, Toll, Workers}

  @enforce_keys [:swept]
  defstruct @enforce_keys ++ [records: %{}, left_behind: %{}, held_back: 0]

  @typedoc "What is held against a member: `out` is until when (ns), and whether that is enforced."
  @type held :: %{
          times: non_neg_integer,
          cause: Kantoku.Engine.Pools.Standing.cause(),
          since: integer,
          out: nil | {until :: integer | :infinity, enforced :: boolean}
        }

  @type t :: %__MODULE__{
          swept: integer,
          records: %{non_neg_integer => held},
          left_behind: %{non_neg_integer => {failures :: non_neg_integer, age :: non_neg_integer}},
          held_back: non_neg_integer
        }

  @ms 1_000_000

  @spec new(integer) :: t
  def new(now), do: %__MODULE__{swept: now}

  # What requests came to ------------------------------------------------------------------------------------------------

  @spec succeeded(State.t(), pid) :: State.t()
  def succeeded(state, pid), do: %{state | workers: Workers.toll(state.workers, pid, &Toll.succeeded/1)}

  @spec failed(State.t(), pid, integer) :: State.t()
  def failed(state, pid, now) do
    judge_row(%{state | workers: Workers.toll(state.workers, pid, &Toll.failed/1)}, pid, now)
  end

  defp judge_row(%{config: %{ejection: nil}} = state, _pid, _now), do: state

  # 0 failures are never too many.
  defp judge_row(%{config: %{ejection: rules}} = state, pid, now) do
    count = Workers.fetch(state.workers, pid).toll.consecutive
    most = rules.consecutive_failures

    if most > 0 and count >= most,
      do: put_out_by(state, {pid, {:consecutive_failures, count}}, now),
      else: state
  end

  @doc "A worker dies, with so many requests that somebody waits for: what it leaves behind its successor has."
  @spec bequeath(State.t(), map, non_neg_integer) :: State.t()
  def bequeath(%{config: %{ejection: nil}} = state, _worker, _failures), do: state
  def bequeath(state, %{state: :leaving}, _failures), do: state

  def bequeath(state, worker, failures),
    do: hold(state, :left_behind, &Map.put(&1, worker.member, {worker.toll.consecutive + failures, 0}))

  @doc "A worker has come: what is held against its member is held against it."
  @spec inherit(State.t(), pid, non_neg_integer, integer) :: State.t()
  def inherit(state, pid, member, now) do
    {{row, _age}, left_behind} = Map.pop(state.standing.left_behind, member, {0, 0})
    workers = Workers.toll(state.workers, pid, &%{&1 | consecutive: row})
    workers = if match?(%{fresh: true}, workers.slow_start), do: Workers.grow(workers, pid, now), else: workers
    state = hold(%{state | workers: workers}, :left_behind, fn _before -> left_behind end)

    case out(state, member) do
      nil -> judge_row(state, pid, now)
      {_until, enforced} -> put_aside(state, pid, :ejected, enforced)
    end
  end

  @doc "Nothing is held against who was told to leave."
  @spec forgive(State.t(), pid, non_neg_integer) :: State.t()
  def forgive(state, pid, member) do
    workers = state.workers |> Workers.set_aside(pid, :ejected, false) |> Workers.set_aside(pid, :shut, false)
    state = %{state | workers: workers}
    state |> hold(:records, &Map.delete(&1, member)) |> hold(:left_behind, &Map.delete(&1, member))
  end

  # Time -----------------------------------------------------------------------------------------------------------------

  @doc "Lets in whose time is over, and judges when an interval is over."
  @spec review(State.t(), integer) :: State.t()
  def review(state, now) do
    due = for {member, %{out: {until, _enforced}}} <- state.standing.records, until <= now, do: member
    state = due |> Enum.sort() |> Enum.reduce(state, &elem(let_in(&2, &1, now), 1))
    state = %{state | workers: Workers.ripen(state.workers, &SlowStart.part(&1, &2, now))}
    if over?(state, now), do: sweep(state, now), else: state
  end

  defp over?(%{config: %{ejection: nil}}, _now), do: false
  defp over?(%{config: %{ejection: rules}, standing: standing}, now), do: now - standing.swept >= rules.interval * @ms

  defp sweep(%{config: %{ejection: rules}, standing: %{swept: before}} = state, now) do
    state = %{state | standing: pardon(%{state.standing | swept: now}, before)}
    tolls = for worker <- staying(state), out(state, worker.member) == nil, do: {worker.pid, worker.toll}
    verdicts = Ejection.by_success_rate(rules, tolls) ++ slow(state, tolls)
    state = Enum.reduce(verdicts, state, &put_out_by(&2, &1, now))
    %{state | workers: Workers.tolls(state.workers, &Toll.begin/1)}
  end

  # Who gets which key is no chance, so neither is how long it takes.
  defp slow(%{config: %{strategy: :hash}}, _tolls), do: []
  defp slow(%{config: %{ejection: rules}}, tolls), do: Ejection.by_latency(rules, tolls)

  # Who was in all through the interval counts one ejection less.
  defp pardon(standing, before) do
    records =
      for {member, held} <- standing.records,
          held = pardoned(held, before),
          held.out != nil or held.times > 0 or held.since > before,
          into: %{},
          do: {member, held}

    left_behind = for {member, {row, 0}} <- standing.left_behind, into: %{}, do: {member, {row, 1}}
    %{standing | records: records, left_behind: left_behind}
  end

  defp pardoned(%{out: nil, since: since, times: times} = held, before) when since <= before,
    do: %{held | times: max(times - 1, 0)}

  defp pardoned(held, _before), do: held

  # Out and in -------------------------------------------------------------------------------------------------------------

  # By what was counted, if not too many are out (E2).
  defp put_out_by(%{config: %{ejection: rules}} = state, {pid, cause}, now) do
    worker = Workers.fetch(state.workers, pid)

    cond do
      worker.state == :leaving or out(state, worker.member) != nil ->
        state

      Enum.count(state.standing.records, &out?/1) < Ejection.most(rules, length(staying(state))) ->
        judged(state, worker, cause, now)

      true ->
        %{state | standing: %{state.standing | held_back: state.standing.held_back + 1}}
    end
  end

  defp out?({_member, held}), do: held.out != nil

  defp judged(%{config: %{ejection: rules}} = state, worker, cause, now) do
    times = times(state, worker.member) + 1
    {jitter, workers} = Workers.jitter(state.workers, rules.max_ejection_time_jitter * @ms)
    until = now + Ejection.length(rules, times) * @ms + jitter
    put_out(%{state | workers: workers}, worker, cause, {until, rules.enforced}, times, now)
  end

  defp put_out(state, %{pid: pid, member: member}, cause, {_until, enforced} = out, times, now) do
    %{state | workers: Workers.grown(state.workers, pid)}
    |> hold(:records, &Map.put(&1, member, %{times: times, cause: cause, since: now, out: out}))
    |> State.tell_foreman({:ejected, pid, member})
    |> put_aside(pid, :ejected, enforced)
  end

  @doc "Ejects a worker by hand, for so many ms; whether there is one of that number."
  @spec eject(State.t(), non_neg_integer, pos_integer | :infinity, integer) :: {:ok | :none, State.t()}
  def eject(state, member, ms, now) do
    case Workers.holder(state.workers, member) do
      %{state: :ready} = worker ->
        until = if ms == :infinity, do: :infinity, else: now + ms * @ms
        {:ok, put_out(state, worker, :by_hand, {until, true}, times(state, member), now)}

      _none_that_stays ->
        {:none, state}
    end
  end

  @doc "Lets an ejected worker in again; whether it was out."
  @spec let_in(State.t(), non_neg_integer, integer) :: {:ok | :none, State.t()}
  def let_in(state, member, now) do
    case state.standing.records do
      %{^member => %{out: {_until, enforced}} = held} ->
        state = hold(state, :records, &Map.put(&1, member, %{held | out: nil, since: now}))
        {:ok, state |> State.tell_foreman({:returned, member}) |> back(member, enforced, now)}

      _not_out ->
        {:none, state}
    end
  end

  defp back(state, member, enforced, now) do
    case Workers.holder(state.workers, member) do
      %{state: :ready, pid: pid} ->
        workers = Workers.toll(state.workers, pid, fn _before -> %Toll{} end)
        workers = if enforced, do: Workers.grow(workers, pid, now), else: workers
        put_aside(%{state | workers: workers}, pid, :ejected, false)

      _dead_or_leaving ->
        state
    end
  end

  @doc "Sets a worker aside for a reason, or not any more."
  @spec put_aside(State.t(), pid, :ejected | :shut, boolean) :: State.t()
  def put_aside(state, pid, why, aside), do: feel(%{state | workers: Workers.set_aside(state.workers, pid, why, aside)})

  # Panic --------------------------------------------------------------------------------------------------------------------

  @doc "Looks whether there is a panic (E3), after any change of who stays and who is aside."
  @spec feel(State.t()) :: State.t()
  def feel(%{config: config, workers: workers} = state) do
    staying = staying(state)
    healthy = Enum.count(staying, &(not (&1.ejected or &1.shut)))
    panic = length(staying) > 1 and healthy * 100 < config.healthy_panic_threshold * length(staying)

    if panic == workers.panic,
      do: state,
      else: State.tell_foreman(%{state | workers: Workers.set_panic(workers, panic)}, {:panic, panic})
  end

  # Configuration ------------------------------------------------------------------------------------------------------------

  @doc "Other rules: who was ejected by ones that do not hold any more is let in."
  @spec judge_anew(State.t(), before :: Kantoku.Engine.Pools.config(), integer) :: State.t()
  def judge_anew(state, before, now) do
    state = if enforced(before) == enforced(state.config), do: state, else: anew(state, now)
    feel(state)
  end

  defp enforced(%{ejection: nil}), do: nil
  defp enforced(%{ejection: rules}), do: rules.enforced

  defp anew(%{standing: standing} = state, now) do
    judged = for {member, %{out: out, cause: cause}} <- standing.records, out != nil, cause != :by_hand, do: member
    state = %{state | standing: %{standing | swept: now, left_behind: %{}}}
    state = %{state | workers: Workers.tolls(state.workers, fn _before -> %Toll{} end)}
    judged |> Enum.sort() |> Enum.reduce(state, &elem(let_in(&2, &1, now), 1))
  end

  # Looking --------------------------------------------------------------------------------------------------------------------

  @doc "As `c:Kantoku.Engine.Pools.pool_ejections/2`."
  @spec list(State.t(), integer) :: [tuple]
  def list(%{standing: %{records: records}, workers: workers} = state, now) do
    known = for {member, held} <- records, do: told(state, member, held, now)

    fresh =
      for %{grows: since, member: member} = worker when since != nil <- Workers.all(workers),
          not is_map_key(records, member),
          do: {member, :growing, nil, div(now - since, @ms), nil, 0, percent(workers, worker, now)}

    Enum.sort(known ++ fresh)
  end

  defp told(%{workers: workers}, member, held, now) do
    worker = Workers.holder(workers, member)
    since = div(now - held.since, @ms)
    {member, state(held.out, worker), held.cause, since, left(held.out, now), held.times, percent(workers, worker, now)}
  end

  defp state({_until, true}, _worker), do: :ejected
  defp state({_until, false}, _worker), do: :observed
  defp state(nil, %{grows: since}) when since != nil, do: :growing
  defp state(nil, _worker), do: :in

  defp left(nil, _now), do: nil
  defp left({:infinity, _enforced}, _now), do: :infinity
  defp left({until, _enforced}, now), do: div(max(until - now, 0) + @ms - 1, @ms)

  defp percent(_workers, nil, _now), do: 100
  defp percent(workers, worker, now), do: trunc(SlowStart.part(workers, worker, now) * 100.0)

  # In order of member.
  defp staying(state), do: for(%{state: :ready} = worker <- Workers.all(state.workers), do: worker)

  defp out(state, member) do
    case state.standing.records do
      %{^member => held} -> held.out
      _nothing -> nil
    end
  end

  defp times(state, member), do: Map.get(state.standing.records, member, %{times: 0}).times

  defp hold(state, what, change), do: %{state | standing: Map.update!(state.standing, what, change)}
end

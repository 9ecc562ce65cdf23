defmodule Kantoku.Health.Rounds do
  # Looks at every agent of an instance once a period, in slices with pauses between them: who is there, who is down, who is at work
  # beyond its limit, who waits in a circle. It writes the board and reports to the engine. It asks no agent, and looks at none that might
  # hold it up: samplers do that. No call passes through it.
  #
  # H1  Each agent that has a row is a node below its domain's, as the process that it is, at the latest a period after; and no
  #     other is. So a round may pass over who is up since before the last one began: that one saw it, or noted it as unsettled.
  # H2  Nothing is held against an agent that was found before our own clock was looked at, if that shows a gap.
  @moduledoc false
  use GenServer

  alias Kantoku.Engine.Health
  alias Kantoku.Health.{Action, Board, Clock, Config, Entering, Lookout, Sampler, Waits, Witness}
  alias Kantoku.{Instances, Telemetry}

  # Rows a slice; some hundred microseconds.
  @slice 250

  # Places of the engine's tree that one call looks at.
  @places 1_000

  # What an agent shows by itself is the probe of this id.
  @passive 0

  @enforce_keys [:instance, :rows, :book, :board, :samplers, :clock]
  defstruct @enforce_keys ++
              [
                walk: nil,
                timer: nil,
                pause: 0,
                due: 0,
                began: nil,
                last: nil,
                lag: 0,
                again: [],
                flagged: %{},
                circles: %{}
              ]

  @spec start_link({atom, :ets.tid()}) :: GenServer.on_start()
  def start_link({instance, board}), do: GenServer.start_link(__MODULE__, {instance, board})

  @impl true
  def init({instance, board}) do
    {rows, book} = Instances.tables!(instance)
    Board.seat_rounds(book, self())
    config = Board.config(board)
    # Linked, so that they and what they have in hand begin anew together.
    samplers = for _ <- 1..config.samplers, {:ok, pid} <- [Sampler.start_link(nil)], do: pid

    state = %__MODULE__{
      instance: instance,
      rows: rows,
      book: book,
      board: board,
      samplers: List.to_tuple(samplers),
      clock: Clock.new(config.period, now())
    }

    {:ok, state, {:continue, :begin}}
  end

  # The engine knows the instance since before this was started; the tree's top may be there from a predecessor.
  @impl true
  def handle_continue(:begin, state) do
    Entering.group(state.instance, state.book, state.board, nil)
    Entering.have_asked(context(state))
    # Who was started before this is not to wait to be asked.
    {:noreply, %{state | timer: :erlang.start_timer(0, self(), :step)}}
  end

  @impl true
  def handle_info({:timeout, timer, :step}, %{timer: timer} = state) do
    state = state |> tick() |> step() |> pause()
    # Between two rounds it does not keep what it needed for all agents of one.
    if state.walk, do: {:noreply, state}, else: {:noreply, state, :hibernate}
  end

  def handle_info({:sampled, found, lag}, state) do
    state = tick(state)
    # Who says itself how it is by now is not judged by what was seen before.
    for {node, pid, outcome, evidence} <- found,
        Entering.silent?(state.instance, node),
        do: report(state, node, pid, outcome, evidence)

    {:noreply, %{state | lag: max(state.lag, lag)}}
  end

  # Who was in a circle half a period ago, and is in the same calls, has not got on.
  def handle_info(:look_at_circles, state) do
    state = tick(state)
    circles = Waits.cycles(Board.waits(state.board))
    still = same(circles, state.circles)
    stuck = if still == %{}, do: [], else: at_work(state.instance, 0, 0, [])
    {:noreply, found_ill(state, for({_, pid, _, _} = agent <- stuck, is_map_key(still, pid), do: agent), still)}
  end

  # It is shut out until it is asked, which is not to wait for the next round.
  def handle_info({:look_at, id}, state) do
    {:noreply, look(state, for(seen <- [Entering.one(state.rows, id)], seen, do: seen))}
  end

  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def handle_call({:configure, changes}, _from, state) do
    before = Board.config(state.board)
    config = Config.change!(before, changes)
    Board.put_config(state.book, state.board, config)
    if {config.rule, config.probes} != {before.rule, before.probes}, do: apply_to_all(context(state))
    Lookout.reconsider(state.book)
    # What was to come next may be an hour away.
    :erlang.cancel_timer(state.timer)
    {:reply, :ok, pause(%{state | due: now() + config.period, clock: Clock.new(config.period, now())})}
  end

  defp apply_to_all(context) do
    Entering.reconfigure(context)
    Entering.have_asked(context)
  end

  defp tick(state) do
    {gap?, clock} = Clock.tick(state.clock, now(), state.pause)
    if gap?, do: Telemetry.emit(state.instance, [:health, :gap], %{}, %{})
    %{state | clock: clock}
  end

  # A round begins a period after the one before; its slices, if it has any, take no more than that.
  defp pause(%{walk: nil, due: due} = state), do: pause(state, max(due - now(), 1))

  defp pause(%{rows: rows, board: board} = state) do
    slices = div(:ets.info(rows, :size), @slice) + 1
    pause(state, max(div(Board.config(board).period, slices + 1), 1))
  end

  defp pause(state, pause) do
    %{state | pause: pause, timer: :erlang.start_timer(pause, self(), :step)}
  end

  # Walking ----------------------------------------------------------------------------------------------------------------

  defp step(%{walk: nil, rows: rows} = state) do
    :ets.safe_fixtable(rows, true)
    due = now() + Board.config(state.board).period
    state = %{state | due: due, last: state.began, began: System.monotonic_time(), lag: 0}
    slice(Entering.first(rows, state.last, @slice), unsettled(state))
  end

  defp step(%{walk: walk} = state), do: slice(Entering.next(walk), state)

  defp slice(:"$end_of_table", %{rows: rows} = state) do
    :ets.safe_fixtable(rows, false)
    finish(%{state | walk: nil})
  end

  defp slice({found, walk}, state) do
    look(%{state | walk: walk}, found)
  end

  # What was between two states when it was looked at last may be up since before that by now.
  defp unsettled(%{rows: rows, again: again} = state),
    do: look(%{state | again: []}, for(id <- Enum.uniq(again), seen = Entering.one(rows, id), do: seen))

  defp look(state, seen) do
    context = context(state)
    {again, looks} = seen |> Enum.flat_map(&Entering.look(context, &1)) |> Enum.split_with(&match?({:again, _id}, &1))
    sample(looks, state)
    %{state | again: for({:again, id} <- again, do: id) ++ state.again}
  end

  defp context(state), do: {state.instance, state.rows, state.book, state.board, Board.config(state.board)}

  defp sample([], _state), do: :ok

  defp sample(looks, %{samplers: samplers, board: board}) do
    period = Board.config(board).period

    looks
    |> Enum.group_by(fn {node, _pid, _limit} -> rem(node, tuple_size(samplers)) end)
    |> Enum.each(fn {at, looks} -> Sampler.look(elem(samplers, at), looks, period) end)
  end

  # At the end of a round -----------------------------------------------------------------------------------------------------

  defp finish(%{instance: instance, board: board} = state) do
    config = Board.config(board)
    at_work = at_work(instance, div(config.period, 10), 0, [])
    circles = Waits.cycles(Board.waits(board))
    # After what was found, and before it is held against anybody.
    state = state |> tick() |> judge(at_work, circles, config)
    agents = :ets.info(state.rows, :size)
    forget(state, if(Board.size(board) > agents, do: Entering.sweep(context(state)), else: []))
    measurements = %{duration: System.monotonic_time() - state.began, agents: agents, lag: state.lag}
    Telemetry.emit(instance, [:health, :round], measurements, %{})
    state
  end

  defp forget(_state, []), do: :ok
  defp forget(state, gone), do: state.samplers |> Tuple.to_list() |> Enum.each(&Sampler.forget(&1, gone))

  defp at_work(instance, least, cursor, found) do
    case Health.health_look(instance, cursor, @places, least, nil) do
      {more, :done} -> more ++ found
      {more, next} -> at_work(instance, least, next, more ++ found)
      :unknown -> found
    end
  end

  # A call that stands in the same circle for a second time has not got on; that is seen half a period later at the latest.
  defp judge(state, at_work, circles, config) do
    still = same(circles, state.circles)
    if map_size(still) < map_size(circles), do: Process.send_after(self(), :look_at_circles, div(config.period, 2))
    after_it = found_ill(%{state | flagged: %{}}, at_work, still, state.flagged)

    for {node, {pid, _outcome, _evidence}} <- state.flagged,
        not is_map_key(after_it.flagged, node),
        do: report(state, node, pid, :success, nil)

    %{after_it | circles: circles}
  end

  defp same(circles, before), do: for({pid, call} <- circles, before[pid] == call, into: %{}, do: {pid, call})

  defp found_ill(state, at_work, still), do: found_ill(state, at_work, still, state.flagged)

  defp found_ill(state, at_work, still, before) do
    config = Board.config(state.board)

    ill =
      for {node, _, _, _} = agent <- at_work,
          verdict = verdict(agent, still, config, state),
          into: %{},
          do: {node, verdict}

    for {node, {pid, outcome, evidence}} <- ill,
        do: report(state, node, pid, outcome, remembered(state, before, node, pid, evidence))

    %{state | flagged: Map.merge(state.flagged, ill)}
  end

  # What was seen of it when it was found stuck is not seen again.
  defp remembered(state, before, node, pid, evidence) do
    with %{^node => {^pid, :failure, _evidence}} <- before,
         {:ok, id} <- Board.agent_of(state.board, state.instance, node, pid),
         %{} = known <- Board.evidence(state.board, id, @passive) do
      known |> Map.take([:doing, :at]) |> Map.merge(evidence)
    else
      _new -> evidence
    end
  end

  defp verdict({_node, pid, since, over}, still, config, state) do
    cond do
      is_map_key(still, pid) ->
        {pid, :failure, %{busy_for: since, waits_for: Waits.for_whom(Board.waits(state.board), pid)}}

      over != nil and over > 0 ->
        {pid, :failure, %{busy_for: since, over: over}}

      over == nil and since > config.period ->
        {pid, :unknown, %{busy_for: since, limit: nil}}

      true ->
        nil
    end
  end

  defp report(%{board: board, instance: instance} = state, node, pid, outcome, evidence) do
    with {:ok, id} <- Board.agent_of(board, instance, node, pid) do
      unless outcome == :failure and Clock.grace?(state.clock, now()),
        do: held(instance, board, {id, node, pid}, outcome, evidence)
    end
  end

  defp held(instance, board, {id, node, _pid} = agent, outcome, evidence) do
    Board.put_evidence(board, id, @passive, evidence)

    case Board.told(Health.health_report(instance, node, @passive, outcome, nil), instance, board, {id, node}) do
      {before, :failing} when outcome == :failure -> act(instance, board, agent, evidence, before != :failing)
      _other -> false
    end
  end

  # Who is found beyond its limit is looked at first; a circle, or who stands still as samplers saw, tells all by itself. Once more only
  # if something is still to be done about it.
  defp act(instance, board, agent, %{over: _over} = evidence, new?) do
    config = Board.config(board)

    if new? or config.restart,
      do: Witness.examine(instance, board, agent, {@passive, :passive}, evidence, config.period)
  end

  defp act(instance, board, agent, evidence, _new?), do: Action.restart(instance, board, agent, :passive, evidence)

  defp now, do: System.monotonic_time(:millisecond)
end

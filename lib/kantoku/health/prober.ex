defmodule Kantoku.Health.Prober do
  # Asks agents, as probes say: when it is time, in a process for each question, so many at once. It waits for nobody; what is late is killed
  # and a failure. What was found goes to the engine, and what follows from that to who acts. Looks at nobody by itself.
  #
  # P1  An agent is asked one question of a probe at a time, and none while its startup probe has not passed but that.
  # P2  What took a period longer than it may tells of a gap in our own time, and is asked again.
  @moduledoc false
  use GenServer

  alias Kantoku.Domain.Rows
  alias Kantoku.Engine.Health
  alias Kantoku.Health.{Action, Board, Gate, Lookout}
  alias Kantoku.{Degradation, Instances, Probe}
  alias Kantoku.Metrics.{Own, Whose}

  require Rows

  # Who passes is asked once in so many periods, if that is enough.
  @stretch 4

  @enforce_keys [:instance, :rows, :book, :board]
  defstruct @enforce_keys ++ [agents: %{}, monitors: %{}, asked: %{}, counts: %{}, waiting: :queue.new()]

  @spec start_link({atom, :ets.tid()}) :: GenServer.on_start()
  def start_link({instance, board}), do: GenServer.start_link(__MODULE__, {instance, board})

  @doc "An agent is to be asked by these probes, in place of those before; by none, not any more."
  @spec ask(:ets.tid(), {term, Health.node_handle(), pid}, [Probe.t()]) :: :ok
  def ask(book, agent, probes) do
    with pid when is_pid(pid) <- Board.prober(book), do: GenServer.cast(pid, {:ask, agent, probes})
    :ok
  end

  @impl true
  def init({instance, board}) do
    {rows, book} = Instances.tables!(instance)
    Board.seat_prober(book, self())
    {:ok, %__MODULE__{instance: instance, rows: rows, book: book, board: board}}
  end

  # Whom ---------------------------------------------------------------------------------------------------------------------

  @impl true
  def handle_cast({:ask, {_id, node, _pid}, []}, state), do: {:noreply, drop(state, node)}

  def handle_cast({:ask, {id, node, pid}, probes}, state) do
    state = drop(state, node)
    monitor = Process.monitor(pid)
    epoch = make_ref()
    whose = Whose.of(state.rows, id)
    agent = %{id: id, pid: pid, epoch: epoch, monitor: monitor, probes: probes, verdicts: verdicts(state, node)}
    agent = Map.put(agent, :whose, whose)
    state = %{state | agents: Map.put(state.agents, node, agent), monitors: Map.put(state.monitors, monitor, node)}
    state = Enum.reduce(probes, state, &count(&2, &1, 1))
    for probe <- probes, do: schedule({node, epoch, probe.id}, probe.initial_delay + jitter(probe, probe.initial_delay))
    {:noreply, gate(state, node, nil)}
  end

  # What is known from before: of a predecessor, or of other probes.
  defp verdicts(%{instance: instance}, node) do
    case Health.health_status(instance, node, nil) do
      {_state, _age, _counts, probes, _pulse} -> Map.new(probes, fn {id, verdict, _age} -> {id, verdict} end)
      _gone -> %{}
    end
  end

  defp drop(%{agents: agents} = state, node) do
    case Map.pop(agents, node) do
      {nil, _agents} ->
        state

      {agent, agents} ->
        Process.demonitor(agent.monitor, [:flush])
        state = %{state | agents: agents, monitors: Map.delete(state.monitors, agent.monitor)}
        Enum.reduce(agent.probes, state, &count(&2, &1, -1))
    end
  end

  defp count(state, probe, by), do: %{state | counts: Map.update(state.counts, probe.id, by, &(&1 + by))}

  # When ---------------------------------------------------------------------------------------------------------------------

  defp schedule(due, ms), do: Process.send_after(self(), {:due, due}, ms)

  # Who started together is not asked together: at first within a tenth of a period, if it need not wait anyway.
  defp jitter(_probe, 0), do: 0
  defp jitter(%{period: period}, _delay), do: :rand.uniform(div(period, 10) + 1) - 1

  defp again(probe, verdict, state), do: stretched(probe, verdict, state) - jitter(probe, 1)

  # Those that pass may be asked more seldom when something else is short.
  defp stretched(%{sample: sample} = probe, {:success, _why}, state) when sample != :adaptive,
    do: if(Degradation.Notes.sheds?(state.book, :sampling), do: @stretch, else: 1) * sampled(probe, state)

  defp stretched(%{sample: :adaptive, period: period}, {:success, _why}, _state), do: period * @stretch
  defp stretched(probe, _ill_or_unknown, state), do: sampled(probe, state)

  defp sampled(%{sample: {:sample, count}, period: period, id: id}, %{counts: counts}),
    do: period * max(1, div(counts[id] + count - 1, count))

  defp sampled(%{period: period}, _state), do: period

  @impl true
  def handle_info({:due, {node, epoch, id} = due}, state) do
    case state.agents do
      %{^node => %{epoch: ^epoch} = agent} -> {:noreply, come_to(state, due, agent, probe(agent, id))}
      %{} -> {:noreply, state}
    end
  end

  def handle_info({:late, ref}, state) do
    with %{^ref => %{asker: asker}} <- state.asked, do: Process.exit(asker, :kill)
    {:noreply, state}
  end

  def handle_info({:DOWN, ref, :process, _pid, reason}, state) do
    case Map.pop(state.asked, ref) do
      {nil, _asked} -> {:noreply, if(node = state.monitors[ref], do: drop(state, node), else: state)}
      {question, asked} -> {:noreply, answered(%{state | asked: asked}, question, reason) |> next()}
    end
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp probe(agent, id), do: Enum.find(agent.probes, &(&1.id == id))

  defp come_to(state, due, agent, probe) do
    if now?(probe, agent), do: queue(state, due), else: later(state, due, probe, {:unknown, nil})
  end

  # P1
  defp now?(probe, agent), do: started?(agent) != (probe.kind == :startup)

  defp started?(%{probes: probes, verdicts: verdicts}),
    do: Enum.all?(probes, &(&1.kind != :startup or verdicts[&1.id] == :passing))

  defp later(state, due, probe, found) do
    schedule(due, max(again(probe, found, state), 1))
    state
  end

  # Asking -------------------------------------------------------------------------------------------------------------------

  defp queue(state, due) do
    if map_size(state.asked) < Board.config(state.board).max_probes,
      do: question(state, due),
      else: %{state | waiting: :queue.in(due, state.waiting)}
  end

  defp next(state) do
    case :queue.out(state.waiting) do
      {{:value, due}, waiting} -> question(%{state | waiting: waiting}, due)
      {:empty, _waiting} -> state
    end
  end

  defp question(state, {node, epoch, id} = due) do
    case state.agents do
      %{^node => %{epoch: ^epoch, pid: pid} = agent} ->
        probe = probe(agent, id)
        {asker, ref} = spawn_monitor(fn -> exit({:found, ask(probe, pid)}) end)
        timer = Process.send_after(self(), {:late, ref}, probe.timeout)
        asked = %{due: due, probe: probe, asker: asker, since: now(), timer: timer}
        %{state | asked: Map.put(state.asked, ref, asked)}

      %{} ->
        next(state)
    end
  end

  # How long it took is what it took there, not until this came to it.
  defp ask(probe, pid) do
    since = now()
    {Probe.ask(probe, pid), now() - since}
  end

  # Also if we came too late to kill it.
  defp in_time({_found, took}, %{timeout: timeout}) when took > timeout, do: {{:failure, :timeout}, took}
  defp in_time(found_and_took, _probe), do: found_and_took

  defp found({:found, found_and_took}, _since), do: found_and_took
  defp found(:killed, since), do: {{:failure, :timeout}, now() - since}
  defp found(reason, since), do: {{:failure, {:exit, reason}}, now() - since}

  defp answered(state, %{due: {node, epoch, _id} = due, probe: probe} = question, reason) do
    # Of no interest is whether it was in time, which would have to be waited for.
    Process.cancel_timer(question.timer, async: true, info: false)
    {found, took} = reason |> found(question.since) |> in_time(probe)
    gap? = took > probe.timeout + probe.period

    case state.agents do
      %{^node => %{epoch: ^epoch}} when gap? ->
        later(state, due, probe, {:unknown, nil})

      %{^node => %{epoch: ^epoch} = agent} ->
        if match?({:success, _why}, found), do: Lookout.answered(state.book, {agent.id, agent.pid}, probe, took)
        state |> report(node, probe, found) |> later(due, probe, found)

      %{} ->
        state
    end
  end

  # What follows ---------------------------------------------------------------------------------------------------------------

  defp report(%{instance: instance, board: board} = state, node, probe, {outcome, why}) do
    %{id: id, pid: pid, verdicts: verdicts} = agent = state.agents[node]
    Board.put_evidence(board, id, probe.id, why)
    answer = [probe: probe.name, kind: probe.kind, outcome: outcome]
    Own.count(instance, "kantoku_probe_results", agent.whose ++ answer)

    case Board.told(Health.health_report(instance, node, probe.id, outcome, nil), instance, board, {id, node}) do
      {_before, verdict} ->
        agent = %{agent | verdicts: Map.put(verdicts, probe.id, verdict)}
        state = gate(%{state | agents: Map.put(state.agents, node, agent)}, node, probe)
        if lethal?(probe, verdict, outcome), do: Action.restart(instance, board, {id, node, pid}, probe.name, why)
        state

      _gone ->
        drop(state, node)
    end
  end

  defp lethal?(%{kind: kind}, verdict, outcome),
    do: kind in [:liveness, :startup] and verdict == :failing and outcome == :failure

  # Whatever shut it, who is ready is let in, and who is not is not: also if the last one who saw to that died in the middle.
  defp gate(%{instance: instance, rows: rows, book: book} = state, node, probe) do
    %{id: id, pid: pid} = agent = state.agents[node]
    ready? = ready?(agent)

    with true <- Gate.shut?(book, id) == ready? and not Gate.renewed?(book, id),
         row when row != nil <- row_of(rows, id, pid) do
      if ready?, do: Gate.open(instance, book, row), else: Gate.shut(instance, book, row, probe && probe.name)
    end

    state
  end

  defp row_of(rows, id, pid) do
    case Rows.get(rows, id) do
      Rows.row(pid: ^pid) = row -> row
      _other -> nil
    end
  end

  defp ready?(%{probes: probes, verdicts: verdicts} = agent) do
    started?(agent) and
      Enum.all?(probes, &(&1.kind != :readiness or verdicts[&1.id] in [:passing, :unknown]))
  end

  defp now, do: System.monotonic_time(:millisecond)
end

defmodule Kantoku.Alert.Evaluator do
  # Looks at all rules of an instance, again and again, one rule a message, and puts what changes in the lines of the sinks. It waits for
  # nobody. Knows no way to deliver.
  #
  # E1  What is to be told is in the line of each sink before the alert says so: whoever dies in between, it is told twice rather than
  #     never.
  # E2  Time in which we did not run is at most one interval of a rule's `for`.
  @moduledoc false
  use GenServer

  alias Kantoku.Alert
  alias Kantoku.Alert.{Board, Condition, Config, Courier, Ears, Rule, Sink, State}
  alias Kantoku.Domain.{Book, Rows}
  alias Kantoku.{Error, Instances, Telemetry}

  require Rows

  defstruct [:instance, :book, :board, :config, :last, :ref, time: 0, ears: %Ears{}, dropped: 0, told: %{}]

  @spec start_link({atom, :ets.tid(), Board.t()}) :: GenServer.on_start()
  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  @doc "Has the evaluator do something in its turn."
  @spec ask(atom, term) :: :ok | {:error, Error.t()}
  def ask(instance, request) do
    Instances.reading(instance, fn _rows, book ->
      case Book.seated(book, :alert_evaluator) do
        nil -> {:error, Error.new(:not_found, alert: {instance, elem(request, 1)})}
        pid -> call(instance, pid, request)
      end
    end)
  end

  defp call(instance, evaluator, request) do
    GenServer.call(evaluator, request, :infinity)
  catch
    :exit, _gone -> {:error, Error.new(:restarting, alert: {instance, elem(request, 1)}, retry_in: 50)}
  end

  @impl true
  def init({instance, book, board}) do
    Book.seat(book, :alert_evaluator, Book.next_epoch([]), self())
    state = %__MODULE__{instance: instance, book: book, board: board, last: clock(), time: latest(board)}
    send(self(), :round)
    {:ok, listening(%{state | config: Config.of(book)})}
  end

  # The time of who was here before goes on.
  defp latest(board),
    do: for({_key, %{seen: seen}} <- Board.alerts(board), reduce: 0, do: (latest -> max(latest, seen)))

  # Listening ----------------------------------------------------------------------------------------------------------------

  defp listening(state) do
    if state.ref, do: Telemetry.unsubscribe(state.ref)

    case state.config.rules |> Enum.flat_map(&Rule.events/1) |> Enum.uniq() do
      [] -> %{state | ref: nil}
      events -> look_for_parked(%{state | ref: subscribe(state.instance, events), dropped: 0})
    end
  end

  defp subscribe(instance, events) do
    {:ok, ref} = Telemetry.subscribe(instance, events: events)
    ref
  end

  # Those that were parked before we listened, or while there was more to hear than we could.
  defp look_for_parked(state) do
    if Enum.any?(state.config.rules, &(&1.condition == :agents_parked)), do: look_at_rows(state), else: state
  end

  defp look_at_rows(%{instance: instance} = state) do
    {rows, _book} = Instances.tables!(instance)

    ears =
      Rows.fold(rows, 500, state.ears, fn
        Rows.row(phase: :parked, id: id, domain: domain), ears -> Ears.park(ears, id, domain, state.time)
        _row, ears -> ears
      end)

    %{state | ears: ears}
  end

  defp caught_up(%{ref: nil} = state), do: state

  defp caught_up(state) do
    case Telemetry.dropped(state.ref) do
      dropped when dropped == state.dropped -> state
      dropped -> look_for_parked(%{state | dropped: dropped})
    end
  end

  # Rounds -------------------------------------------------------------------------------------------------------------------

  @impl true
  def handle_info(:round, state) do
    state = state |> pass_time() |> caught_up()
    send(self(), {:look, state.config.rules})
    {:noreply, state}
  end

  def handle_info({:look, [rule | rules]}, state) do
    send(self(), {:look, rules})
    {:noreply, if(rule in state.config.rules, do: look(state, rule), else: state)}
  end

  def handle_info({:look, []}, %{config: config} = state) do
    Process.send_after(self(), :round, config.interval)
    {:noreply, state |> remind() |> forget()}
  end

  def handle_info({:kantoku_event, ref, [:kantoku | event], _measurements, metadata}, %{ref: ref} = state) do
    Telemetry.ack(ref)
    {:noreply, %{state | ears: Ears.hear(state.ears, event, metadata, state.time + clock() - state.last)}}
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp pass_time(%{last: last, time: time, config: config} = state) do
    now = clock()
    %{state | last: now, time: time + min(now - last, 2 * config.interval)}
  end

  defp look(state, rule) do
    {readings, state} = readings(rule, state)
    readings = Map.new(readings, fn {labels, value} -> {labels(state.instance, rule, labels), value} end)
    known = state.board |> Board.alerts(rule.name) |> Map.new(fn {{_rule, labels}, alert} -> {labels, alert} end)

    for labels <- Enum.uniq(Map.keys(known) ++ Map.keys(readings)),
        do: step(state, rule, labels, known[labels], readings)

    state
  end

  defp readings(%{condition: :agents_parked}, state) do
    {readings, ears} = Ears.parked(state.ears, state.instance, state.time)
    {readings, %{state | ears: ears}}
  end

  defp readings(%{condition: {:event, event, within}}, state),
    do: {Ears.recent(state.ears, Rule.plain(event), within, state.time), state}

  defp readings(rule, state), do: {Condition.readings(state.instance, rule), state}

  defp labels(instance, rule, labels) do
    %{
      "alertname" => Condition.text(rule.name),
      "severity" => Atom.to_string(rule.severity),
      "kantoku_instance" => Condition.text(instance)
    }
    |> Map.merge(rule.labels)
    |> Map.merge(labels)
  end

  defp step(state, rule, labels, before, readings) do
    found = with %{^labels => value} <- readings, do: {:active, value}, else: (_absent -> :inactive)
    moment = %{time: state.time, at: System.system_time(:millisecond)}
    later = State.step(before, found, rule, moment)
    if change = State.change(before, later), do: tell(state, rule, labels, change, later || before)
    if later != before, do: Board.put(state.board, {rule.name, labels}, later)
  end

  defp tell(state, rule, labels, {from, to}, alert) do
    metadata = %{alert: rule.name, labels: labels, from: from, to: to, value: alert.value}
    Telemetry.emit(state.instance, [:alert, :changed], %{}, metadata)
    if to in [:firing, :resolved], do: enqueue(state, state.config.sinks, [Alert.new(rule, labels, alert)])
  end

  defp enqueue(state, sinks, alerts) do
    for sink <- sinks do
      dropped = alerts |> Enum.map(&Board.enqueue(state.board, sink, &1)) |> Enum.sum()
      if dropped > 0, do: tell_of_drops(state.instance, sink, dropped)
      Courier.wake(state.board, sink)
    end
  end

  defp tell_of_drops(instance, sink, dropped),
    do: Telemetry.emit(instance, [:alert, :dropped], %{alerts: dropped}, %{sink: sink.title, reason: :queue_full})

  # Again and again -----------------------------------------------------------------------------------------------------------

  # Alertmanager forgets what it is not told of. One that still has something in its line is told of that first.
  defp remind(state) do
    due = for sink <- state.config.sinks, due?(state, sink), Board.queued(state.board, sink.id) == 0, do: sink
    if due != [], do: enqueue(state, due, firing(state))
    %{state | told: Enum.reduce(due, state.told, &Map.put(&2, &1.id, state.time))}
  end

  defp due?(state, sink) do
    every = Sink.resend(sink)
    every != nil and state.time - Map.get(state.told, sink.id, 0) >= every
  end

  defp firing(state) do
    for rule <- state.config.rules,
        {{_rule, labels}, %{state: :firing} = alert} <- Board.alerts(state.board, rule.name),
        do: Alert.new(rule, labels, alert)
  end

  defp forget(state) do
    case for(%{condition: {:event, _event, within}} <- state.config.rules, do: within) do
      [] -> state
      spans -> %{state | ears: Ears.forget(state.ears, Enum.max(spans), state.time)}
    end
  end

  # Rules --------------------------------------------------------------------------------------------------------------------

  @impl true
  def handle_call({:put, name, rule}, _from, state) do
    {:reply, :ok, state |> drop(name) |> configured(&Config.put(&1, rule))}
  end

  def handle_call({:delete, name}, _from, state) do
    if Enum.any?(state.config.rules, &(&1.name == name)),
      do: {:reply, :ok, state |> drop(name) |> configured(&Config.delete(&1, name))},
      else: {:reply, {:error, Error.new(:not_found, alert: {state.instance, name})}, state}
  end

  defp configured(state, change) do
    config = change.(state.config)
    Config.enter(state.book, config)
    listening(%{state | config: config})
  end

  # What its rule is not asked of any more is so no more.
  defp drop(state, name) do
    moment = %{time: state.time, at: System.system_time(:millisecond)}

    for %{name: ^name} = rule <- state.config.rules,
        {{_rule, labels} = key, alert} <- Board.alerts(state.board, name) do
      later = State.step(alert, :inactive, %{rule | keep_firing_for: 0}, moment)
      if change = State.change(alert, later), do: tell(state, rule, labels, change, later || alert)
      Board.put(state.board, key, nil)
    end

    state
  end

  defp clock, do: System.monotonic_time(:millisecond)
end

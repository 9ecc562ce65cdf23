defmodule Kantoku.Alert.Courier do
  # Tells one sink what is due for it, in order, one attempt at a time. It never waits itself: an attempt is a process, which is
  # killed when it takes too long; one that failed is made again after a random time. Knows no rule.
  #
  # C1  What is due leaves the line when the sink has taken it, or refused it for good: so it is told at least once, whoever dies.
  @moduledoc false
  use GenServer

  alias Kantoku.Alert.{Board, Delivery, Sink}
  alias Kantoku.Telemetry

  require Logger

  # The bound of the wait doubles so often at most.
  @doublings 20

  # A client over HTTP has the same bound; it is to have the first word on it, in ms.
  @grace 500

  defstruct [:instance, :board, :sink, :attempt, failures: 0, waiting: false]

  @spec child_spec({atom, Board.t(), Sink.t()}) :: Supervisor.child_spec()
  def child_spec({_instance, _board, sink} = argument),
    do: %{id: {__MODULE__, sink.id}, start: {__MODULE__, :start_link, [argument]}}

  @spec start_link({atom, Board.t(), Sink.t()}) :: GenServer.on_start()
  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  @doc "Something is due."
  @spec wake(Board.t(), Sink.t()) :: term
  def wake(board, sink), do: with(pid when is_pid(pid) <- Board.courier(board, sink.id), do: send(pid, :due))

  @impl true
  def init({instance, board, sink}) do
    # Attempts are linked, so that none outlives it; how they end it hears by their monitors.
    Process.flag(:trap_exit, true)
    Board.seat(board, sink.id, self())
    {:ok, go_on(%__MODULE__{instance: instance, board: board, sink: sink})}
  end

  @impl true
  def handle_info(:due, state), do: {:noreply, go_on(state)}
  def handle_info(:again, state), do: {:noreply, go_on(%{state | waiting: false})}

  def handle_info({:late, pid}, %{attempt: {pid, _monitor, _timer, _numbers}} = state) do
    Process.exit(pid, :kill)
    {:noreply, state}
  end

  def handle_info({:DOWN, monitor, :process, _pid, reason}, %{attempt: {_, monitor, timer, numbers}} = state) do
    Process.cancel_timer(timer)
    {:noreply, ended(reason, numbers, %{state | attempt: nil})}
  end

  def handle_info(_other, state), do: {:noreply, state}

  # Attempts -----------------------------------------------------------------------------------------------------------------

  defp go_on(%{attempt: nil, waiting: false, board: board, sink: sink} = state) do
    case board |> Board.due(sink.id, Sink.batch(sink)) |> once_each() do
      [] -> state
      due -> %{state | attempt: attempt(state, due)}
    end
  end

  defp go_on(state), do: state

  # That an alert fires and that it is resolved are two things to tell, one after the other.
  defp once_each(due) do
    {_seen, first} =
      Enum.reduce_while(due, {MapSet.new(), []}, fn {_number, alert} = one, {seen, first} ->
        if alert.labels in seen,
          do: {:halt, {seen, first}},
          else: {:cont, {MapSet.put(seen, alert.labels), [one | first]}}
      end)

    Enum.reverse(first)
  end

  defp attempt(%{instance: instance, board: board, sink: sink}, due) do
    {numbers, alerts} = Enum.unzip(due)
    client = Board.client(board)
    tell = fn -> exit({:told, Delivery.attempt(sink, instance, client, alerts)}) end
    {pid, monitor} = :erlang.spawn_opt(tell, [:link, :monitor])
    {pid, monitor, Process.send_after(self(), {:late, pid}, sink.options.timeout + grace(sink)), numbers}
  end

  defp grace(%{kind: kind}), do: if(kind in [:alertmanager, :webhook], do: @grace, else: 0)

  defp ended({:told, :ok}, numbers, state) do
    Board.done(state.board, state.sink.id, numbers, :delivered)
    go_on(well_again(state))
  end

  # To tell it the same once more would be no use.
  defp ended({:told, {:refused, why}}, numbers, state) do
    dropped = Board.done(state.board, state.sink.id, numbers, :dropped)

    Logger.warning(
      "Kantoku, #{inspect(state.instance)}: #{state.sink.title} refuses #{dropped} alerts (#{inspect(why)})"
    )

    Telemetry.emit(state.instance, [:alert, :dropped], %{alerts: dropped}, %{
      sink: state.sink.title,
      reason: {:refused, why}
    })

    go_on(state)
  end

  defp ended({:told, {:error, why}}, _numbers, state), do: again(state, why)
  defp ended(:killed, _numbers, state), do: again(state, :timeout)
  defp ended(_died, _numbers, state), do: again(state, :crashed)

  defp well_again(%{failures: 0} = state), do: state

  defp well_again(state) do
    Board.failing(state.board, state.sink.id, nil)
    Logger.info("Kantoku, #{inspect(state.instance)}: #{state.sink.title} takes alerts again")
    Telemetry.emit(state.instance, [:alert, :sink_recovered], %{attempts: state.failures}, %{sink: state.sink.title})
    %{state | failures: 0}
  end

  defp again(%{sink: sink} = state, why) do
    if state.failures == 0, do: first_failure(state, why)
    Board.count(state.board, sink.id, :retried)
    wait = wait(sink.options.retry, state.failures)
    measurements = %{attempts: state.failures + 1, retry_in: wait}
    Telemetry.emit(state.instance, [:alert, :undelivered], measurements, %{sink: sink.title, reason: why})
    Process.send_after(self(), :again, wait)
    %{state | failures: state.failures + 1, waiting: true}
  end

  # Said once, however long it lasts.
  defp first_failure(%{sink: sink} = state, why) do
    Board.failing(state.board, sink.id, System.system_time(:millisecond))

    Logger.warning(
      "Kantoku, #{inspect(state.instance)}: #{sink.title} cannot be told of alerts (#{inspect(why)}); trying again"
    )
  end

  defp wait(%{base: base, cap: cap}, failures),
    do: :rand.uniform(min(cap, base * Integer.pow(2, min(failures, @doublings))))
end

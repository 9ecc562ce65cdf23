defmodule Kantoku.Telemetry.Handler do
  # Runs one handler that was given to us, or has it run by who emits, and takes it out and in again when it fails. Knows no event.
  #
  # H1  Each event that is for a handler is handled, failed at, dropped, or waits: the four counts add up to those sent since it was
  #     attached, but for what was on its way to a process of it that was killed.
  # H2  No more than `queue` wait, whatever the handler does: room is given back only after it returned.
  # H3  Who is out is called by nobody; a failure of the one turn is charged once, however many fail at the same time.
  @moduledoc false
  use GenServer

  alias Kantoku.Telemetry
  alias Kantoku.Telemetry.{Attachment, Complaint, Handlers, Registrar, Subscription}

  @type fun :: (Telemetry.name(), measurements :: map, metadata :: map, config :: term -> term)
  @typep event :: {Telemetry.name(), measurements :: map, metadata :: map}

  # Between two times that drops are told of, in ms.
  @minute 60_000

  @enforce_keys [:attachment, :counters, :ref]
  defstruct @enforce_keys ++
              [
                status: :attached,
                waiting: :queue.new(),
                past: Attachment.innocent(),
                out: nil,
                told: nil,
                drops: {0, nil}
              ]

  @spec child_spec(Attachment.t()) :: Supervisor.child_spec()
  def child_spec(attachment),
    do: %{id: attachment.id, start: {__MODULE__, :start_link, [attachment]}, shutdown: :brutal_kill}

  @spec start_link(Attachment.t()) :: GenServer.on_start()
  def start_link(attachment), do: GenServer.start_link(__MODULE__, attachment, hibernate_after: @minute)

  @doc "Attaches again one that was left out, at once."
  @spec reattach(pid) :: :ok
  def reattach(pid), do: GenServer.cast(pid, :reattach)

  @doc "Runs a handler in the calling process. Never fails for its sake."
  @spec run(Kantoku.Telemetry.Switchboard.run(), Subscription.t(), event) :: :ok
  def run({:run, pid, fun, config, counters}, ref, event) do
    case guarded(fun, config, event) do
      :ok ->
        Handlers.count(counters, :handled, 1)

      {:failed, failure} ->
        Handlers.count(counters, :failed, 1)
        if Subscription.pause(ref), do: send(pid, {:failed, ref, failure})
    end

    Subscription.give_back(ref, 1)
  end

  defp guarded(fun, config, {name, measurements, metadata}) do
    _ = fun.(name, measurements, metadata, config)
    :ok
  catch
    kind, reason -> {:failed, %{event: name, kind: kind, reason: reason, stacktrace: __STACKTRACE__}}
  end

  @impl true
  def init(attachment) do
    counters = Handlers.inherit(attachment.id)
    {:ok, subscribe(%__MODULE__{attachment: attachment, counters: counters, ref: nil})}
  end

  defp subscribe(%{attachment: attachment, counters: counters} = state) do
    run = if attachment.mode == :sync, do: {:run, self(), attachment.fun, attachment.config, counters}
    ref = Registrar.subscribe(attachment.instance, attachment.numbers, attachment.queue, run)
    Handlers.put(attachment, counters, ref)
    %{state | ref: ref, status: :attached, drops: {0, nil}}
  end

  @impl true
  def handle_info({:kantoku_event, ref, name, measurements, metadata}, %{ref: ref} = state),
    do: {:noreply, state |> take({name, measurements, metadata}) |> tell_drops()}

  def handle_info({:failed, ref, failure}, %{ref: ref} = state), do: {:noreply, fail(state, failure)}
  def handle_info({:timeout, timer, :resume}, %{out: {timer, since}} = state), do: {:noreply, resume(state, since)}

  def handle_info({:timeout, timer, :drops}, %{drops: {told, timer}} = state),
    do: {:noreply, tell_drops(%{state | drops: {told, nil}})}

  def handle_info(_late, state), do: {:noreply, state}

  @impl true
  def handle_cast(:reattach, %{status: :attached} = state), do: {:noreply, state}

  def handle_cast(:reattach, %{status: :waiting, out: {timer, since}} = state) do
    :erlang.cancel_timer(timer)
    {:noreply, resume(state, since)}
  end

  def handle_cast(:reattach, %{attachment: attachment, out: {nil, since}} = state) do
    state = subscribe(%{state | out: nil})
    Complaint.reattached(attachment.instance, attachment.id, now() - since)
    {:noreply, state}
  end

  # While it is out events wait, as far as there is room.
  defp take(%{status: :attached} = state, event), do: handle(state, event)
  defp take(state, event), do: %{state | waiting: :queue.in(event, state.waiting)}

  defp handle(%{attachment: attachment, counters: counters, ref: ref} = state, event) do
    case guarded(attachment.fun, attachment.config, event) do
      :ok ->
        Handlers.count(counters, :handled, 1)
        Subscription.give_back(ref, 1)
        state

      {:failed, failure} ->
        Handlers.count(counters, :failed, 1)
        Subscription.give_back(ref, 1)
        fail(state, failure)
    end
  end

  defp fail(%{attachment: attachment} = state, failure) do
    {action, past} = Attachment.failed(state.past, now(), attachment.policy, :rand.uniform())
    state = out(%{state | past: past}, action)
    told = Complaint.failed(attachment.instance, attachment.id, failure, action, state.told, now())
    if action == 0, do: resume(%{state | told: told}, now()), else: %{state | told: told}
  end

  defp out(state, 0), do: %{state | status: :waiting}

  defp out(%{attachment: %{id: id}} = state, delay) when is_integer(delay) do
    Handlers.put_status(id, :waiting)
    %{state | status: :waiting, out: {:erlang.start_timer(delay, self(), :resume), now()}}
  end

  defp out(state, :leave), do: leave(state, :left)
  defp out(state, :give_up), do: leave(state, :given_up)

  # Emitters are not to pay for it. What waited is lost, and what comes late is none of its subscription.
  defp leave(%{attachment: %{id: id}, ref: ref} = state, status) do
    Telemetry.unsubscribe(ref)
    Handlers.inherit(id)
    Handlers.put(state.attachment, state.counters, Subscription.new(1))
    Handlers.put_status(id, status)
    %{state | ref: nil, status: status, waiting: :queue.new(), out: {nil, now()}}
  end

  defp resume(%{attachment: attachment} = state, since) do
    Handlers.put_status(attachment.id, :attached)
    Complaint.reattached(attachment.instance, attachment.id, now() - since)
    Subscription.resume(state.ref, attachment.queue)
    %{state | status: :attached, out: nil} |> catch_up() |> tell_drops()
  end

  # It may fail again at any of them.
  defp catch_up(%{status: :attached, waiting: waiting} = state) do
    case :queue.out(waiting) do
      {{:value, event}, rest} -> %{state | waiting: rest} |> handle(event) |> catch_up()
      {:empty, _queue} -> state
    end
  end

  defp catch_up(state), do: state

  # The first at once, more of them a minute later.
  defp tell_drops(%{ref: ref, drops: {told, nil}, attachment: attachment} = state) when ref != nil do
    case Subscription.dropped(ref) do
      ^told ->
        state

      dropped ->
        timer = :erlang.start_timer(@minute, self(), :drops)
        Telemetry.emit(attachment.instance, [:handler, :dropped], %{events: dropped - told}, %{handler: attachment.id})
        %{state | drops: {dropped, timer}}
    end
  end

  defp tell_drops(state), do: state

  defp now, do: System.monotonic_time(:millisecond)
end

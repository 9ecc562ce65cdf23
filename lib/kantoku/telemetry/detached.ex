defmodule Kantoku.Telemetry.Detached do
  # Hears of handlers that `:telemetry` detached as they failed: tells of those of our events, and attaches those again that are kept. A
  # failure names no function, so that of who is kept is remembered before. On nobody's path; knows no subscription.
  @moduledoc false
  use GenServer

  alias Kantoku.Telemetry.{Attachment, Complaint, Handlers, Switchboard}

  @failure [:telemetry, :handler, :failure]

  # Until `:telemetry` is there again, in ms.
  @look 1_000

  # Handlers that are none of ours and fail under ever new names are forgotten together.
  @remembered 1_000

  defstruct told: %{}, table: nil

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Looks again whether `:telemetry` is there."
  @spec look() :: :ok
  def look, do: GenServer.cast(__MODULE__, :look)

  @doc "Keeps a handler attached that is attached now."
  @spec keep(term, Attachment.policy()) :: :ok | {:error, :not_found}
  def keep(id, policy), do: GenServer.call(__MODULE__, {:keep, id, policy})

  @doc "Does not keep it any more."
  @spec release(term) :: :ok
  def release(id), do: GenServer.call(__MODULE__, {:release, id})

  @doc false
  @spec handle_failure([atom], map, map, term) :: :ok
  def handle_failure(_event, _measurements, %{handler_id: id, event_name: event} = metadata, _config) do
    failure = metadata |> Map.take([:kind, :reason, :stacktrace]) |> Map.put(:event, event)
    if match?([:kantoku | _], event) or Handlers.kept(id) != nil, do: GenServer.cast(__MODULE__, {:failed, id, failure})
    :ok
  end

  @impl true
  def init(nil) do
    # Who was out when a predecessor ended is not waited for any longer.
    {:ok, listen(%__MODULE__{})}
  end

  # `:telemetry` may be loaded later than we are, and may end before us: with it ends what was attached.
  defp listen(state) do
    case {Switchboard.telemetry(), Process.whereis(:telemetry_handler_table)} do
      {nil, _none} -> state
      {_telemetry, nil} -> look_later(state)
      {telemetry, table} -> listen(state, telemetry, table)
    end
  end

  defp listen(state, telemetry, table) do
    # That of a predecessor is as good.
    _ok_or_there = attach(telemetry, __MODULE__, [@failure], &__MODULE__.handle_failure/4, nil)
    if table != state.table, do: Process.monitor(table)
    for {id, kept} <- Handlers.all_kept(), do: attach_again(id, kept)
    %{state | table: table}
  end

  defp look_later(state) do
    Process.send_after(self(), :look, @look)
    state
  end

  # Named at run time, as it may not be there to compile with.
  defp attach(telemetry, id, events, fun, config) do
    telemetry.attach_many(id, events, fun, config)
  catch
    :exit, _gone -> {:error, :gone}
  end

  @impl true
  def handle_call({:keep, id, policy}, _from, state) do
    case attached(id) do
      [] ->
        {:reply, {:error, :not_found}, state}

      [%{function: fun, config: config} | _] = rows ->
        kept = %{events: Enum.map(rows, & &1.event_name), fun: fun, config: config, policy: policy}
        Handlers.keep(id, Map.merge(kept, %{status: :attached, failed: 0, past: Attachment.innocent(), since: nil}))
        {:reply, :ok, state}
    end
  end

  def handle_call({:release, id}, _from, state) do
    Handlers.forget(id)
    {:reply, :ok, state}
  end

  defp attached(id) do
    case Switchboard.telemetry() do
      nil -> []
      telemetry -> Enum.filter(list(telemetry), &(&1.id == id))
    end
  end

  defp list(telemetry) do
    telemetry.list_handlers([])
  rescue
    ArgumentError -> []
  end

  @impl true
  def handle_cast(:look, state), do: {:noreply, listen(state)}

  def handle_cast({:failed, id, failure}, state) do
    action = charge(id, Handlers.kept(id))
    told = Complaint.failed(nil, id, failure, action, state.told[id], now())
    remembered = if map_size(state.told) < @remembered, do: state.told, else: %{}
    if is_integer(action), do: :erlang.start_timer(action, self(), {:reattach, id})
    {:noreply, %{state | told: Map.put(remembered, id, told)}}
  end

  defp charge(_id, nil), do: :leave

  defp charge(id, kept) do
    {action, past} = Attachment.failed(kept.past, now(), kept.policy, :rand.uniform())
    Handlers.keep(id, %{kept | past: past, status: status(action), failed: kept.failed + 1, since: now()})
    action
  end

  defp status(:leave), do: :left
  defp status(:give_up), do: :given_up
  defp status(_delay), do: :waiting

  @impl true
  def handle_info({:timeout, _timer, {:reattach, id}}, state) do
    with %{status: :waiting} = kept <- Handlers.kept(id), do: attach_again(id, kept)
    {:noreply, state}
  end

  def handle_info(:look, state), do: {:noreply, listen(state)}
  def handle_info({:DOWN, _ref, :process, _table, _reason}, state), do: {:noreply, look_later(%{state | table: nil})}
  def handle_info(_other, state), do: {:noreply, state}

  defp attach_again(_id, %{status: status}) when status in [:left, :given_up], do: :ok

  defp attach_again(id, kept) do
    with telemetry when telemetry != nil <- Switchboard.telemetry(),
         :ok <- attach(telemetry, id, kept.events, kept.fun, kept.config) do
      if kept.since, do: Complaint.reattached(nil, id, now() - kept.since)
    end

    Handlers.keep(id, %{kept | status: :attached, since: nil})
  end

  defp now, do: System.monotonic_time(:millisecond)
end

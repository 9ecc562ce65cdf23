defmodule Kantoku.Degradation.Watch do
  # Looks at memory and run queues once a period, and says which level that comes to. One for each instance: what is shed, the options and
  # the events are an instance's, and a look costs some ten microseconds. Sheds nothing itself.
  @moduledoc false
  use GenServer

  alias Kantoku.Degradation
  alias Kantoku.Degradation.{Config, Levels, Notes}
  alias Kantoku.{Instances, Telemetry}

  @enforce_keys [:instance, :book]
  defstruct @enforce_keys ++ [timer: nil, memory: Levels.new(), run_queue: Levels.new()]

  @spec start_link(atom) :: GenServer.on_start()
  def start_link(instance), do: GenServer.start_link(__MODULE__, instance)

  @impl true
  def init(instance) do
    {_rows, book} = Instances.tables!(instance)

    if Notes.config(book) do
      Notes.seat(book, self())
      # What a predecessor came to is held until this one knows better.
      held = %{Levels.new() | level: Notes.level(Notes.gauge(book))}
      {:ok, look(%__MODULE__{instance: instance, book: book, memory: held, run_queue: held})}
    else
      :ignore
    end
  end

  @impl true
  def handle_call({:configure, changes}, _from, %{book: book} = state) do
    config = Config.change!(Notes.config(book), changes)
    Notes.put_config(book, config)
    :erlang.cancel_timer(state.timer)
    {:reply, :ok, look(state)}
  end

  @impl true
  def handle_info({:timeout, timer, :look}, %{timer: timer} = state), do: {:noreply, look(state), :hibernate}
  def handle_info(_other, state), do: {:noreply, state}

  defp look(%{book: book} = state) do
    config = Notes.config(book)
    reading = read(config.reading)
    state = state |> judge(:memory, share(reading.memory), config) |> judge(:run_queue, reading.run_queue, config)
    level = min(max(state.memory.level, state.run_queue.level), config.max_level)
    enter(state, shown(reading, state), level)
    %{state | timer: :erlang.start_timer(config.period, self(), :look)}
  end

  # Of a function that is not ours nothing is expected.
  defp read(reading) do
    case reading.() do
      %{memory: {used, limit, _source}, run_queue: queue} = read
      when is_integer(used) and is_integer(limit) and limit > 0 and (is_number(queue) or queue == :unknown) ->
        read

      %{memory: :unknown, run_queue: queue} = read when is_number(queue) or queue == :unknown ->
        read

      _other ->
        %{memory: :unknown, run_queue: :unknown}
    end
  rescue
    _error -> %{memory: :unknown, run_queue: :unknown}
  end

  defp share(:unknown), do: :unknown
  defp share({used, limit, _source}), do: used * 100 / limit

  defp judge(state, what, value, config) do
    levels = Levels.next(Map.fetch!(state, what), value, Map.fetch!(config, what), config.readings)
    Map.replace!(state, what, levels)
  end

  defp shown(%{memory: memory, run_queue: queue}, state) do
    %{memory: memory(memory, state.memory), run_queue: queue(queue, state.run_queue)}
  end

  defp memory(:unknown, _levels), do: :unknown

  defp memory({used, limit, source} = memory, %{level: level}),
    do: %{used: used, limit: limit, source: source, share: share(memory), level: level}

  defp queue(:unknown, _levels), do: :unknown
  defp queue(queue, %{level: level}), do: %{per_scheduler: queue, level: level}

  # Before it is told, it holds.
  defp enter(%{instance: instance, book: book}, read, level) do
    before = Notes.level(Notes.gauge(book))
    Notes.put(book, read, level)
    for entered <- (before + 1)..level//1, do: tell(instance, :entered, entered, read)
    for left <- before..(level + 1)//-1, do: tell(instance, :left, left, read)
  end

  defp tell(instance, verb, level, read) do
    sheds = level |> Degradation.sheds() |> List.last()
    metadata = Map.merge(read, %{level: level, sheds: sheds})
    Telemetry.emit(instance, [:degradation, verb], %{level: level}, metadata)
  end
end

defmodule Kantoku.Breaker.Clerk do
  # Has the breakers of the book open in the engine: from the beginning of its instance's core, and as they are installed,
  # changed and removed, one after the other. Wakes those that time alone changes. No call that a breaker guards passes through
  # it.
  #
  # C1  What is in the book is open in the engine, with the options and the lasting state of the book, once what was asked is
  #     answered.
  # C2  While there are breakers, the engine's clock hears once a round that we run (`Kantoku.Engine.Breakers`, "Time").
  # C3  Who changes the state of a timed breaker says so (`look/2`); who dies before that is made up for by a look every second.
  @moduledoc false
  use GenServer

  alias Kantoku.Breaker.{Changes, Config, Notes}
  alias Kantoku.Domain.Book
  alias Kantoku.Engine.Breakers
  alias Kantoku.Metrics.Own
  alias Kantoku.{Error, Instances, Memory, Telemetry}

  # Between two looks at all timed breakers, and two beats of the engine's clock, which are as far apart as it expects them; in ms.
  @round 1_000

  # An engine that does not know the instance yet is asked again after this many ms.
  @again 50

  defstruct [:instance, :book, :round, timed: MapSet.new(), lost: nil]

  @spec start_link(atom) :: GenServer.on_start()
  def start_link(instance), do: GenServer.start_link(__MODULE__, instance)

  @doc "Has the clerk do something in its turn."
  @spec ask(atom, term) :: :ok | {:error, Error.t()}
  def ask(instance, request) do
    Instances.reading(instance, fn _rows, book -> call(instance, Notes.clerk(book), request) end)
  end

  defp call(instance, clerk, request) do
    GenServer.call(clerk, request, :infinity)
  catch
    :exit, _gone -> {:error, Error.new(:restarting, breaker: {instance, elem(request, 1)}, retry_in: @again)}
  end

  @doc "A timed breaker changed its state: when is the next change due?"
  @spec look(:ets.tid(), term) :: term
  def look(book, name) do
    clerk = Notes.clerk(book)
    clerk && send(clerk, {:look, name})
  end

  @impl true
  def init(instance) do
    {_rows, book} = Instances.tables!(instance)
    Book.seat(book, :breakers, Book.next_epoch([]), self())
    {:ok, open_all(%__MODULE__{instance: instance, book: book})}
  end

  defp open_all(state) do
    names = Notes.names(state.book)
    unknown = for name <- names, open(state, name) == :unknown, do: name
    if unknown != [], do: Process.send_after(self(), :open_all, @again)
    state = Enum.reduce(names, state, &note(&2, &1))
    if names == [], do: state, else: begin_rounds(state)
  end

  @impl true
  def handle_call({:install, name, config}, _from, %{instance: instance, book: book} = state) do
    case if(Notes.fetch(book, name), do: :ok, else: Memory.Notes.room(book, instance, [:breakers])) do
      :ok -> install(name, config, state)
      {:error, _error} = refused -> {:reply, refused, state}
    end
  end

  def handle_call({:configure, name, change}, from, state) do
    case Notes.fetch(state.book, name) do
      nil -> {:reply, absent(state, name), state}
      {config, _state} -> handle_call({:install, name, change.(config)}, from, state)
    end
  end

  def handle_call({:remove, name}, _from, state) do
    known? = Notes.fetch(state.book, name) != nil
    Notes.delete(state.book, name)
    Own.unbind_breaker(state.book, state.instance, name)
    Breakers.breaker_close(state.instance, name)
    {:reply, if(known?, do: :ok, else: absent(state, name)), %{state | timed: MapSet.delete(state.timed, name)}}
  end

  def handle_call({:set, name, to}, _from, state) do
    if Notes.set(state.book, name, to) do
      answer = with :unknown <- ask_engine(state, name, {:set, to}), do: open(state, name)
      {:reply, told(answer, state, name), state}
    else
      {:reply, absent(state, name), state}
    end
  end

  # The engine does not know it; is that right?
  def handle_call({:revive, name}, _from, state) do
    answer = if Notes.fetch(state.book, name), do: told(open(state, name), state, name), else: absent(state, name)
    {:reply, answer, state}
  end

  @impl true
  def handle_info({:look, name}, state), do: {:noreply, look_at(state, name)}
  def handle_info(:open_all, state), do: {:noreply, open_all(state)}

  def handle_info(:round, state) do
    state = go_round(state)
    {:noreply, Enum.reduce(state.timed, state, &look_at(&2, &1))}
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp open(%{instance: instance, book: book} = state, name) do
    {config, lasting} = Notes.fetch(book, name)

    with :ok <- Breakers.breaker_open(instance, name, Config.for_engine(config), nil) do
      Own.bind_breaker(book, instance, name)
      if lasting, do: ask_engine(state, name, {:set, lasting})
      if Config.timed?(config), do: send(self(), {:look, name})
      :ok
    end
  end

  defp ask_engine(%{instance: instance, book: book}, name, command) do
    Changes.told(Breakers.breaker_ask(instance, name, command, nil), {instance, name}, book)
  end

  defp look_at(state, name) do
    with left when is_integer(left) <- ask_engine(state, name, :look) do
      wait = System.convert_time_unit(left, :nanosecond, :millisecond) + 1
      if wait < @round, do: Process.send_after(self(), {:look, name}, max(wait, 1))
    end

    state
  end

  defp note(%{timed: timed, book: book} = state, name) do
    {config, _lasting} = Notes.fetch(book, name)
    change = if Config.timed?(config), do: &MapSet.put/2, else: &MapSet.delete/2
    %{state | timed: change.(timed, name)}
  end

  # With the first breaker; not ended with the last, as they cost less than to find out that it was.
  defp begin_rounds(%{round: nil} = state), do: go_round(state)
  defp begin_rounds(state), do: state

  defp go_round(state), do: %{beat(state) | round: Process.send_after(self(), :round, @round)}

  # What was lost before the first beat of this process is not news.
  defp beat(state) do
    case Breakers.breaker_beat(state.instance, nil) do
      :unknown ->
        %{state | lost: state.lost || 0}

      lost ->
        if state.lost && lost > state.lost, do: tell_gap(state, lost - state.lost)
        %{state | lost: lost}
    end
  end

  defp tell_gap(state, ns) do
    duration = System.convert_time_unit(ns, :nanosecond, :native)
    Telemetry.emit(state.instance, [:breaker, :gap], %{duration: duration}, %{})
  end

  defp install(name, config, state) do
    Notes.put(state.book, name, config)
    answer = open(state, name)
    {:reply, told(answer, state, name), state |> note(name) |> begin_rounds()}
  end

  defp told(:unknown, state, name),
    do: {:error, Error.new(:restarting, breaker: {state.instance, name}, retry_in: @again)}

  defp told(:ok, _state, _name), do: :ok
  defp absent(state, name), do: {:error, Error.new(:not_found, breaker: {state.instance, name})}
end

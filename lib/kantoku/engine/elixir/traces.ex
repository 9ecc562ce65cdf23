defmodule Kantoku.Engine.Elixir.Traces do
  # All finished spans that this engine keeps, in one table: {{keeper, number}, span, bytes}, beside {keeper, room, limits, guest} of those who
  # keep any. Written by who hands in and taken by who asks; the process here only owns it. Knows no rule of traces.
  #
  # Threads of exporters can read no term. So the spans of an instance that is to be exported are guests of the library (`share/1`), which then
  # answers for them, as it is asked first: nothing comes here any more until the instance ends, and with it what it had there.
  @moduledoc false
  use GenServer

  alias Kantoku.Engine.Elixir.{Instances, Server}
  alias Kantoku.Native

  # The places of an instance's room. What is held is reserved before it is there.
  @held 1
  @bytes 2
  @last 3
  @dropped 4
  @taken 5

  # So many are given in one answer.
  @most 64

  # Where a keeper's row says whose guest it is: `{instance, number}`.
  @guest 4

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, [], name: __MODULE__)

  @spec open(atom, pos_integer, pos_integer) :: :ok | :unknown
  def open(instance, most, most_bytes) do
    with {:ok, tables} <- Instances.fetch(instance),
         do: Server.call(__MODULE__, {:open, tables.keeper, instance, {most, most_bytes}})
  end

  @doc "See `Kantoku.Engine.Traces.trace_share/1`."
  @spec share(atom) :: :ok | :unknown
  def share(instance) do
    with {:ok, tables} <- Instances.fetch(instance), do: Server.call(__MODULE__, {:share, tables.keeper, instance})
  end

  @spec put(atom, Kantoku.Engine.Traces.span()) :: :ok | :dropped | :closed | :unknown
  def put(instance, span) do
    within(instance, :closed, fn keeper, room, {most, most_bytes} ->
      bytes = :erlang.external_size(span)

      cond do
        not reserve(room, @held, 1, most) ->
          drop(room)

        not reserve(room, @bytes, bytes, most_bytes) ->
          :atomics.sub(room, @held, 1)
          drop(room)

        true ->
          :ets.insert(__MODULE__, {{keeper, :atomics.add_get(room, @last, 1)}, span, bytes})
          :ok
      end
    end)
  end

  defp drop(room) do
    :atomics.add(room, @dropped, 1)
    :dropped
  end

  defp reserve(room, place, size, most), do: reserve(room, place, size, most, :atomics.get(room, place))

  defp reserve(room, place, size, most, held) when held + size <= most do
    case :atomics.compare_exchange(room, place, held, held + size) do
      :ok -> true
      actual -> reserve(room, place, size, most, actual)
    end
  end

  defp reserve(_room, _place, _size, _most, _held), do: false

  @spec take(atom, pos_integer) :: [Kantoku.Engine.Traces.span()] | :unknown
  def take(instance, most),
    do: within(instance, [], fn keeper, room, _limits -> take(keeper, room, {keeper, 0}, min(most, @most), []) end)

  defp take(_keeper, _room, _key, 0, taken), do: Enum.reverse(taken)

  # Of two who take at once each gets what the other does not.
  defp take(keeper, room, key, left, taken) do
    case :ets.next(__MODULE__, key) do
      {^keeper, _number} = next ->
        case :ets.take(__MODULE__, next) do
          [{_key, span, bytes}] -> take(keeper, room, next, left - 1, [given(room, span, bytes) | taken])
          [] -> take(keeper, room, next, left, taken)
        end

      _end_or_another ->
        Enum.reverse(taken)
    end
  end

  defp given(room, span, bytes) do
    :atomics.add(room, @taken, 1)
    :atomics.sub(room, @bytes, bytes)
    :atomics.sub(room, @held, 1)
    span
  end

  @spec counts(atom) :: Kantoku.Engine.Traces.counts() | :unknown
  def counts(instance) do
    none = %{held: 0, bytes: 0, kept: 0, dropped: 0, taken: 0}

    within(instance, none, fn _keeper, room, _limits ->
      %{
        held: :atomics.get(room, @held),
        bytes: :atomics.get(room, @bytes),
        kept: :atomics.get(room, @last),
        dropped: :atomics.get(room, @dropped),
        taken: :atomics.get(room, @taken)
      }
    end)
  end

  defp within(instance, closed, fun) do
    with {:ok, %{keeper: keeper}} <- Instances.fetch(instance) do
      case :ets.lookup(__MODULE__, keeper) do
        [{_keeper, room, limits, _guest}] -> fun.(keeper, room, limits)
        [] -> closed
      end
    end
  rescue
    # The table went with this engine's processes.
    ArgumentError -> :unknown
  end

  @impl true
  def init(_arg) do
    :ets.new(__MODULE__, [:ordered_set, :public, :named_table, write_concurrency: true])
    {:ok, nil}
  end

  @impl true
  def handle_call({:open, keeper, instance, limits}, _from, state) do
    case :ets.lookup(__MODULE__, keeper) do
      [{_keeper, _room, ^limits, _guest}] ->
        :ok

      [_other] ->
        forget(keeper)
        make(keeper, limits)

      [] ->
        Process.monitor(keeper)
        # A predecessor of this process may have left one of that name.
        Native.trace_give_up(instance, nil)
        make(keeper, limits)
    end

    {:reply, :ok, state}
  end

  def handle_call({:share, keeper, instance}, _from, state) do
    with [{_keeper, _room, {most, most_bytes}, nil}] <- :ets.lookup(__MODULE__, keeper),
         number when is_integer(number) <- Native.trace_host(instance, most, most_bytes),
         do: :ets.update_element(__MODULE__, keeper, {@guest, {instance, number}})

    {:reply, :ok, state}
  end

  @impl true
  def handle_info({:DOWN, _ref, :process, keeper, _reason}, state) do
    forget(keeper)
    {:noreply, state}
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp make(keeper, limits), do: :ets.insert(__MODULE__, {keeper, :atomics.new(5, []), limits, nil})

  defp forget(keeper) do
    for {_keeper, _room, _limits, {instance, number}} <- :ets.take(__MODULE__, keeper),
        do: Native.trace_give_up(instance, number)

    :ets.match_delete(__MODULE__, {{keeper, :_}, :_, :_})
  end
end

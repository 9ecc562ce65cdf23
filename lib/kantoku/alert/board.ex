defmodule Kantoku.Alert.Board do
  # The alerts of an instance and what is to be told of them, in an ordered table of the room's supervisor: so neither who evaluates
  # nor who delivers takes anything with it when it dies. Rows:
  #
  #   {{:alert, rule, labels}, state}             {{:due, sink, number}, alert}, oldest first
  #   {{:sink, sink}, queued, delivered, retried, dropped, courier, failing since}
  #   {:client, pid}                              {:numbers, last}
  #
  # B1  At most `max_queue` are due for a sink; of more the oldest go, and are counted.
  @moduledoc false

  alias Kantoku.Alert
  alias Kantoku.Alert.{Sink, State}

  @queued 2
  @delivered 3
  @retried 4
  @dropped 5
  @courier 6
  @failing 7

  @type t :: :ets.tid()
  @type key :: {rule :: atom | String.t(), labels :: %{String.t() => String.t()}}
  @type counter :: :delivered | :retried | :dropped

  @doc "Makes the table, which lives as long as the calling process."
  @spec new([Sink.t()]) :: t
  def new(sinks) do
    board = :ets.new(__MODULE__, [:ordered_set, :public, read_concurrency: true])
    for sink <- sinks, do: :ets.insert(board, {{:sink, sink.id}, 0, 0, 0, 0, nil, nil})
    :ets.insert(board, [{:numbers, 0}, {:client, nil}])
    board
  end

  # Alerts -----------------------------------------------------------------------------------------------------------------

  @spec put(t, key, State.t() | nil) :: true
  def put(board, {rule, labels}, nil), do: :ets.delete(board, {:alert, rule, labels})
  def put(board, {rule, labels}, state), do: :ets.insert(board, {{:alert, rule, labels}, state})

  @doc "All alerts, or those of one rule."
  @spec alerts(t) :: [{key, State.t()}]
  def alerts(board),
    do: :ets.select(board, [{{{:alert, :"$1", :"$2"}, :"$3"}, [], [{{{{:"$1", :"$2"}}, :"$3"}}]}])

  @spec alerts(t, atom | String.t()) :: [{key, State.t()}]
  def alerts(board, rule), do: for({{^rule, _labels}, _state} = alert <- alerts(board), do: alert)

  # What is to be told -------------------------------------------------------------------------------------------------------

  @doc "Puts an alert in the line of a sink; how many others that was too many for."
  @spec enqueue(t, Sink.t(), Alert.t()) :: non_neg_integer
  def enqueue(board, %{id: id, options: %{max_queue: most}}, alert) do
    number = :ets.update_counter(board, :numbers, 1)
    :ets.insert(board, {{:due, id, number}, alert})
    too_many = :ets.update_counter(board, {:sink, id}, {@queued, 1}) - most
    drop(board, id, too_many)
  end

  defp drop(_board, _id, too_many) when too_many <= 0, do: 0

  defp drop(board, id, too_many) do
    board |> due(id, too_many) |> Enum.map(&elem(&1, 0)) |> then(&done(board, id, &1, :dropped))
  end

  @doc "The oldest that are due for a sink."
  @spec due(t, non_neg_integer, pos_integer) :: [{number :: pos_integer, Alert.t()}]
  def due(board, id, count) do
    case :ets.select(board, [{{{:due, id, :"$1"}, :"$2"}, [], [{{:"$1", :"$2"}}]}], count) do
      {due, _continuation} -> due
      :"$end_of_table" -> []
    end
  end

  @doc "Takes what was delivered or dropped out of the line, unless it is out; how many that were."
  @spec done(t, non_neg_integer, [pos_integer], :delivered | :dropped) :: non_neg_integer
  def done(board, id, numbers, counter) do
    taken = Enum.count(numbers, &(:ets.take(board, {:due, id, &1}) != []))
    :ets.update_counter(board, {:sink, id}, [{@queued, -taken}, {at(counter), taken}])
    taken
  end

  defp at(:delivered), do: @delivered
  defp at(:retried), do: @retried
  defp at(:dropped), do: @dropped

  @spec count(t, non_neg_integer, counter) :: integer
  def count(board, id, counter), do: :ets.update_counter(board, {:sink, id}, {at(counter), 1})

  @spec queued(t, non_neg_integer) :: non_neg_integer
  def queued(board, id), do: :ets.lookup_element(board, {:sink, id}, @queued)

  # Who delivers -------------------------------------------------------------------------------------------------------------

  @spec seat(t, non_neg_integer, pid) :: true
  def seat(board, id, courier), do: :ets.update_element(board, {:sink, id}, {@courier, courier})

  @spec courier(t, non_neg_integer) :: pid | nil
  def courier(board, id), do: :ets.lookup_element(board, {:sink, id}, @courier)

  @doc "Since when a sink cannot be told, in ms of system time; `nil`: it can."
  @spec failing(t, non_neg_integer, integer | nil) :: true
  def failing(board, id, since), do: :ets.update_element(board, {:sink, id}, {@failing, since})

  @spec put_client(t, pid) :: true
  def put_client(board, client), do: :ets.insert(board, {:client, client})

  @spec client(t) :: pid | nil
  def client(board), do: :ets.lookup_element(board, :client, 2)

  @doc "What was done for a sink."
  @spec figures(t, Sink.t()) :: map
  def figures(board, sink) do
    [{_key, queued, delivered, retried, dropped, _courier, failing}] = :ets.lookup(board, {:sink, sink.id})

    %{
      sink: sink.title,
      kind: sink.kind,
      queued: queued,
      delivered: delivered,
      retried: retried,
      dropped: dropped,
      failing_since: failing
    }
  end
end

defmodule Kantoku.Alert.Supervisor do
  # Holds the board, so that it outlives who evaluates and who delivers, and never gives up. An instance without alerts has it with
  # nothing in it. Knows no rule.
  @moduledoc false
  use Supervisor

  alias Kantoku.Alert.{Board, Config, Courier, Evaluator, HTTP, Sink}
  alias Kantoku.Domain.{Book, Pair}
  alias Kantoku.Instances

  @spec start_link(atom) :: Supervisor.on_start()
  def start_link(instance), do: Supervisor.start_link(__MODULE__, instance)

  @impl true
  def init(instance) do
    {_rows, book} = Instances.tables!(instance)
    children = with(%Config{sinks: sinks} <- Config.of(book), do: children(instance, book, sinks)) || []
    Supervisor.init(children, [strategy: :one_for_one] ++ Pair.unlimited())
  end

  defp children(instance, book, sinks) do
    board = Board.new(sinks)
    Book.seat(book, :alerts, Book.next_epoch([]), board)
    couriers = for sink <- sinks, do: {Courier, {instance, board, sink}}
    client(instance, board, sinks) ++ couriers ++ [{Evaluator, {instance, book, board}}]
  end

  defp client(instance, board, sinks) do
    if Enum.any?(sinks, &(Sink.batch(&1) > 1)), do: [{HTTP, {instance, &Board.put_client(board, &1)}}], else: []
  end
end

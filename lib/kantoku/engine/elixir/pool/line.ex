defmodule Kantoku.Engine.Elixir.Pool.Line do
  # The tickets of one tenant that wait, by priority, and its credit. Knows no other tenant.
  @moduledoc false

  # So many tickets, and the next is the oldest of all priorities: a low one waits long, not for ever.
  @by_priority 7

  @enforce_keys [:place]
  defstruct [:place, credit: 0, taken: 0, queues: {:gb_sets.new(), :gb_sets.new(), :gb_sets.new()}]

  @type t :: %__MODULE__{place: pos_integer, credit: integer, taken: non_neg_integer, queues: tuple}

  @doc "An empty one, at a place of the ring."
  @spec new(pos_integer) :: t
  def new(place), do: %__MODULE__{place: place}

  @spec add(t, 0..2, non_neg_integer) :: t
  def add(line, priority, number), do: queue(line, priority, &:gb_sets.add_element(number, &1))

  @spec delete(t, 0..2, non_neg_integer) :: t
  def delete(line, priority, number), do: queue(line, priority, &:gb_sets.del_element(number, &1))

  defp queue(line, priority, fun) do
    %{line | queues: put_elem(line.queues, priority, fun.(elem(line.queues, priority)))}
  end

  @spec empty?(t) :: boolean
  def empty?(line), do: filled(line) == []

  @doc "How many tickets it has."
  @spec size(t) :: non_neg_integer
  def size(%{queues: {high, normal, low}}), do: :gb_sets.size(high) + :gb_sets.size(normal) + :gb_sets.size(low)

  @doc "The newest ticket of the lowest priority, of a line that is not empty."
  @spec last(t) :: non_neg_integer
  def last(line), do: line |> filled() |> List.last() |> end_of(:newest)

  @doc "The turn of who has credit goes on; who has none gets its weight."
  @spec visit(t, pos_integer) :: t
  def visit(%{credit: credit} = line, weight) when credit <= 0, do: %{line | credit: credit + weight}
  def visit(line, _weight), do: line

  @doc "How many visits it takes until there is credit."
  @spec turns(t, pos_integer) :: pos_integer
  def turns(line, weight), do: div(-line.credit, weight) + 1

  @spec charge(t, pos_integer) :: t
  def charge(line, cost), do: %{line | credit: line.credit - cost, taken: line.taken + 1}

  @doc "The next ticket of a line that is not empty."
  @spec next(t, :oldest | :newest) :: non_neg_integer
  def next(%{taken: taken} = line, from) when rem(taken, @by_priority + 1) == @by_priority do
    ends = line |> filled() |> Enum.map(&end_of(&1, from))
    if from == :oldest, do: Enum.min(ends), else: Enum.max(ends)
  end

  def next(line, from), do: line |> filled() |> hd() |> end_of(from)

  @doc "The oldest ticket of a line that is not empty."
  @spec oldest(t) :: non_neg_integer
  def oldest(line), do: line |> filled() |> Enum.map(&end_of(&1, :oldest)) |> Enum.min()

  defp filled(line), do: for(queue <- Tuple.to_list(line.queues), not :gb_sets.is_empty(queue), do: queue)

  defp end_of(queue, :oldest), do: :gb_sets.smallest(queue)
  defp end_of(queue, :newest), do: :gb_sets.largest(queue)
end

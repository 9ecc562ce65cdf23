defmodule Kantoku.Pool.Scaling.JournalTest do
  use ExUnit.Case, async: true

  alias Kantoku.Pool.Scaler
  alias Kantoku.Pool.Scaling.Journal

  @policy Scaler.Policy.new!(max: 9, metrics: [ongoing: 1], look_back: 0)

  setup do: {:ok, book: :ets.new(:book, [:public])}

  # A decision of a pool of `size` by a scaler that remembers nothing.
  defp decide(at, size, ongoing) do
    {decision, _} = Scaler.decide(Scaler.new(), @policy, %{size: size, ready: size, metrics: %{ongoing: ongoing}}, at)
    decision
  end

  defp write(book, journal, decisions),
    do: Enum.map_reduce(decisions, journal, fn decision, journal -> Journal.write(journal, book, :p, decision) end)

  defp read(book), do: for({decision, since, times} <- Journal.read(book, :p), do: {decision.at, since, times})

  test "what holds a size is one entry for each set of rules until the size moves", %{book: book} do
    steps = [decide(1, 2, 2), decide(2, 2, 1), decide(3, 2, 2), decide(4, 2, 1), decide(5, 2, 4), decide(6, 4, 4)]
    {new, _} = write(book, Journal.open(book, :p), steps)
    assert new == [true, true, false, false, true, true]
    assert read(book) == [{6, 6, 1}, {5, 5, 1}, {4, 2, 2}, {3, 1, 2}]
  end

  test "a journal is bounded, each pool's its own, and goes on where it ended", %{book: book} do
    moves = for at <- 1..250, do: decide(at, 2, 4)
    {_new, _} = write(book, Journal.open(book, :p), moves)
    assert for({at, _, _} <- read(book), do: at) == Enum.to_list(250..151//-1)
    {[true], _} = write(book, Journal.open(book, :p), [decide(251, 2, 4)])
    assert [{251, 251, 1} | _] = found = read(book)
    assert length(found) == 100
    assert Journal.read(book, :q) == []
    Journal.delete(book, :q)
    assert length(read(book)) == 100
    Journal.delete(book, :p)
    assert :ets.tab2list(book) == []
  end
end

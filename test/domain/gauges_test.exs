defmodule Kantoku.Domain.GaugesTest do
  use ExUnit.Case, async: true

  import Kantoku.TestOwner, only: [kill: 1]

  alias Kantoku.Domain.Gauges

  @partitions 4
  # As many follow one another into one partition.
  @run 64

  # Of a domain with so many agents that each partition's share is a whole run.
  defp chain(agents \\ @partitions * @run) do
    gauges = Gauges.new(:a, :infinity)
    Gauges.correct(gauges, 0, agents)
    [gauges]
  end

  defp start(chain, key, fun \\ & &1), do: Gauges.with_partition(chain, key, @partitions, fun)

  defp spread(key), do: :erlang.phash2(key, @partitions)

  defp elsewhere(part), do: Enum.find(1..100, &(spread(&1) != part))

  defp starting(chain) do
    test = self()

    pid =
      spawn(fn ->
        start(chain, :slow, fn part ->
          send(test, {:in, part})
          receive do: (:go -> :ok)
        end)

        send(test, :done)
      end)

    assert_receive {:in, part}
    {pid, part}
  end

  test "starts that follow one another share a partition for a while, and in time all get their share" do
    chain = chain()
    parts = for n <- 1..(2 * @partitions * @run), do: start(chain, n)
    runs = parts |> Enum.chunk_every(@run) |> Enum.map(&Enum.uniq/1)
    assert runs == for(part <- [0, 1, 2, 3, 0, 1, 2, 3], do: [part])
  end

  test "where there are few agents, none has more mates than its partition's share" do
    few = chain(0)
    assert for(n <- 1..8, do: start(few, n)) == [0, 1, 2, 3, 0, 1, 2, 3]
    some = chain(@partitions * 3)
    assert for(n <- 1..8, do: start(some, n)) == [0, 0, 0, 1, 1, 1, 2, 2]
  end

  test "a start beside another is spread by its key, and the next one follows whoever was done first" do
    chain = chain()
    {slow, part} = starting(chain)
    other = elsewhere(part)
    assert start(chain, other) == spread(other)
    assert start(chain, :any) == spread(other)
    send(slow, :go)
    assert_receive :done
    assert start(chain, :any) == part
  end

  test "whoever is killed in a start keeps nobody from sharing" do
    chain = chain()
    {slow, part} = starting(chain)
    kill(slow)
    other = elsewhere(part)
    assert start(chain, other) == spread(other)
    assert for(n <- 1..10, do: start(chain, n)) |> Enum.uniq() == [spread(other)]
  end

  test "one partition is shared by all" do
    chain = chain()
    assert for(n <- 1..200, do: Gauges.with_partition(chain, n, 1, & &1)) |> Enum.uniq() == [0]
  end
end

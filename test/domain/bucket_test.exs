defmodule Kantoku.Domain.BucketTest do
  use ExUnit.Case, async: true

  alias Kantoku.Domain.Bucket

  @second 1_000_000

  defp reserve(times, cells, at, rule), do: for(_ <- 1..times, do: Bucket.reserve(cells, 1, at, rule))

  test "a burst passes at once, what follows is spread at the rate" do
    cells = :atomics.new(1, [])
    delays = reserve(5, cells, 0, %{rate: 10, burst: 2})
    assert delays == [0, 0, 100_000, 200_000, 300_000]
  end

  test "after a quiet time the burst is whole again, and never more" do
    cells = :atomics.new(1, [])
    rule = %{rate: 10, burst: 2}
    reserve(5, cells, 0, rule)
    assert reserve(3, cells, 3_600 * @second, rule) == [0, 0, 100_000]
  end

  test "infinity lets everyone pass" do
    assert reserve(100, :atomics.new(1, []), 0, :infinity) |> Enum.sum() == 0
  end

  test "eight processes at once never get more than the rate allows" do
    cells = :atomics.new(1, [])
    rule = %{rate: 1_000, burst: 10}
    tasks = for _ <- 1..8, do: Task.async(fn -> reserve(500, cells, 0, rule) end)
    delays = tasks |> Task.await_many() |> List.flatten() |> Enum.sort()
    assert delays == List.duplicate(0, 9) ++ for(n <- 0..3990, do: n * 1_000)
  end
end

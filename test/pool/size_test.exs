defmodule Kantoku.Pool.SizeTest do
  use ExUnit.Case, async: true

  alias Kantoku.Pool.{Config, Idle, Members, Size}

  defp config(opts), do: Config.new!([name: :p, worker: {Agent, fn -> 0 end}] ++ opts)

  test "a pool at rest wants its target" do
    assert Size.wanted(%Size{}, config(target: 7)) == 7
    assert Size.wanted(%Size{}, config(min: 3)) == 3
    assert Size.wanted(%Size{}, config([])) == 10
    assert Size.wanted(%Size{}, config(max: 4)) == 4
  end

  test "under pressure it wants a place for each that waits, and does not count who is coming twice" do
    config = config(target: 2, max_overflow: 5)
    size = Size.pressed(%Size{}, config, 3, 0, 0)
    assert Size.wanted(size, config) == 5
    assert size |> Size.pressed(config, 3, 3, 1) |> Size.wanted(config) == 5
    assert size |> Size.pressed(config, 9, 3, 1) |> Size.wanted(config) == 7

    assert %Size{} |> Size.pressed(config(target: 2, max_overflow: 5, max_ongoing: 4), 5, 0, 0) |> Size.overflow(config) ==
             2
  end

  test "extra workers linger, and as many go as were free all the time" do
    config = config(target: 2, max_overflow: 4, overflow_linger: 100)
    size = Size.pressed(%Size{}, config, 4, 0, 0)
    size = size |> Size.relaxed(config, 6, 50) |> Size.relaxed(config, 1, 60)
    assert Size.overflow(size, config) == 4
    size = Size.relaxed(size, config, 6, 100)
    assert Size.overflow(size, config) == 3
    assert size |> Size.relaxed(config, 5, 150) |> Size.relaxed(config, 5, 200) |> Size.overflow(config) == 0
  end

  test "idle workers go down to the minimum, and pressure brings all back" do
    config = config(target: 6, min: 2, max: 6)
    size = Size.idled(%Size{}, config, 3)
    assert Size.wanted(size, config) == 3
    size = Size.idled(size, config, 5)
    assert {Size.wanted(size, config), Size.dispensable(size, config)} == {2, 0}
    assert size |> Size.pressed(config, 1, 0, 0) |> Size.wanted(config) == 6
  end

  test "a decided size stands in place of the target, within the bounds" do
    config = config(target: 4, min: 2, max: 8, max_overflow: 1)
    assert for(n <- [0, 5, 99, nil], do: %Size{} |> Size.scaled(n) |> Size.wanted(config)) == [2, 5, 8, 4]
    assert %Size{} |> Size.scaled(6) |> Size.idled(config, 9) |> Size.wanted(config) == 2
    assert %Size{} |> Size.scaled(6) |> Size.pressed(config, 3, 0, 0) |> Size.wanted(config) == 7
  end

  test "whatever it has seen, new options bound what it wants" do
    big = config(target: 8, min: 1, max: 8, max_overflow: 8)
    size = %Size{} |> Size.pressed(big, 8, 0, 0)
    assert Size.wanted(size, config(target: 3)) == 3
    assert %Size{} |> Size.idled(big, 7) |> Size.wanted(config(target: 3)) == 3
  end

  defp member(number, fields \\ []),
    do:
      Map.merge(
        %{number: number, pid: {:pid, number}, phase: :up, wanted: true, leaving: false, expired: false},
        Map.new(fields)
      )

  test "new members have the smallest numbers that are free" do
    assert Members.plan([], 3, []) == {[0, 1, 2], []}
    assert Members.plan([member(1), member(3, leaving: true)], 3, []) == {[0, 2], []}
  end

  test "who cannot work goes first, then who is idle, then the newest" do
    members = [member(0), member(1), member(2), member(3, pid: nil, phase: :parked), member(4)]
    {[], gone} = Members.plan(members, 2, [{:pid, 1}])
    assert Enum.map(gone, & &1.number) == [3, 1, 4]
  end

  test "who is expired stays until its successor is up" do
    members = [member(0, expired: true), member(1, expired: true)]
    assert Members.plan(members, 2, []) == {[2], []}
    assert Members.plan(members ++ [member(2, pid: nil, phase: :starting)], 2, []) == {[], []}
    assert {[], [%{number: 0}]} = Members.plan(members ++ [member(2)], 2, [])
  end

  test "a worker is idle since it was last seen to have served" do
    seen = &{&1, 0, :ready, &2, 0, &3}
    idle = Idle.look(%{}, [seen.(:a, 0, 5), seen.(:b, 1, 5)], 0)
    assert Idle.since(idle, 10, 10) == [:a]
    idle = Idle.look(idle, [seen.(:a, 0, 5), seen.(:b, 0, 6)], 8)
    assert Idle.since(idle, 10, 10) == [:a]
    assert Idle.since(Idle.look(idle, [seen.(:a, 0, 6), seen.(:b, 0, 6)], 12), 10, 20) == [:b]
  end
end

defmodule Kantoku.Pool.ConditionTest do
  use ExUnit.Case, async: true

  alias Kantoku.Pool.{Condition, Config, Pace}

  defp member(fields),
    do: Map.merge(%{number: 0, pid: self(), phase: :up, wanted: true, leaving: false, expired: false}, Map.new(fields))

  test "a pool misses who is not up, and is degraded when that is for failures" do
    up = member([])
    assert %{missing: 0, degraded: false, reason: nil} = Condition.of([up, up], {2, 0}, false, :old)
    assert %{missing: 1, degraded: false} = Condition.of([up, member(pid: nil, phase: :starting)], {2, 0}, false, nil)

    assert %{missing: 1, degraded: true, reason: :crashed} =
             Condition.of([up, member(pid: nil, phase: :resting)], {2, 0}, false, nil)

    assert %{missing: 1, degraded: true, reason: :why} =
             Condition.of([up, member(pid: nil, phase: :parked)], {2, 0}, false, :why)

    assert %{missing: 1, degraded: true, reason: :limit} = Condition.of([up], {2, 1}, true, :limit)
    assert %{missing: 1, degraded: false} = Condition.of([up, member(leaving: true)], {2, 0}, false, nil)
  end

  test "only what changed is told" do
    calm = %{Condition.unseen() | wanted: 4}
    low = %{calm | missing: 1, degraded: true, reason: :why}
    assert Condition.events(calm, calm, :update) == []
    assert Condition.events(Condition.unseen(), calm, :update) == [{:resized, %{from: 0, to: 4}, %{reason: :update}}]
    assert Condition.events(calm, low, :update) == [{:degraded, %{missing: 1, workers: 3}, %{reason: :why}}]
    assert Condition.events(low, calm, :update) == [{:recovered, %{workers: 4}, %{}}]
  end

  test "a pool is looked at ten times a second while someone waits or it scales itself, and four times within what its options wait for" do
    config = fn opts -> Config.new!([name: :p, worker: {Agent, fn -> 0 end}] ++ opts) end
    calm = %{queue: 0, overloaded: 0}
    assert Pace.of(config.([]), calm) == 1_000
    assert Pace.of(config.([]), %{calm | queue: 1}) == 100
    assert Pace.of(config.([]), %{calm | overloaded: 1}) == 100
    assert Pace.of(config.(idle_timeout: 200), calm) == 50
    assert Pace.of(config.(max: 9, scaling: []), Map.put(calm, :ongoing, 1)) == 100
    assert Pace.of(config.(max: 9, scaling: []), Map.put(calm, :ongoing, 0)) == 1_000
    assert Pace.of(config.(max: 9, scaling: [metrics: [own: {&map_size/1, 1}]]), calm) == 250
    assert Pace.of(config.(abandon_timeout: 1, start_timeout: :infinity), calm) == 20
  end
end

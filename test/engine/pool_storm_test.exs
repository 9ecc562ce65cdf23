import Kantoku.EachEngine

alias Kantoku.{PoolStorm, TestOwner, TestPool}

each_engine Kantoku.Engine.PoolStormTest do
  @moduletag timeout: 120_000

  for {strategy, max_ongoing} <- [power_of_two: 1, lifo: 3] do
    test "no permit and no answer is lost while callers and workers are killed (#{strategy}, #{max_ongoing})" do
      pool = TestPool.open(@engine)

      storm =
        pool |> PoolStorm.start(strategy: unquote(strategy), max_ongoing: unquote(max_ongoing)) |> PoolStorm.kill(150)

      PoolStorm.stop(storm)
      permits = 4 * unquote(max_ongoing)

      TestOwner.eventually(fn ->
        match?(%{ongoing: 0, abandoned: 0, queue: 0, ready: 4, free: ^permits}, TestPool.status(pool))
      end)

      status = TestPool.status(pool)
      assert status.arrived == status.served + status.refused + status.expired + status.cancelled
      assert status.served > 0
    end
  end
end

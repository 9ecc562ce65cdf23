import Kantoku.EachEngine

alias Kantoku.TestPool

each_engine Kantoku.Engine.PoolStrategiesTest do
  import TestPool, only: [hear: 1]

  defp open(strategy, opts, members) do
    pool = TestPool.open(@engine, [strategy: strategy] ++ opts)
    {pool, for(member <- members, do: TestPool.worker(pool, member))}
  end

  # Takes a worker and gives it back at once.
  defp touch(pool, opts \\ []) do
    {:granted, ticket, pid} = TestPool.checkout(pool, :touch, opts)
    :ok = TestPool.checkin(pool, ticket)
    pid
  end

  defp take(pool, opts \\ []) do
    {:granted, ticket, pid} = TestPool.checkout(pool, :take, opts)
    {pid, ticket}
  end

  @strategies [:round_robin, :random, :least_loaded, :power_of_two, :peak_ewma, :hash, :lifo]

  test "each takes only workers with a permit free, and all of them before anybody waits" do
    for strategy <- @strategies do
      {pool, workers} = open(strategy, [max_ongoing: 2], [4, 0, 9])
      taken = for n <- 1..6, do: pool |> take(route: n) |> elem(0)
      assert Enum.frequencies(taken) == Map.new(workers, &{&1, 2})
      assert {:queued, _} = TestPool.checkout(pool, :waits, route: 7)
    end
  end

  test "each sends to the worker that is asked for, if that has a permit free and lives" do
    for strategy <- @strategies do
      {pool, [one, two, _three]} = open(strategy, [max_ongoing: 1], [0, 1, 2])
      for worker <- [two, one, two, two], do: assert(touch(pool, route: worker) == worker)
      assert {^one, _} = take(pool, route: one)
      assert {:granted, _, other} = TestPool.checkout(pool, :other, route: one)
      assert other != one
      assert {:granted, _, _} = TestPool.checkout(pool, :stranger, route: self())
    end
  end

  test "round_robin takes the next member in order of number after the last, and begins again" do
    {pool, [seven, two, four]} = open(:round_robin, [], [7, 2, 4])
    assert for(_ <- 1..7, do: touch(pool)) == [two, four, seven, two, four, seven, two]
    {^four, _} = take(pool)
    assert for(_ <- 1..4, do: touch(pool)) == [seven, two, seven, two]
    six = TestPool.worker(pool, 6)
    assert for(_ <- 1..3, do: touch(pool)) == [six, seven, two]
    :ok = TestPool.leave(pool, seven)
    assert for(_ <- 1..3, do: touch(pool)) == [six, two, six]
  end

  test "random takes every one about equally often" do
    {pool, workers} = open(:random, [], 0..3)
    counts = Enum.frequencies(for _ <- 1..400, do: touch(pool))
    assert Enum.sort(Map.keys(counts)) == Enum.sort(workers)
    assert Enum.all?(Map.values(counts), &(&1 in 50..160))
  end

  test "least_loaded takes one with fewest ongoing" do
    {pool, workers} = open(:least_loaded, [max_ongoing: 10], 0..3)
    first = for _ <- 1..4, do: take(pool)
    assert first |> Enum.map(&elem(&1, 0)) |> Enum.sort() == Enum.sort(workers)
    second = for _ <- 1..4, do: take(pool)
    assert second |> Enum.map(&elem(&1, 0)) |> Enum.sort() == Enum.sort(workers)
    {pid, ticket} = hd(first)
    :ok = TestPool.checkin(pool, ticket)
    assert {^pid, _} = take(pool)
  end

  test "power_of_two prefers the one with fewer ongoing" do
    {pool, [one, two]} = open(:power_of_two, [max_ongoing: 1_000], 0..1)
    for _ <- 1..500, do: {^one, _} = take(pool, route: one)
    taken = for _ <- 1..200, do: pool |> take() |> elem(0)
    assert Enum.count(taken, &(&1 == two)) >= 110
  end

  test "peak_ewma prefers the faster one" do
    {pool, [slow, fast]} = open(:peak_ewma, [max_ongoing: 1_000, decay_time: 1_000_000], 0..1)
    {^slow, ticket} = take(pool, route: slow)
    Process.sleep(100)
    :ok = TestPool.checkin(pool, ticket)
    assert touch(pool, route: fast) == fast
    assert {_, 0, :ready, 0, latency, 1} = pool |> TestPool.workers() |> hd()
    assert latency >= 100_000
    taken = for _ <- 1..200, do: touch(pool)
    assert Enum.count(taken, &(&1 == fast)) >= 110
  end

  test "a longer latency is believed at once, a shorter one little by little" do
    {pool, [worker]} = open(:peak_ewma, [decay_time: 1_000_000], [0])
    latency = fn -> pool |> TestPool.workers() |> hd() |> elem(4) end
    touch(pool)
    {^worker, ticket} = take(pool)
    Process.sleep(50)
    :ok = TestPool.checkin(pool, ticket)
    peak = latency.()
    assert peak >= 50_000
    touch(pool)
    assert latency.() in div(peak, 2)..peak
  end

  test "hash takes the same worker for the same hash, while that has a permit free" do
    {pool, workers} = open(:hash, [max_ongoing: 1], 0..7)
    homes = Map.new(1..200, &{&1, touch(pool, route: &1)})
    assert Map.new(1..200, &{&1, touch(pool, route: &1)}) == homes
    assert homes |> Map.values() |> Enum.uniq() |> Enum.sort() == Enum.sort(workers)
    {home, _} = take(pool, route: 1)
    assert home == homes[1]
    assert touch(pool, route: 1) != home
  end

  test "hash moves only the keys of a worker that goes, and a successor has them again" do
    {pool, workers} = open(:hash, [], 0..7)
    homes = Map.new(1..200, &{&1, touch(pool, route: &1)})
    gone = hd(workers)
    :ok = TestPool.leave(pool, gone)
    hear({:kantoku_pool, :pool, {:left, ^gone}})

    for {key, home} <- homes do
      moved = touch(pool, route: key)
      assert if(home == gone, do: moved != gone, else: moved == home)
    end

    successor = TestPool.worker(pool, 0)
    for {key, home} <- homes, do: assert(touch(pool, route: key) == if(home == gone, do: successor, else: home))
  end

  test "hash without a hash takes anyone" do
    {pool, workers} = open(:hash, [], 0..1)
    assert Enum.uniq(for _ <- 1..200, do: touch(pool)) |> Enum.sort() == Enum.sort(workers)
  end

  test "lifo takes the one that became free last" do
    {pool, [one, two, three]} = open(:lifo, [], 0..2)
    assert [{^three, c}, {^two, b}, {^one, a}] = for(_ <- 1..3, do: take(pool))
    for ticket <- [b, c, a], do: :ok = TestPool.checkin(pool, ticket)
    assert [one, three, two] == for(_ <- 1..3, do: pool |> take() |> elem(0))
  end

  test "lifo counts as free who has any permit free: one more changes nothing" do
    {pool, [one, two]} = open(:lifo, [max_ongoing: 2], 0..1)
    assert [{^two, a}, {^two, _b}, {^one, c}] = for(_ <- 1..3, do: take(pool))
    :ok = TestPool.checkin(pool, a)
    :ok = TestPool.checkin(pool, c)
    assert {^two, _} = take(pool)
  end

  test "another strategy serves from the time when the pool is opened with it" do
    {pool, [one, two]} = open(:round_robin, [], 0..1)
    assert [one, two, one] == for(_ <- 1..3, do: touch(pool))
    TestPool.reopen(pool, strategy: :lifo)
    last = touch(pool)
    assert for(_ <- 1..3, do: touch(pool)) == [last, last, last]
    TestPool.reopen(pool, strategy: :round_robin)
    assert Enum.uniq(for _ <- 1..4, do: touch(pool)) |> length() == 2
  end
end

defmodule Kantoku.Engine.PoolCoreTest do
  # What hangs on exact times and on long counts, of the core that the Elixir engine runs: no process, and a clock that is a number.
  use ExUnit.Case, async: true

  alias Kantoku.Engine.Elixir.Pool.{Choice, Core, Latency, Mean, Quota, Report, Ticket, Waiting}
  alias Kantoku.TestPool

  @ms 1_000_000

  defp pool(opts \\ []) do
    start = %{first: 0, random: :rand.seed_s(:exsss, 1), alive?: fn pid -> pid not in Process.get(:dead, []) end}
    Core.new(:pool, :foreman, TestPool.config(opts), start, 0)
  end

  defp ticket(opts) do
    given = [
      kind: :call,
      owner: :me,
      tenant: nil,
      priority: 1,
      cost: 1,
      wait: :infinity,
      route: nil,
      request: nil,
      tag: nil
    ]

    struct!(Ticket, Keyword.merge(given, opts))
  end

  # Asks at so many ms; the answer and the pool.
  defp ask(pool, at, opts \\ []) do
    {answer, effects, pool} = Core.request(pool, ticket(opts), at * @ms)
    Process.put(:effects, effects)
    {answer, pool}
  end

  defp asked(pool, at, opts \\ []), do: pool |> ask(at, opts) |> elem(1)

  defp done(pool, fun) do
    {:ok, effects, pool} = fun.(pool)
    Process.put(:effects, effects)
    pool
  end

  defp join(pool, pid, member, at), do: done(pool, &Core.join(&1, pid, member, at * @ms))
  defp checkin(pool, number, at), do: done(pool, &Core.checkin(&1, :me, number, :ok, at * @ms))
  defp tick(pool, at), do: done(pool, &Core.tick(&1, at * @ms))

  # The tags of calls that were sent, and of those that were refused.
  defp sent, do: for({:send, _pid, {:"$gen_call", {_owner, tag}, _request}} <- Process.get(:effects), do: tag)

  defp refused do
    for {:send, :me, {:kantoku_pool, tag, {:refused, reason, retry_in}}} <- Process.get(:effects),
        do: {tag, reason, retry_in}
  end

  defp overloaded(pool), do: Report.status(pool).overloaded

  describe "overload" do
    defp busy(opts \\ []) do
      pool(Keyword.merge([queue_target: 50, queue_interval: 1_000], opts))
      |> join(:worker, 0, 0)
      |> asked(0, tag: :first)
    end

    # One in which the only hand-over of the first full interval came after a wait of so many ms.
    defp waited(ms, opts \\ []) do
      pool = busy(opts) |> tick(1_000) |> asked(1_100, tag: :waited)
      checkin(pool, 0, 1_100 + ms)
    end

    test "follows an interval whose least wait was above the target, not one at the target" do
      assert waited(51) |> tick(1_999) |> overloaded() == 0
      assert waited(51) |> tick(2_000) |> overloaded() == 1
      assert waited(50) |> tick(2_000) |> overloaded() == 0
    end

    test "is kept off by one short wait in the interval" do
      pool = waited(500) |> asked(1_700, tag: :second)
      assert pool |> checkin(1, 1_701) |> tick(2_000) |> overloaded() == 0
      assert pool |> checkin(1, 1_751) |> tick(2_000) |> overloaded() == 1
    end

    test "is kept off by who is served at once" do
      assert waited(500) |> checkin(1, 1_700) |> asked(1_800) |> tick(2_000) |> overloaded() == 0
    end

    test "ends with the next interval that has a short wait" do
      pool = waited(51) |> tick(2_000)
      assert pool |> checkin(1, 2_500) |> asked(2_500) |> tick(2_999) |> overloaded() == 1
      assert pool |> checkin(1, 2_500) |> asked(2_500) |> tick(3_000) |> overloaded() == 0
    end

    test "lasts while somebody waits, however short" do
      pool = waited(51) |> tick(2_000)
      pool = for n <- 1..3, reduce: pool, do: (pool -> asked(pool, 2_900, tag: n))
      pool = checkin(pool, 1, 2_901)
      assert sent() == [3]
      assert pool |> tick(3_000) |> overloaded() == 1
      assert pool |> checkin(4, 2_902) |> tick(3_000) |> overloaded() == 1
      assert pool |> checkin(4, 2_902) |> checkin(3, 2_903) |> tick(3_000) |> overloaded() == 0
    end

    test "comes though a tenant that asks seldom is served soon" do
      pool = busy() |> tick(1_000) |> asked(1_100, tag: :flood, tenant: 1) |> asked(1_100, tag: :flood, tenant: 1)
      pool = pool |> asked(1_190, tag: :seldom, tenant: 2) |> checkin(0, 1_200)
      assert sent() == [:flood]
      pool = checkin(pool, 1, 1_201)
      assert sent() == [:seldom]
      assert pool |> tick(2_000) |> overloaded() == 1
      assert pool |> checkin(3, 1_202) |> checkin(2, 1_203) |> tick(2_000) |> overloaded() == 1
    end

    test "is judged by who waits longest, whatever its priority, while it does" do
      pool = busy() |> tick(1_000) |> asked(1_100, tag: :old, priority: 2)
      pool = for n <- 1..3, reduce: pool, do: (pool -> asked(pool, 1_200, tag: n, priority: 0))
      pool = pool |> checkin(0, 1_201) |> checkin(2, 1_201) |> checkin(3, 1_201)
      assert sent() == [3]
      assert pool |> tick(2_000) |> overloaded() == 1
      {:cancelled, _effects, pool} = Core.cancel(pool, :me, 1, 1_202 * @ms)
      pool = pool |> checkin(4, 1_203) |> asked(1_204)
      assert pool |> tick(2_000) |> overloaded() == 0
    end

    test "is judged by who waits, where nobody was served in the interval, and is over where nobody waits" do
      pool = busy() |> tick(1_000)
      assert pool |> asked(1_949) |> tick(2_000) |> overloaded() == 1
      assert pool |> asked(1_950) |> tick(2_000) |> overloaded() == 0
      assert pool |> tick(2_000) |> overloaded() == 0
    end

    test "is judged before a turn, if nobody ticked" do
      pool = waited(51) |> asked(1_990, tag: :old) |> asked(1_991, tag: :new)
      assert pool |> checkin(1, 2_000) |> overloaded() == 1
      assert sent() == [:new]
    end

    test "is never without codel, and over when that is switched off" do
      assert waited(500, codel: false) |> tick(2_000) |> overloaded() == 0
      pool = waited(51) |> tick(2_000)
      off = TestPool.config(queue_target: 50, queue_interval: 1_000, codel: false)
      assert pool |> done(&Core.configure(&1, :foreman, off, 2_000 * @ms)) |> overloaded() == 0
    end

    test "serves the newest of the highest priority, and as each eighth the newest of all" do
      pool = waited(51) |> tick(2_000)
      requests = [{:low, 2}, {:high1, 0}, {:high2, 0}] ++ for(n <- 1..9, do: {n, 0}) ++ [{:last, 2}]

      pool =
        for {tag, priority} <- requests, reduce: pool, do: (pool -> asked(pool, 2_001, tag: tag, priority: priority))

      {tags, _pool} =
        Enum.map_reduce(1..12, {pool, 1}, fn _, {pool, number} ->
          pool = checkin(pool, number, 2_002)
          [tag] = sent()
          [served] = for {number, %{state: :served}} <- pool.tickets, do: number
          {tag, {pool, served}}
        end)

      assert tags == [9, 8, 7, 6, 5, 4, 3, :last, 2, 1, :high2, :high1]
    end

    test "refuses who has waited more than twice the target, not who has waited that" do
      pool = waited(51) |> tick(2_000) |> asked(2_100, tag: :one) |> asked(2_101, tag: :two, kind: :checkout)
      assert pool |> tick(2_200) |> Report.status() |> Map.fetch!(:queue) == 2
      assert pool |> tick(2_201) |> Report.status() |> Map.fetch!(:queue) == 1
      assert [{:one, :overloaded, retry_in}] = refused()
      assert retry_in >= 101
    end

    test "tells who is past its deadline that" do
      waited(51) |> tick(2_000) |> asked(2_100, tag: :one, wait: 150) |> tick(2_251)
      assert refused() == [{:one, :deadline, 0}]
    end

    test "serves nobody who has waited more than twice the target" do
      pool = waited(51) |> tick(2_000)
      pool = for n <- 1..30, reduce: pool, do: (pool -> asked(pool, 2_100, tag: n, tenant: rem(n, 3)))
      pool = pool |> asked(2_150, tag: :fresh, tenant: 2) |> checkin(1, 2_201)
      assert sent() == [:fresh]
      first = for n <- 1..30, rem(n, 3) == 1, do: n
      second = for n <- 1..24, rem(n, 3) == 2, do: n
      assert Enum.sort(for {tag, :overloaded, _} <- refused(), do: tag) == Enum.sort(first ++ second)
      assert %{ongoing: 1, queue: 12} = Report.status(pool)
    end

    test "refuses eight of a tenant at a hand-over, and leaves the rest to the tick" do
      pool = waited(51) |> tick(2_000)
      pool = for n <- 1..20, reduce: pool, do: (pool -> asked(pool, 2_100, tag: n))
      pool = pool |> asked(2_150, tag: :fresh) |> checkin(1, 2_201)
      assert {sent(), for({tag, :overloaded, _} <- refused(), do: tag)} == {[:fresh], Enum.to_list(1..8)}
      tick(pool, 2_202)
      assert for({tag, :overloaded, _} <- refused(), do: tag) == Enum.to_list(9..20)
    end
  end

  describe "a deadline" do
    test "is past for who has waited longer, not for who has waited as long" do
      pool = pool() |> join(:worker, 0, 0) |> asked(0, tag: :first) |> asked(10, tag: :one, wait: 5)
      assert pool |> tick(15) |> Report.status() |> Map.fetch!(:queue) == 1
      checkin(pool, 0, 15)
      assert sent() == [:one]
      done(pool, &Core.tick(&1, 15 * @ms + 1))
      assert refused() == [{:one, :deadline, 0}]
    end
  end

  describe "a quota" do
    defp over(pool, at, opts) do
      case ask(pool, at, opts) do
        {{:error, :quota, retry_in}, _pool} -> retry_in
        {_served, _pool} -> 0
      end
    end

    test "says exactly when a request will pass" do
      pool = pool(quotas: [{:pool, :requests, 90, 2}], max_ongoing: 100) |> join(:worker, 0, 0)
      pool = pool |> asked(0) |> asked(100)
      # 90 a minute are one in 666 2/3 ms: the first is back after that, the second after twice that.
      assert for(at <- [100, 665, 666, 667, 1_333], do: over(pool, at, [])) == [567, 2, 1, 0, 0]
      pool = asked(pool, 700)
      assert for(at <- [700, 1_333, 1_334], do: over(pool, at, [])) == [634, 1, 0]
    end

    test "passes as many as rate and burst allow, however often is tried, and never one that comes too soon" do
      pool = pool(quotas: [{:each, :tokens, 600, 7}], max_ongoing: 1_000) |> join(:worker, 0, 0)

      {_pool, passed} =
        Enum.reduce(0..10_000//3, {pool, 0}, fn at, {pool, passed} ->
          case ask(pool, at, tenant: "t", cost: 2) do
            {{:sent, _, _}, pool} ->
              {pool, passed + 2}

            {{:error, :quota, retry_in}, pool} ->
              assert over(pool, at + retry_in, tenant: "t", cost: 2) == 0
              assert over(pool, at + retry_in - 1, tenant: "t", cost: 2) == 1
              {pool, passed}
          end
        end)

      assert passed in 104..107
    end

    test "is the strictest of all that a request is under" do
      quotas = [{:pool, :requests, 60, 1}, {{:tenant, :a}, :requests, 1, 1}, {{:tenant, :b}, :requests, 600, 1}]
      pool = pool(quotas: quotas, max_ongoing: 9) |> join(:worker, 0, 0) |> asked(0, tenant: :a)
      assert over(pool, 0, tenant: :a) == 60_000
      assert over(pool, 0, tenant: :b) == 1_000
      assert over(pool, 1_000, tenant: :b) == 0
      assert over(pool, 1_000, tenant: :a) == 59_000
    end

    test "of more than the burst passes when the bucket is full, and leaves it in debt" do
      pool = pool(quotas: [{:pool, :tokens, 60, 2}], max_ongoing: 9) |> join(:worker, 0, 0) |> asked(0, cost: 1)
      assert over(pool, 0, cost: 5) == 1_000
      pool = asked(pool, 1_000, cost: 5)
      assert over(pool, 1_000, cost: 1) == 4_000
    end

    test "stays charged over a change of configuration that keeps it" do
      same = {:pool, :requests, 1, 1}
      pool = pool(quotas: [same]) |> join(:worker, 0, 0) |> asked(0)
      configure = &done(&1, fn pool -> Core.configure(pool, :foreman, TestPool.config(quotas: &2), 0) end)
      assert pool |> configure.([{:each, :requests, 5, 5}, same]) |> over(0, []) == 60_000
      assert pool |> configure.([{:pool, :requests, 1, 2}]) |> over(0, []) == 0
    end

    test "keeps no bucket of tenants that stay away" do
      quota = Quota.configure(%Quota{}, [{:each, :requests, 60_000, 1}])
      quota = Enum.reduce(1..10_000, quota, &Quota.charge(&2, &1, 1, &1 * @ms))
      assert map_size(quota.buckets) <= 128
    end
  end

  describe "who is refused for want of room" do
    test "hears how long the queue will take" do
      pool = pool(max_queue: 2, max_ongoing: 2, queue_interval: 700)
      assert {{:error, :queue_full, 700}, pool} = ask(pool, 0, wait: 0)
      pool = pool |> join(:worker, 0, 0)
      assert {{:sent, 1, :worker}, pool} = ask(pool, 0)
      pool = pool |> checkin(1, 90) |> asked(100) |> asked(100) |> asked(100) |> asked(100)
      assert {{:error, :queue_full, 135}, _pool} = ask(pool, 100)
    end

    test "comes again after a ms at least" do
      pool = pool(max_queue: 0) |> join(:worker, 0, 0) |> asked(0)
      assert {{:error, :queue_full, 1}, _pool} = ask(pool, 0)
    end
  end

  describe "turns" do
    # Tenants that always have somebody waiting; how much cost of each was served.
    defp shares(weights, costs, count) do
      tickets = for {tenant, cost} <- costs, n <- 1..count, do: {n, tenant, cost}

      waiting =
        for {{_n, tenant, cost}, number} <- Enum.with_index(Enum.sort(tickets)), reduce: Waiting.new() do
          waiting -> Waiting.join(waiting, %{ticket(tenant: tenant, cost: cost) | number: number, deadline: :infinity})
        end

      by_number =
        for {{_n, tenant, cost}, number} <- Enum.with_index(Enum.sort(tickets)), into: %{}, do: {number, {tenant, cost}}

      serve(waiting, weights, by_number, count, %{})
    end

    defp serve(_waiting, _weights, _tickets, 0, served), do: served

    defp serve(waiting, weights, tickets, left, served) do
      {tenant, waiting} = Waiting.visit(waiting, weights)
      assert {^tenant, ^waiting} = Waiting.visit(waiting, weights)
      number = Waiting.next(waiting, tenant, :oldest)
      {^tenant, cost} = tickets[number]
      waiting = Waiting.serve(waiting, %{ticket(tenant: tenant, cost: cost) | number: number, deadline: :infinity})
      serve(waiting, weights, tickets, left - 1, Map.update(served, tenant, cost, &(&1 + cost)))
    end

    test "share what is served by weight, whatever it costs" do
      for seed <- 1..20 do
        :rand.seed(:exsss, seed)
        tenants = Enum.take([:a, :b, :c, :d], 1 + :rand.uniform(3))
        weights = Map.new(tenants, &{&1, :rand.uniform(10)})
        costs = Map.new(tenants, &{&1, :rand.uniform(20)})
        served = shares(weights, costs, 1_500)

        turns =
          for tenant <- tenants, do: {Map.get(served, tenant, 0) / weights[tenant], costs[tenant] / weights[tenant]}

        for {one, most} <- turns,
            {other, most_of_other} <- turns,
            do: assert(abs(one - other) <= 2 + most + most_of_other)
      end
    end

    test "that serve nobody are skipped, however many" do
      {micros, served} = :timer.tc(fn -> shares(%{}, %{a: 1_000_000, b: 999_999}, 1_000) end)
      assert_in_delta served.a, served.b, 2_000_000
      assert micros < 5_000_000
    end
  end

  describe "the death of a worker" do
    test "is met before a turn, and those who wait keep theirs" do
      pool = pool() |> join(:dead, 0, 0) |> asked(0, tag: :first) |> asked(0, tag: :one)
      Process.put(:dead, [:dead])
      pool = checkin(pool, 0, 1)
      assert {sent(), Report.status(pool).queue} == {[], 1}
      assert {:send, :foreman, {:kantoku_pool, :pool, {:down, :dead}}} in Process.get(:effects)
      join(pool, :alive, 0, 2)
      assert sent() == [:one]
    end

    test "is met by the next request, which goes to another" do
      pool = pool() |> join(:dead, 0, 0) |> join(:alive, 1, 0)
      Process.put(:dead, [:dead])
      assert {{:sent, 0, :alive}, pool} = ask(pool, 1)
      assert Report.status(pool).workers == 1
      assert {:ok, [], ^pool} = Core.down(pool, :dead, 0)
    end
  end

  test "a watch is asked for once in the life of a caller" do
    pool = pool() |> join(:worker, 0, 0)
    watched = fn -> for {:watch, pid} <- Process.get(:effects), do: pid end
    pool = asked(pool, 0)
    assert watched.() == [:me]
    pool = pool |> checkin(0, 1) |> asked(2)
    assert watched.() == []
    {:ok, _effects, pool} = Core.down(pool, :me, 0)
    asked(pool, 3)
    assert watched.() == [:me]
  end

  test "a mean takes the first sample whole, and a sixteenth of each that follows" do
    assert Mean.read(nil, 1_000) == 0
    assert Mean.add(nil, 160) == 160
    assert 160 |> Mean.add(0) |> Mean.add(310) == 160
    assert Mean.read(15_999, 1_000) == 15
  end

  test "a latency rises at once, falls with the time since, and fades where nothing is heard" do
    second = 1_000 * @ms
    latency = Latency.hear(%Latency{}, 100, 0, second)
    assert latency.value == 100.0
    assert_in_delta Latency.hear(latency, 20, second, second).value, 20 + 80 / :math.exp(1), 1.0e-9
    assert Latency.hear(latency, 100, second, second).value == 100.0
    assert_in_delta Latency.expect(latency, 2 * second, second), 100 / :math.exp(2), 1.0e-9
    assert Latency.expect(%Latency{}, second, second) == 0.0
  end

  test "the rendezvous weight of a hash and a member is the same on every engine" do
    weights = [
      9_370_218_965_779_684_112,
      3_246_858_695_411_730_098,
      7_792_259_576_135_971_849,
      16_014_040_165_231_441_321
    ]

    assert for({hash, member} <- [{0, 0}, {1, 0}, {0, 1}, {0xFFFFFFFF, 12}], do: Choice.mix(hash, member)) == weights
  end
end

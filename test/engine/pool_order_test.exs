import Kantoku.EachEngine

alias Kantoku.TestPool

each_engine Kantoku.Engine.PoolOrderTest do
  import TestPool, only: [hear: 1]

  setup context do
    pool = TestPool.open(@engine, Map.get(context, :pool, []))
    worker = TestPool.worker(pool, 0)
    {:sent, first, _} = TestPool.call(pool, :first)
    %{pool: pool, worker: worker, first: first}
  end

  # The order in which the worker gets what waits, once the first is out of its way.
  defp order(context, tickets) do
    [:first | order] = TestPool.serve(context.pool, context.worker, Map.put(tickets, :first, context.first))
    order
  end

  describe "one tenant's requests" do
    test "are served in the order in which they came", %{pool: pool} = context do
      requests = Enum.to_list(1..20)
      assert order(context, TestPool.queue(pool, requests)) == requests
    end

    test "are not passed by one that comes as a permit comes free", %{pool: pool, worker: worker, first: first} do
      tickets = TestPool.queue(pool, [:two, :three])
      :ok = TestPool.checkin(pool, first)
      hear({:at, ^worker, {:"$gen_call", _, :first}})
      {:queued, four} = TestPool.call(pool, :four)
      assert TestPool.serve(pool, worker, Map.put(tickets, :four, four)) == [:two, :three, :four]
    end

    test "are served by priority, and each eighth is the oldest of all", %{pool: pool} = context do
      low = for n <- 1..4, do: {{:low, n}, priority: 2}
      normal = for n <- 1..4, do: {{:normal, n}, []}
      high = for n <- 1..12, do: {{:high, n}, priority: 0}
      order = order(context, TestPool.queue(pool, low ++ normal ++ high))

      expected =
        for(n <- 1..7, do: {:high, n}) ++
          [{:low, 1}] ++
          for(n <- 8..12, do: {:high, n}) ++
          [{:normal, 1}, {:normal, 2}] ++ [{:low, 2}] ++ [{:normal, 3}, {:normal, 4}] ++ [{:low, 3}, {:low, 4}]

      assert order == expected
    end
  end

  describe "tenants" do
    test "take turns in the order in which they began to wait", %{pool: pool} = context do
      requests = for tenant <- ["c", :a, 2], n <- 1..3, do: {{tenant, n}, tenant: tenant}
      order = order(context, TestPool.queue(pool, requests))
      assert order == for(n <- 1..3, tenant <- ["c", :a, 2], do: {tenant, n})
    end

    @tag pool: [weights: [a: 3, b: 2]]
    test "are served by their weights; who has none has 1", %{pool: pool} = context do
      requests = for tenant <- [:a, :b, :c], n <- 1..30, do: {{tenant, n}, tenant: tenant}
      order = order(context, TestPool.queue(pool, requests))
      turn = [:a, :a, :a, :b, :b, :c]
      assert order |> Enum.take(60) |> Enum.map(&elem(&1, 0)) == List.flatten(List.duplicate(turn, 10))
      for tenant <- [:a, :b, :c], do: assert(for({^tenant, n} <- order, do: n) == Enum.to_list(1..30))
    end

    test "pay for what they ask: twice the cost, half as many", %{pool: pool} = context do
      requests = for {tenant, cost} <- [a: 2, b: 1], n <- 1..20, do: {{tenant, n}, tenant: tenant, cost: cost}
      order = order(context, TestPool.queue(pool, requests))
      assert order |> Enum.take(15) |> Enum.frequencies_by(&elem(&1, 0)) == %{a: 5, b: 10}
    end

    test "that are deep in debt are not waited for", %{pool: pool} = context do
      costly = for n <- 1..2, do: {{:costly, n}, tenant: :costly, cost: 1_000_000}
      cheap = for n <- 1..20, do: {{:cheap, n}, tenant: :cheap}
      order = order(context, TestPool.queue(pool, costly ++ cheap))
      assert order == [{:costly, 1}] ++ for(n <- 1..20, do: {:cheap, n}) ++ [{:costly, 2}]
    end

    @tag pool: [weights: [a: 2]]
    test "have other weights from the time when the pool is opened with them", %{pool: pool} = context do
      tickets = TestPool.queue(pool, for(tenant <- [:a, :b], n <- 1..10, do: {{tenant, n}, tenant: tenant}))
      TestPool.reopen(pool, weights: [b: 2])
      order = order(context, tickets)
      assert order |> Enum.take(9) |> Enum.map(&elem(&1, 0)) == [:a, :b, :b, :a, :b, :b, :a, :b, :b]
    end
  end

  describe "a queue" do
    @tag pool: [max_queue: 2]
    test "takes so many of all tenants, and says when to come again", %{pool: pool} do
      {:queued, one} = TestPool.call(pool, :one, tenant: :a)
      {:queued, _} = TestPool.checkout(pool, :two, tenant: :b)
      assert {:error, :queue_full, retry_in} = TestPool.call(pool, :three, tenant: :c)
      assert retry_in >= 1
      assert {:error, :queue_full, _} = TestPool.checkout(pool, :three)
      assert {:error, :queue_full, _} = TestPool.cast(pool, :three)
      assert %{queue: 2, refused: 3} = TestPool.status(pool)
      :cancelled = TestPool.cancel(pool, one)
      assert {:queued, _} = TestPool.call(pool, :three)
    end

    @tag pool: [max_queue: 6]
    test "that one tenant floods has room for the others", %{pool: pool} = context do
      flood = for n <- 1..6, do: {{:flood, n}, tenant: :flood, priority: if(n == 2, do: 2, else: 1)}
      flood = TestPool.queue(pool, flood)
      calm = TestPool.queue(pool, for(n <- 1..3, do: {{:calm, n}, tenant: :calm}))
      other = TestPool.queue(pool, [{:other, tenant: :other}])
      # The newest go, of the lowest priority first; and each is told.
      for n <- [2, 6, 5], do: hear({:kantoku_pool, {:flood, ^n}, {:refused, :queue_full, retry_in}} when retry_in >= 1)
      # Of equals, any.
      hear({:kantoku_pool, {_tenant, n} = gone, {:refused, :queue_full, _}} when n in 3..4)
      # Who has as much as anybody makes no room for itself, nor has a tenant's only one to go.
      for tenant <- [:flood, :calm], do: {:error, :queue_full, _} = TestPool.call(pool, :late, tenant: tenant)
      assert %{queue: 6, tenants: 3, refused: 6} = TestPool.status(pool)
      tickets = flood |> Map.merge(calm) |> Map.merge(other) |> Map.drop([gone | for(n <- [2, 6, 5], do: {:flood, n})])
      assert context |> order(tickets) |> length() == 6
    end

    @tag pool: [max_queue: 8, weights: [heavy: 3]]
    test "is shared by weight when it is full", %{pool: pool} do
      TestPool.queue(pool, for(n <- 1..8, do: {{:heavy, n}, tenant: :heavy}))
      TestPool.queue(pool, for(n <- 1..2, do: {{:light, n}, tenant: :light}))
      for n <- [8, 7], do: hear({:kantoku_pool, {:heavy, ^n}, {:refused, :queue_full, _}})
      # 6 / 3 is not more than 3.
      assert {:error, :queue_full, _} = TestPool.call(pool, :three, tenant: :light)
      assert %{queue: 8, refused: 3} = TestPool.status(pool)
    end

    @tag pool: [max_queue: 2]
    test "drops a cast without a word", %{pool: pool} do
      for n <- 1..2, do: :queued = TestPool.cast(pool, n, tenant: :a)
      {:queued, _} = TestPool.call(pool, :three, tenant: :b)
      assert %{queue: 2, tenants: 2, refused: 1} = TestPool.status(pool)
      refute_received {:kantoku_pool, _tag, {:refused, _reason, _retry_in}}
    end

    @tag pool: [max_queue: 0]
    test "of no places takes nobody", %{pool: pool, first: first} do
      assert {:error, :queue_full, _} = TestPool.call(pool, :one)
      :ok = TestPool.checkin(pool, first)
      assert {:sent, _, _} = TestPool.call(pool, :one)
    end

    test "has no place for who may not wait", %{pool: pool, first: first} do
      assert {:error, :queue_full, retry_in} = TestPool.call(pool, :one, wait: 0)
      assert retry_in >= 1
      :ok = TestPool.checkin(pool, first)
      assert {:sent, _, _} = TestPool.call(pool, :one, wait: 0)
    end

    test "keeps who waits when it is opened with fewer places", %{pool: pool} = context do
      tickets = TestPool.queue(pool, [1, 2, 3])
      TestPool.reopen(pool, max_queue: 1)
      assert %{queue: 3} = TestPool.status(pool)
      assert {:error, :queue_full, _} = TestPool.call(pool, 4)
      assert order(context, tickets) == [1, 2, 3]
    end
  end

  describe "who has waited longer than it was to" do
    test "is refused by a tick", %{pool: pool} do
      {:queued, call} = TestPool.call(pool, :one, wait: 1)
      {:queued, _} = TestPool.checkout(pool, :two, wait: 1)
      {:queued, _} = TestPool.call(pool, :three, wait: 1_000_000)
      :queued = TestPool.cast(pool, :four, wait: 1)
      TestPool.ticking(pool, fn -> TestPool.status(pool).queue == 1 end)
      hear({:kantoku_pool, :one, {:refused, :deadline, 0}})
      hear({:kantoku_pool, :two, {:refused, :deadline, 0}})
      assert %{expired: 3, refused: 0} = TestPool.status(pool)
      assert {TestPool.checkin(pool, call), TestPool.cancel(pool, call)} == {:gone, :gone}
    end

    test "is not served, if its turn comes before the tick", %{pool: pool} = context do
      {:queued, _} = TestPool.call(pool, :one, wait: 1)
      tickets = TestPool.queue(pool, [:two])
      Process.sleep(3)
      assert order(context, tickets) == [:two]
      hear({:kantoku_pool, :one, {:refused, :deadline, 0}})
      refute_received {:kantoku_pool, :one, _}
    end
  end

  describe "a quota" do
    @tag pool: [quotas: [{:pool, :requests, 1, 3}], max_ongoing: 10]
    test "of requests lets a burst pass, and then says when the next may", %{pool: pool} do
      for n <- 1..2, do: assert({:sent, _, _} = TestPool.call(pool, n, cost: 5, tenant: n))
      assert {:error, :quota, retry_in} = TestPool.call(pool, 3)
      assert retry_in in 50_000..60_000
      assert {:error, :quota, again} = TestPool.cast(pool, 3)
      assert again <= retry_in
      assert %{refused: 2, arrived: 5} = TestPool.status(pool)
    end

    @tag pool: [quotas: [{:pool, :requests, 6_000, 1}], max_ongoing: 10]
    test "lets who comes after that time pass", %{pool: pool} do
      sent = fn -> match?({:sent, _, _}, TestPool.call(pool, :again)) end

      case TestPool.call(pool, :one) do
        {:sent, _, _} -> :ok
        {:error, :quota, retry_in} -> Process.sleep(retry_in) && assert(sent.())
      end
    end

    @tag pool: [quotas: [{:pool, :tokens, 1, 10}], max_ongoing: 10]
    test "of tokens counts the cost", %{pool: pool} do
      assert {:sent, _, _} = TestPool.call(pool, :one, cost: 7)
      assert {:error, :quota, retry_in} = TestPool.call(pool, :two, cost: 4)
      assert retry_in in 110_000..120_000
      assert {:sent, _, _} = TestPool.call(pool, :two, cost: 2)
    end

    @tag pool: [quotas: [{:each, :requests, 1, 1}], max_ongoing: 10]
    test "of each is every tenant's own", %{pool: pool} do
      for tenant <- [:a, "a", 1], do: assert({:sent, _, _} = TestPool.call(pool, :one, tenant: tenant))
      for tenant <- [:a, "a", 1, nil], do: assert({:error, :quota, _} = TestPool.call(pool, :two, tenant: tenant))
    end

    @tag pool: [quotas: [{{:tenant, :a}, :requests, 1, 1}, {:pool, :requests, 1, 4}], max_ongoing: 10]
    test "of a tenant is that one's, besides those of all", %{pool: pool} do
      assert {:sent, _, _} = TestPool.call(pool, :one, tenant: :a)
      assert {:error, :quota, _} = TestPool.call(pool, :two, tenant: :a)
      for n <- 1..2, do: assert({:sent, _, _} = TestPool.call(pool, n, tenant: :b))
      assert {:error, :quota, _} = TestPool.call(pool, :three, tenant: :b)
    end

    @tag pool: [quotas: [{:pool, :requests, 1, 3}], max_queue: 1]
    test "is charged to who waits, and not to who is refused", %{pool: pool, first: first} do
      {:queued, two} = TestPool.call(pool, :two)
      for _ <- 1..5, do: {:error, :queue_full, _} = TestPool.call(pool, :full)
      :cancelled = TestPool.cancel(pool, two)
      assert {:queued, _} = TestPool.call(pool, :three)
      :ok = TestPool.checkin(pool, first)
      assert {:error, :quota, _} = TestPool.call(pool, :four)
    end

    @tag pool: [quotas: [{:pool, :tokens, 1, 10}], max_ongoing: 10]
    test "lets what costs more than the burst pass when it is whole, never otherwise", %{pool: pool} do
      assert {:error, :quota, retry_in} = TestPool.call(pool, :one, cost: 11)
      assert retry_in in 50_000..60_000
      TestPool.reopen(pool, quotas: [{:pool, :tokens, 2, 10}], max_ongoing: 10)
      assert {:sent, _, _} = TestPool.call(pool, :one, cost: 11)
      assert {:error, :quota, _} = TestPool.call(pool, :two, cost: 1)
    end
  end

  describe "overload" do
    # Who waits longer than the target of 1 s with nobody served, as the first interval ends, brings it; it lasts for a minute.
    defp overload(pool, opts) do
      {:queued, _} = TestPool.call(pool, :patient)
      Process.sleep(opts[:queue_target] + 10)
      TestPool.reopen(pool, Keyword.put(opts, :queue_interval, 60_000))
      :ok = TestPool.tick(pool)
    end

    defp calm(pool, opts) do
      TestPool.reopen(pool, Keyword.put(opts, :queue_interval, 1))
      Process.sleep(2)
      :ok = TestPool.tick(pool)
    end

    @tag pool: [queue_interval: 1, queue_target: 1_000]
    test "serves the newest first, within its priority", %{pool: pool} = context do
      calm(pool, queue_target: 1_000)
      overload(pool, queue_target: 1_000)
      assert %{overloaded: 1} = TestPool.status(pool)
      tickets = TestPool.queue(pool, [1, 2, {:high, priority: 0}, 3, {:higher, priority: 0}])
      :ok = TestPool.checkin(pool, context.first)
      hear({:at, _, {:"$gen_call", _, :first}})
      assert TestPool.serve(pool, context.worker, tickets) == [:higher, :high, 3, 2, 1]
    end

    @tag pool: [queue_interval: 1, queue_target: 20]
    test "refuses who has waited more than twice the target, at the tick", %{pool: pool} do
      calm(pool, queue_target: 20)
      overload(pool, queue_target: 20)
      {:queued, _} = TestPool.checkout(pool, :held)
      TestPool.ticking(pool, fn -> TestPool.status(pool).queue == 0 end)
      hear({:kantoku_pool, :patient, {:refused, :overloaded, retry_in}})
      hear({:kantoku_pool, :held, {:refused, :overloaded, _}})
      assert retry_in >= 1
      assert %{refused: 2, overloaded: 1} = TestPool.status(pool)
    end

    @tag pool: [queue_interval: 1, queue_target: 20]
    test "refuses them at a hand-over", %{pool: pool, first: first} do
      calm(pool, queue_target: 20)
      overload(pool, queue_target: 20)
      for n <- 1..20, do: {:queued, _} = TestPool.call(pool, n)
      Process.sleep(45)
      :ok = TestPool.checkin(pool, first)
      for n <- 1..20, do: hear({:kantoku_pool, ^n, {:refused, :overloaded, _}})
      assert %{queue: 0, free: 1} = TestPool.status(pool)
    end

    @tag pool: [queue_interval: 1, queue_target: 20, codel: false]
    test "is not looked for without codel", %{pool: pool} = context do
      calm(pool, queue_target: 20, codel: false)
      overload(pool, queue_target: 20, codel: false)
      {:queued, late} = TestPool.call(pool, :late)
      Process.sleep(45)
      :ok = TestPool.tick(pool)
      assert %{overloaded: 0, queue: 2} = TestPool.status(pool)
      :ok = TestPool.checkin(pool, context.first)
      hear({:at, _, {:"$gen_call", _, :patient}})
      assert TestPool.cancel(pool, late) == :cancelled
    end
  end

  describe "the foreman" do
    test "hears once between two ticks that a request waits or finds no room", %{pool: pool} do
      refute_received {:kantoku_pool, :pool, :pressed}
      TestPool.queue(pool, [1, 2])
      hear({:kantoku_pool, :pool, :pressed})
      TestPool.status(pool)
      refute_received {:kantoku_pool, :pool, :pressed}
      :ok = TestPool.tick(pool)
      refute_received {:kantoku_pool, :pool, :pressed}
      {:error, :queue_full, _} = TestPool.call(pool, 3, wait: 0)
      hear({:kantoku_pool, :pool, :pressed})
    end
  end
end

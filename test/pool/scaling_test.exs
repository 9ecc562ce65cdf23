defmodule Kantoku.Pool.ScalingTest do
  import Kantoku.PoolCase

  pools_on_each_engine Kantoku.Pool.ScalingTest do
    alias Kantoku.Telemetry

    # One worker for each request, at once; and back when it has been quiet for a moment.
    @scaling [
      metrics: [ongoing: 1],
      look_back: 0,
      scale_up: [policies: [{:count, 100, period: 100}]],
      scale_down: [stabilization: 200, policies: [{:percent, 100, period: 100}]],
      forecast: :off
    ]

    defp scaling!(scaling \\ [], opts \\ []) do
      own = [min: 1, max: 8, target: 1, codel: false, scaling: Keyword.merge(@scaling, scaling)]
      pool!(@engine, Keyword.merge(own, opts))
    end

    # So many requests that last until the gate is open.
    defp load(pool, count, opts \\ []) do
      gate = :atomics.new(1, [])
      {request, opts} = {{:run, fn -> wait(gate) end}, [timeout: 60_000] ++ opts}
      {gate, for(_ <- 1..count, do: Task.async(fn -> Pool.call(pool, request, opts) end))}
    end

    defp wait(gate), do: if(:atomics.get(gate, 1) == 0, do: Process.sleep(2) && wait(gate))

    defp relieve({gate, tasks}) do
      :atomics.put(gate, 1, 1)
      assert tasks |> Task.await_many(30_000) |> Enum.uniq() == [{:ok, nil}]
    end

    defp explained(pool) do
      {:ok, explained} = Pool.explain(pool)
      explained
    end

    test "a pool grows with its load as far as it may, and shrinks again when that is over" do
      pool = scaling!()
      assert %{wanted: 1, ready: 1} = status(pool)
      load = load(pool, 12)
      until(pool, ready: 8, ongoing: 8, queue: 4)
      relieve(load)
      settled(pool, 1)
      assert [_ | _] = decisions = explained(pool).decisions
      assert Enum.all?(decisions, &(&1.wanted in 1..8))
      assert %{size: 1, scaling: true} = explained(pool)
    end

    test "it grows before anybody waits, and overflow is on top of it" do
      pool = scaling!([metrics: [utilization: 0.5]], target: 4, min: 2, max: 6, max_overflow: 1, overflow_linger: 50)
      load = load(pool, 3)
      until(pool, ready: 6, overflow: 0)
      more = load(pool, 6)
      until(pool, ready: 7, overflow: 1, queue: 2)
      relieve(more)
      relieve(load)
      settled(pool, 2)
    end

    test "no call is cut off, whatever the size does" do
      pool = scaling!(scale_down: [stabilization: 0])

      for _ <- 1..5 do
        tasks = for _ <- 1..12, do: Task.async(fn -> for _ <- 1..4, do: Pool.call(pool, {:sleep, 15}) end)
        assert tasks |> Task.await_many(30_000) |> List.flatten() |> Enum.uniq() == [{:ok, :ok}]
        until(pool, wanted: 1)
      end
    end

    test "a foreman that was killed has a successor that goes on in the same windows" do
      pool = scaling!(scale_down: [stabilization: 60_000])
      load = load(pool, 4)
      until(pool, ready: 4)
      before = explained(pool).decisions
      killed = System.system_time(:millisecond)
      foreman = foreman(pool)
      kill(foreman)
      relieve(load)

      last =
        eventually(fn ->
          with [%{limited_by: [:stabilization | _], at: at} = last | _] when at > killed + 20 <-
                 explained(pool).decisions,
               do: last,
               else: (_ -> nil)
        end)

      assert foreman(pool) != foreman
      assert %{size: 4, wanted: 4, metrics: [%{wish: 0}]} = last
      assert %{why: %{at: wished}} = Enum.find(last.steps, &(&1.rule == :stabilization))
      assert wished <= killed
      moves = for %{move: :up} = decision <- before, do: decision
      assert moves != []
      assert moves -- explained(pool).decisions == []
      until(pool, wanted: 4, ready: 4)
    end

    test "how it is scaled can be changed while it is" do
      pool = scaling!()
      load = load(pool, 12)
      until(pool, ready: 8)
      :ok = Pool.update(pool, scaling: [max: 3])
      until(pool, max: 3, wanted: 3)
      :ok = Pool.update(pool, scaling: [max: 6, scale_down: [stabilization: 60_000]])
      until(pool, ready: 6)
      relieve(load)
      eventually(fn -> match?([%{limited_by: [:stabilization | _]} | _], explained(pool).decisions) end)
      assert %{wanted: 6} = status(pool)
      :ok = Pool.update(pool, target: 2)
      until(pool, wanted: 2, ready: 2, target: 2)

      assert_raise ArgumentError, ~r/option :scaling, option :look_back/, fn ->
        Pool.update(pool, scaling: [look_back: -1])
      end
    end

    test "scaling can be turned on and off, and off a pool keeps to its target" do
      pool = pool!(@engine, target: 2, max_queue: 100, codel: false)
      assert explained(pool) == %{scaling: false, size: nil, forecast: nil, decisions: []}
      load = load(pool, 6)
      until(pool, ongoing: 2, queue: 4)
      :ok = Pool.update(pool, scaling: [min: 1, max: 6] ++ @scaling)
      until(pool, ready: 6, ongoing: 6)
      :ok = Pool.update(pool, scaling: false)
      until(pool, wanted: 2)
      assert %{scaling: false, size: nil, decisions: [_ | _]} = explained(pool)
      relieve(load)
      settled(pool, 2)
    end

    test "what is decided is an event when it moves the size, or a rule alone held it, once" do
      pool = scaling!(scale_down: [stabilization: 60_000])
      {instance, name} = pool
      {:ok, events} = Telemetry.subscribe(instance, events: [[:pool, :scaled], [:pool, :resized]])
      load = load(pool, 3)

      {%{from: 1, to: to}, %{pool: ^name, decision: decision}} = scaled(events, &(&1.decision.move == :up))
      assert %{wanted: ^to, metrics: [%{formula: "ceil(" <> _}]} = decision
      assert resized(events) == :scaled
      until(pool, ready: 3)
      relieve(load)
      {%{from: 3, to: 3}, %{limited_by: [:stabilization]}} = scaled(events, &(&1.limited_by == [:stabilization]))
      refute_receive {:kantoku_event, ^events, [_, _, :scaled], _, %{limited_by: [:stabilization]}}, 300
    end

    # The next of these for which this holds.
    defp scaled(subscription, fun) do
      receive do
        {:kantoku_event, ^subscription, [:kantoku, :pool, :scaled], measurements, metadata} ->
          if fun.(metadata), do: {measurements, metadata}, else: scaled(subscription, fun)
      after
        5_000 -> raise "no such event"
      end
    end

    defp resized(subscription) do
      receive do: ({:kantoku_event, ^subscription, [_, _, :resized], _, %{reason: reason}} -> reason)
    end

    test "each decision tells its inputs, its formula and its outcome" do
      pool = scaling!([scale_up: [policies: [{:count, 2, period: 60_000}]]], quotas: [{:pool, requests: 1_000_000}])
      load = load(pool, 5)
      until(pool, ready: 3)
      move = eventually(fn -> Enum.find(explained(pool).decisions, &(&1.move == :up and &1.wanted == 3)) end)

      assert %{readings: %{ongoing: _, utilization: _, queue_wait: _, arrival_rate: _}, times: 1, since: at, at: at} =
               move

      assert [%{metric: :ongoing, target: 1, wish: wish, formula: "ceil(" <> _}] = move.metrics
      assert wish >= 3
      assert move.explanation =~ "at most 3 by count 2 in 60000 ms"

      held =
        eventually(fn -> Enum.find(explained(pool).decisions, &(&1.move == :none and &1.limited_by == [:policies])) end)

      assert %{size: 3, wanted: 3, metrics: [%{wish: 5}]} = held
      eventually(fn -> Enum.any?(explained(pool).decisions, &(&1.since == held.since and &1.times > held.times)) end)
      assert Enum.sort_by(explained(pool).decisions, & &1.at, :desc) == explained(pool).decisions
      relieve(load)
    end

    test "it does not grow into a quota, which more workers cannot lift" do
      pool = scaling!([], quotas: [{:pool, requests: 60, burst: 100}])
      {:ok, _} = Pool.call(pool, {:sleep, 20})
      load = load(pool, 6)
      held = eventually(fn -> Enum.find(explained(pool).decisions, &(:quota in &1.limited_by)) end)
      assert %{size: 1, wanted: 1, headroom: 0, metrics: [%{wish: 6}]} = held
      assert held.explanation =~ "quota: 1, requests allows 0 more"
      assert %{wanted: 1} = status(pool)
      :ok = Pool.update(pool, quotas: [{{:tenant, :other}, requests: 1}])
      until(pool, ready: 6)
      relieve(load)
    end

    test "it does not grow into the quotas of its tenants, unless others come, too" do
      pool = scaling!([], quotas: [{:each, requests: 60, burst: 100}])
      for tenant <- [:a, :b], do: {:ok, _} = Pool.call(pool, {:sleep, 20}, tenant: tenant)
      load = load(pool, 6, tenant: :a)
      held = eventually(fn -> Enum.find(explained(pool).decisions, &(:quota in &1.limited_by)) end)
      assert %{size: 1, wanted: 1, headroom: 0} = held
      assert held.explanation =~ "quota: 1, tenants allows 0 more"
      assert %{wanted: 1} = status(pool)
      # Of one that has no limit of its own.
      :ok = Pool.update(pool, quotas: [{{:tenant, :a}, requests: 60, burst: 100}])
      more = load(pool, 1, tenant: :free)
      until(pool, ready: 7)
      relieve(load)
      relieve(more)
    end

    test "it does not grow while quotas refuse what comes and nobody waits" do
      quotas = [{{:tenant, :a}, requests: 1_000_000}, {{:tenant, :b}, requests: 1, burst: 1}]
      pool = scaling!([metrics: [utilization: 0.5]], max_ongoing: 4, quotas: quotas)
      {:ok, _} = Pool.call(pool, {:sleep, 20}, tenant: :b)
      refuse = fn -> {:error, %Error{reason: :quota}} = Pool.call(pool, :pid, tenant: :b) end
      eventually(fn -> refuse.() && explained(pool).decisions != [] end)
      load = load(pool, 3, tenant: :a)

      held = eventually(fn -> refuse.() && Enum.find(explained(pool).decisions, &(:quota in &1.limited_by)) end)

      assert held.explanation =~ "quota allows 0 more"
      until(pool, ready: 2)
      relieve(load)
    end

    test "it does not grow beyond the memory that its workers may use, and refuses what comes while they use more" do
      options = [min: 1, max: 8, target: 1, codel: false, scaling: @scaling, queue_interval: 700]
      pool = pool!(@engine, options, ballast: List.duplicate(:heavy, 200_000))
      load = load(pool, 2)
      until(pool, ready: 2)
      workers = pids(pool)
      for pid <- workers, do: :erlang.garbage_collect(pid)
      used = workers |> Enum.map(&elem(Process.info(&1, :memory), 1)) |> Enum.sum()
      :ok = Pool.update(pool, quotas: [memory: div(used * 5, 4)])
      eventually(fn -> Enum.any?(explained(pool).decisions, &is_integer(&1.headroom)) end)
      more = load(pool, 6)
      held = eventually(fn -> Enum.find(explained(pool).decisions, &(:quota in &1.limited_by)) end)
      assert held.explanation =~ "memory allows 0 more"
      assert %{wanted: 2} = status(pool)
      relieve(load)
      relieve(more)

      :ok = Pool.update(pool, quotas: [memory: 1])
      assert %Error{details: %{retry_in: 700}} = eventually(fn -> refused(pool) end)
      assert Kantoku.Backpressure.available(pool) == {:ok, 0}
      :ok = Pool.update(pool, quotas: [])
      assert {:ok, _pid} = Pool.call(pool, :pid)
    end

    defp refused(pool) do
      case Pool.call(pool, :pid) do
        {:error, %Error{reason: :quota} = error} -> error
        {:ok, _pid} -> nil
      end
    end

    test "the memory of workers and functions are metrics, too, and one that never answers holds up nothing" do
      cell = :atomics.new(1, [])
      :atomics.put(cell, 1, 1)
      own = fn %{workers: workers, target: 1, degraded: false} when workers > 0 -> :atomics.get(cell, 1) end
      pool = scaling!(metrics: [memory: 100_000_000, heat: {own, 1}])
      {:ok, _} = Pool.call(pool, :pid)
      :ok = Pool.update(pool, scaling: [scale_down: [stabilization: 100]])

      eventually(fn ->
        match?([%{readings: %{heat: 1, memory: bytes}} | _] when bytes > 1_000, explained(pool).decisions)
      end)

      :atomics.put(cell, 1, 3)
      until(pool, ready: 8)
      :atomics.put(cell, 1, 0)
      until(pool, wanted: 1)

      :ok = Pool.update(pool, scaling: [metrics: [ongoing: 1, stuck: {fn _status -> Process.sleep(:infinity) end, 1}]])
      load = load(pool, 4)
      until(pool, ready: 4)
      relieve(load)
      eventually(fn -> match?([%{limited_by: [:missing | _], wanted: 4} | _], explained(pool).decisions) end)
    end

    test "a forecast is learnt from the pool's own past, says what it is worth, and outlives the foreman" do
      pool = scaling!(forecast: [bucket: 80, season: 240, lead: 80])
      assert %{mode: :shadow, reason: :too_short} = eventually(fn -> explained(pool).forecast end)
      eventually(fn -> explained(pool).forecast.reason != :too_short end)
      assert %{mode: mode, explanation: explanation, backtest: %{reactive: _}} = explained(pool).forecast
      assert explanation =~ if(mode == :active, do: "active: ", else: "in shadow: ")
      kept = outlook(pool).history.closed
      foreman = foreman(pool)
      kill(foreman)
      eventually(fn -> foreman(pool) != foreman end)
      {_index, _mean} = oldest = List.last(kept)
      eventually(fn -> match?(%{forecast: %{model: %{}}}, outlook(pool)) end)
      assert oldest in outlook(pool).history.closed
      :ok = Pool.update(pool, scaling: [forecast: :off])
      assert explained(pool).forecast == nil
    end

    defp outlook(pool), do: :sys.get_state(foreman(pool)).scaling.outlook

    test "a pool that is stopped leaves nothing behind, and one of its name begins anew" do
      pool = scaling!(forecast: [])
      {instance, name} = pool
      load = load(pool, 3)
      until(pool, ready: 3)
      relieve(load)
      {:ok, _} = Pool.stop(pool)
      assert {:error, %Error{reason: :not_found}} = Pool.explain(pool)
      {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
      assert for({key, ^name} <- keys(book), key != :foreman, do: key) == []
      {:ok, ^pool} = Pool.start(instance, options(max: 2, scaling: @scaling))
      assert Enum.all?(explained(pool).decisions, &(&1.move == :none))
    end

    defp keys(book), do: for(row <- :ets.tab2list(book), key = elem(row, 0), is_tuple(key), do: pair(key))
    defp pair(key), do: {elem(key, 0), elem(key, 1)}
  end
end

defmodule Kantoku.MetricsTest do
  use ExUnit.Case, async: true

  import Kantoku.InstanceCase, only: [start!: 0, start!: 1]

  alias Kantoku.{Error, Metrics, PoolCase}
  doctest Metrics

  # By all labels but the instance's.
  defp read(instance, name) do
    {:ok, families} = Metrics.snapshot(instance)

    for %{name: ^name, series: series} <- families, %{labels: labels, value: value} <- series, into: %{} do
      {own, rest} = Map.pop!(labels, "instance")
      assert own == "#{instance}"
      {rest, value}
    end
  end

  # Rows of series that were found.
  defp noted(instance) do
    Metrics.Board.reading(instance, fn _collection, found ->
      :ets.select_count(found, [{{{:series, :_, :_}, :_}, [], [true]}])
    end)
  end

  for engine <- Kantoku.EachEngine.engines() do
    describe "on the #{engine} engine" do
      @engine engine

      test "what was declared is counted, set and observed, by name and by series" do
        instance = start!(engine: @engine)
        :ok = Metrics.counter(instance, "tokens_used", labels: [:model])
        :ok = Metrics.add(instance, "tokens_used", 3, model: "small")
        {:ok, series} = Metrics.series(instance, "tokens_used", %{model: "small"})
        :ok = Metrics.add(series, 0.5)
        :ok = Metrics.add(instance, "tokens_used", 1, model: Kantoku.MetricsTest)

        assert read(instance, "tokens_used") == %{
                 %{"model" => "small"} => 3.5,
                 %{"model" => "Kantoku.MetricsTest"} => 1.0
               }

        :ok = Metrics.gauge(instance, "rooms_free")
        :ok = Metrics.set(instance, "rooms_free", 4)
        assert read(instance, "rooms_free") == %{%{} => 4.0}

        :ok = Metrics.histogram(instance, "answer_duration_seconds", unit: :seconds)
        :ok = Metrics.observe(instance, "answer_duration_seconds", 0.25)
        assert {:ok, found} = Metrics.quantile(instance, "answer_duration_seconds", 0.5)
        assert_in_delta found, 0.25, 0.25 * 0.03
        assert %{%{} => %{count: 1, sum: 0.25, above: 0}} = read(instance, "answer_duration_seconds")
      end

      test "a histogram of another unit begins at what it was told" do
        instance = start!(engine: @engine)
        :ok = Metrics.histogram(instance, "cost", least: 0.001)
        for cents <- 1..100, do: :ok = Metrics.observe(instance, "cost", cents / 100)
        assert {:ok, found} = Metrics.quantile(instance, "cost", 0.5)
        assert_in_delta found, 0.5, 0.5 * 0.03
      end

      test "labels beyond the limit are folded into one, whoever records" do
        instance = start!(engine: @engine, metrics: [max_series: 2])
        :ok = Metrics.counter(instance, "calls", labels: [:id])
        for id <- 1..5, do: :ok = Metrics.add(instance, "calls", 1, id: id)
        assert read(instance, "calls") == %{%{"id" => "1"} => 1.0, %{"id" => "2"} => 1.0, %{"id" => "other"} => 3.0}
        assert read(instance, "kantoku_metrics_folded")[%{"metric" => "calls"}] == 3.0
      end

      test "beyond the limit of bytes a series is refused" do
        instance = start!(engine: @engine, metrics: [max_bytes: 40_000])
        :ok = Metrics.histogram(instance, "took", labels: [:id])
        answers = for id <- 1..8, do: Metrics.observe(instance, "took", 1, id: id)

        assert {:error, %Error{reason: :limit, details: %{metric: "took", max_bytes: 40_000}} = error} =
                 List.last(answers)

        assert Exception.message(error) =~ "max_bytes"
      end

      test "what was measured outlives the registry" do
        instance = start!(engine: @engine)
        :ok = Metrics.counter(instance, "calls")
        {:ok, series} = Metrics.series(instance, "calls")
        :ok = Metrics.add(series, 1)
        old = Process.whereis(instance)
        Kantoku.TestOwner.kill(old)
        Kantoku.TestOwner.eventually(fn -> Process.whereis(instance) not in [nil, old] end)
        :ok = Metrics.add(series, 1)
        assert read(instance, "calls") == %{%{} => 2.0}
      end

      test "the histograms of pools have quantiles" do
        {instance, :workers} = pool = PoolCase.pool!(@engine)
        assert {:ok, nil} = Metrics.quantile(instance, "kantoku_pool_request_duration_seconds", 0.99, pool: :workers)
        for _ <- 1..64, do: {:ok, _} = Kantoku.Pool.call(pool, :pid)
        assert {:ok, found} = Metrics.quantile(instance, "kantoku_pool_request_duration_seconds", 0.99, pool: :workers)
        assert found > 0 and found < 60
        spread = read(instance, "kantoku_pool_request_duration_seconds")
        assert [{%{"pool" => "workers"}, value}] = Map.to_list(spread)
        assert Metrics.quantile(value, 0.99) == found
        assert {:ok, nil} = Metrics.quantile(instance, "kantoku_pool_request_duration_seconds", 0.99, pool: :none)
      end

      test "breakers beyond the limit are summed, and leave their place as they are removed" do
        instance = start!(engine: @engine, metrics: [max_series: 12])
        names = for n <- 1..4, do: "b#{n}"
        for name <- names, do: {:ok, _} = Kantoku.Breaker.install(instance, name)
        for name <- names, do: :ok = Kantoku.Breaker.record({instance, name}, :ok)

        states = read(instance, "kantoku_breaker_state")
        assert map_size(states) == 13
        assert states[%{"breaker" => "other", "pool" => "other", "state" => "other"}] == 2.0
        assert states[%{"breaker" => "b1", "pool" => "", "state" => "closed"}] == 1.0

        :ok = Kantoku.Breaker.remove({instance, "b1"})
        {:ok, _} = Kantoku.Breaker.install(instance, "b5")
        states = read(instance, "kantoku_breaker_state")
        assert states[%{"breaker" => "b5", "pool" => "", "state" => "closed"}] == 1.0
        refute Enum.any?(states, fn {labels, _} -> labels["breaker"] == "b1" end)

        for n <- 6..40 do
          {:ok, _} = Kantoku.Breaker.install(instance, "b#{n}")
          :ok = Kantoku.Breaker.remove({instance, "b#{n}"})
        end

        assert read(instance, "kantoku_breaker_state") == states
      end

      test "breakers whose names are the same as texts are one series" do
        instance = start!(engine: @engine)

        for name <- [:api, "api"] do
          {:ok, _} = Kantoku.Breaker.install(instance, name)
          {:ok, _} = Kantoku.Breaker.install(instance, name, minimum_number_of_calls: 5)
          :ok = Kantoku.Breaker.record({instance, name}, :ok)
        end

        assert read(instance, "kantoku_breaker_calls")[%{"breaker" => "api", "outcome" => "ok", "pool" => ""}] == 2.0
        :ok = Kantoku.Breaker.remove({instance, :api})
        assert read(instance, "kantoku_breaker_calls")[%{"breaker" => "api", "outcome" => "ok", "pool" => ""}] == 1.0
      end

      test "a pool that is stopped has no series, and its place is another's" do
        pools = for name <- [:one, :two, :three], do: PoolCase.options(name: name)
        instance = PoolCase.instance!(@engine, metrics: [max_series: 12], pools: pools)
        assert map_size(read(instance, "kantoku_pool_workers")) == 12
        {:ok, _} = Kantoku.Pool.stop({instance, :two})
        assert map_size(read(instance, "kantoku_pool_workers")) == 8
        {:ok, _} = Kantoku.Pool.start(instance, PoolCase.options(name: :four))

        Kantoku.TestOwner.eventually(fn ->
          read(instance, "kantoku_pool_workers")[%{"pool" => "four", "state" => "ready"}] == 1.0
        end)
      end

      test "labels that are cut to the same text are noted once at most" do
        instance = start!(engine: @engine)
        :ok = Metrics.counter(instance, "calls", labels: [:of])
        before = noted(instance)
        for n <- 1..10_000, do: :ok = Metrics.add(instance, "calls", 1, of: String.duplicate("x", 200) <> "#{n}")
        :ok = Metrics.add(instance, "calls", 1, of: String.duplicate("x", 200))
        assert noted(instance) == before + 1
        assert read(instance, "calls") == %{%{"of" => String.duplicate("x", 200)} => 10_001.0}
      end

      test "what has no room is logged once" do
        log =
          ExUnit.CaptureLog.capture_log(fn ->
            instance = start!(engine: @engine, metrics: [max_bytes: 60_000])
            send(self(), instance)
            :ok = Metrics.histogram(instance, "took", labels: [:id])
            for id <- 1..20, do: Metrics.observe(instance, "took", 1, id: id)
          end)

        assert_receive instance
        assert [_before, _after] = String.split(log, "Kantoku #{inspect(instance)}: metrics take")
      end

      test "a crash and its restart are counted by domain and type" do
        instance = start!(engine: @engine)
        Kantoku.InstanceCase.worker!(instance, "a")
        Kantoku.InstanceCase.replaced!(instance, "a")
        where = %{"domain" => "default", "pool" => "", "type" => "Kantoku.TestWorker"}
        assert read(instance, "kantoku_agent_crashes") == %{where => 1.0}
        assert read(instance, "kantoku_agent_restarts") == %{where => 1.0}
      end
    end
  end

  describe "names and labels" do
    test "that Prometheus would not take raise" do
      instance = start!()

      for {name, opts, said} <- [
            {"9lives", [], "letters, digits and _"},
            {"a-b", [], "letters, digits and _"},
            {:calls, [], "letters, digits and _"},
            {"calls_total", [], "without _total"},
            {"kantoku_calls", [], "Kantoku's own"},
            {"erlang_vm_memory_bytes", [], "Kantoku's own"},
            {"process_cpu_seconds", [], "Kantoku's own"},
            {"calls", [labels: [:"not-ok"]], "letters, digits and _"},
            {"calls", [labels: [:__x]], "letters, digits and _"},
            {"calls", [labels: [:instance]], "meaning of its own"},
            {"calls", [labels: [:a, :a]], "each label once"},
            {"calls", [unit: :seconds], "ends with _seconds"},
            {"calls", [unit: :hours], "one of"},
            {"calls", [least: 1], "unknown option"}
          ] do
        error = assert_raise ArgumentError, fn -> Metrics.counter(instance, name, opts) end
        assert Exception.message(error) =~ said
      end
    end

    test "that are others than were declared raise" do
      instance = start!()
      :ok = Metrics.counter(instance, "calls", labels: [:model])
      assert :ok = Metrics.counter(instance, "calls", labels: [:model], help: "In other words.")

      assert_raise ArgumentError, ~r/as a counter with the labels \[:model\]/, fn ->
        Metrics.gauge(instance, "calls", labels: [:model])
      end

      assert_raise ArgumentError, ~r/as a counter/, fn -> Metrics.counter(instance, "calls") end

      for labels <- [[], [modle: 1], [model: 1, more: 2], "model"] do
        assert_raise ArgumentError, ~r/expected labels \[:model\]/, fn -> Metrics.add(instance, "calls", 1, labels) end
      end
    end

    test "of Kantoku's own are read, and not recorded by others" do
      instance = start!()
      labels = [domain: :default, pool: "", type: Agent]

      for {fun, args} <- [add: [1, labels], set: [1, labels], observe: [1, labels], series: [labels]] do
        assert_raise ArgumentError, ~r/Kantoku's own/, fn ->
          apply(Metrics, fun, [instance, "kantoku_agent_crashes" | args])
        end
      end

      assert {:ok, nil} = Metrics.quantile(instance, "kantoku_agent_crashes", 0.5, labels)
      assert read(instance, "kantoku_agent_crashes") == %{}
    end

    test "of which a metric would say more than floats can raise" do
      instance = start!()

      for least <- [0, -1, 1.0e300, 1.0e-300] do
        assert_raise ArgumentError, ~r/:least/, fn -> Metrics.histogram(instance, "cost", least: least) end
      end
    end

    test "what a kind does not take raises" do
      instance = start!()
      :ok = Metrics.counter(instance, "calls")
      assert_raise ArgumentError, ~r/add\/2 for counters/, fn -> Metrics.add(instance, "calls", -1) end
      assert_raise ArgumentError, ~r/set\/2 for gauges/, fn -> Metrics.set(instance, "calls", 1) end
      assert_raise ArgumentError, ~r/histograms/, fn -> Metrics.observe(instance, "calls", 1) end
    end

    test "that do not exist are errors, as is an instance that does not" do
      instance = start!()
      assert {:error, %Error{reason: :not_found} = error} = Metrics.add(instance, "cals", 1)
      assert Exception.message(error) =~ ~s("cals")
      assert {:error, %Error{reason: :not_running}} = Metrics.add(:nobody, "calls", 1)
      assert {:error, %Error{reason: :not_running}} = Metrics.snapshot(:nobody)
    end

    test "are texts: of whatever a term is, and not longer than they may be" do
      instance = start!()
      :ok = Metrics.counter(instance, "calls", labels: [:of])

      for of <- ["ü", :ok, 7, {:pool, 1}, <<255>>, String.duplicate("x", 300)],
          do: :ok = Metrics.add(instance, "calls", 1, of: of)

      found = instance |> read("calls") |> Map.keys() |> Enum.map(& &1["of"]) |> Enum.sort()
      assert found == Enum.sort(["ü", "ok", "7", "{:pool, 1}", "<<255>>", String.duplicate("x", 200)])
    end

    test "are cut between two characters, however long those are" do
      instance = start!()
      :ok = Metrics.counter(instance, "calls", labels: [:of])
      :ok = Metrics.add(instance, "calls", 1, of: "x" <> String.duplicate("ü", 150))
      :ok = Metrics.add(instance, "calls", 1, of: "e" <> String.duplicate("\u0301", 5_000))
      found = instance |> read("calls") |> Map.keys() |> Enum.map(& &1["of"]) |> Enum.sort()
      assert found == Enum.sort(["x" <> String.duplicate("ü", 99), "e" <> String.duplicate("\u0301", 99)])
    end

    test "no term among labels is taken for a pattern" do
      instance = start!()
      :ok = Metrics.counter(instance, "calls", labels: [:of])
      for of <- [:_, :"$1", :other], do: :ok = Metrics.add(instance, "calls", 1, of: of)
      assert map_size(read(instance, "calls")) == 3
    end
  end

  @tag skip: not Kantoku.Native.loaded?()
  test "what exporters read has each instance's, and families once" do
    instances = for _ <- 1..2, do: start!(engine: :native)
    for instance <- instances, do: :ok = Metrics.counter(instance, "seen_by_exporters")
    for instance <- instances, do: :ok = Metrics.add(instance, "seen_by_exporters", 2)
    told = for {"seen_by_exporters", _, _, :counter, series} <- Kantoku.Native.metrics_everything(), do: series
    assert [series] = told
    for instance <- instances, do: assert({[{"instance", "#{instance}"}], 2.0} in series)
  end

  @tag skip: not Kantoku.Native.loaded?()
  test "native bytes are told by owner" do
    bytes = read(start!(engine: :native), "kantoku_native_bytes")

    for owner <- ~w(names owners index pools health metrics breakers),
        do: assert(is_map_key(bytes, %{"owner" => owner}))

    assert bytes[%{"owner" => "metrics"}] > 1_000
  end
end

defmodule Kantoku.Pool.OptionsTest do
  use ExUnit.Case, async: true

  alias Kantoku.Pool.Config
  alias Kantoku.TestWorker

  @worker [worker: {TestWorker, []}]
  @bad [
    {[worker: {TestWorker, []}], ~r/pool nil: option :name is required/},
    {[name: :p], ~r/pool :p: option :worker is required/},
    {[name: :p, worker: 7], ~r/expected a module, an adapter's tuple or a child spec, got: 7/},
    {[name: :p, worker: [tags: [:a]]], ~r/expected a :spec/},
    {[name: :p, size: 3] ++ @worker, ~r/pool :p: unknown option :size \(given 3\)/},
    {[name: :p, target: -1] ++ @worker,
     ~r/option :target: expected an integer of 0 or more, or one of \[nil\], got: -1/},
    {[name: :p, target: 2, min: 3] ++ @worker, ~r/option :min: expected at most :target \(2\), got: 3/},
    {[name: :p, target: 4, max: 3] ++ @worker, ~r/option :max: expected at least :target \(4\), got: 3/},
    {[name: :p, max_queue: 0x100000000] ++ @worker, ~r/option :max_queue: expected at most 4294967295/},
    {[name: :p, max_ongoing: 0] ++ @worker, ~r/option :max_ongoing: expected a positive integer, got: 0/},
    {[name: :p, strategy: :fastest] ++ @worker,
     ~r/option :strategy: expected one of .* or a module with choose\/2, got: :fastest/},
    {[name: :p, warm_up: :some] ++ @worker, ~r/option :warm_up: expected .* one of \[:all\], got: :some/},
    {[name: :p, weights: [{"a", 0}]] ++ @worker,
     ~r/option :weights: expected pairs of a tenant and 1 to 1_000_000, got: {"a", 0}/},
    {[name: :p, weights: [{1.5, 1}]] ++ @worker, ~r/option :weights: expected a tenant/},
    {[name: :p, quotas: [{:all, requests: 1}]] ++ @worker, ~r/option :quotas: expected {:pool \| :each/},
    {[name: :p, quotas: [{:pool, requests: 0}]] ++ @worker, ~r/option :quotas/},
    {[name: :p, quotas: [{:pool, tokens: 5, burst: 0}]] ++ @worker, ~r/option :quotas/},
    {[name: :p, quotas: [cpu: 0]] ++ @worker, ~r/option :quotas: expected .*{:cpu, percent}, got: {:cpu, 0}/},
    {[name: :p, quotas: [cpu: 100.5]] ++ @worker, ~r/option :quotas/},
    {[name: :p, lifetime_jitter: 101] ++ @worker, ~r/option :lifetime_jitter: expected at most 100, got: 101/},
    {[name: :p, scaling: true] ++ @worker,
     ~r/option :scaling: expected false or options of Kantoku.Pool.Scaler.Policy, got: true/},
    {[name: :p, scaling: [tolerance: 2]] ++ @worker,
     ~r/pool :p, option :scaling, option :tolerance: expected a number/},
    {[name: :p, max: 3, scaling: [max: 4]] ++ @worker,
     ~r/option :scaling, option :max: expected nothing, as it stands among the pool's own options, got: 4/},
    {[name: :p, scaling: []] ++ @worker, ~r/option :max: expected an integer of 0 or more, got: nil/},
    {[name: :p, max: 0, target: 0, scaling: []] ++ @worker, ~r/option :max: expected at least 1/},
    {[name: :p, on_abandon: :kill] ++ @worker, ~r/option :on_abandon: expected one of \[:wait, :replace\], got: :kill/},
    {[name: :p, domain: [name: :x]] ++ @worker, ~r/option :domain: unknown option :name/},
    {[name: :p, domain: [backoff: [base: 0]]] ++ @worker,
     ~r/option :domain, option :backoff, option :base: expected a positive/}
  ]

  for {{opts, message}, index} <- Enum.with_index(@bad) do
    test "a bad option is refused with its name, its value and what was expected (#{index}: #{inspect(opts)})" do
      start = fn -> Kantoku.start_link(name: X, pools: [unquote(Macro.escape(opts))]) end
      assert_raise ArgumentError, unquote(Macro.escape(message)), start
    end
  end

  test "pools have names of their own" do
    pool = [name: :p] ++ @worker

    assert_raise ArgumentError, ~r/option :pools: expected each pool once, got twice: :p/, fn ->
      Kantoku.start_link(name: X, pools: [pool, pool])
    end

    assert %{pools: [%{name: :default}]} = Kantoku.Config.new!(name: X, pools: [[name: :default] ++ @worker])
  end

  test "defaults are the documented ones" do
    config = Config.new!([name: :p] ++ @worker)
    assert {config.target, config.min, config.max, config.max_overflow} == {10, 10, 10, 0}
    assert {config.strategy, config.max_ongoing, config.max_queue} == {:power_of_two, 1, 1_000}
    assert {config.codel, config.queue_target, config.queue_interval} == {true, 50, 1_000}
    assert {config.on_abandon, config.abandon_timeout} == {:wait, nil}
    assert {config.warm_up, config.warm_up_timeout, config.start_timeout} == {:all, 30_000, 30_000}
    assert config.domain.partitions == 8
    assert config.domain.policy.budget == %{crashes: 10, within: 60_000}
  end

  test "quotas and weights come to the engine in its form" do
    quotas = [
      {:memory, 1_000_000},
      {:cpu, 12.5},
      {:pool, requests: 600},
      {:each, tokens: 90, burst: 9},
      {{:tenant, "a"}, requests: 1}
    ]

    config = Config.new!([name: :p, quotas: quotas, weights: %{"gold" => 3}] ++ @worker)
    told = Config.for_engine(config, %{draining: false, over_quota: false, counted: false})
    assert told.quotas == [{:pool, :requests, 600, 600}, {:each, :tokens, 90, 9}, {{:tenant, "a"}, :requests, 1, 1}]
    assert told.weights == [{"gold", 3}]
    assert Config.change!(config, max_queue: 1) == %{config | max_queue: 1}
  end

  test "a bound that is the target goes with it when options change, and what was given stays" do
    config = Config.new!([name: :p, target: 2] ++ @worker)
    assert %{min: 64, target: 64, max: 64} = Config.change!(config, target: 64)
    assert %{min: 0, target: 2, max: 9} = bounded = Config.change!(config, min: 0, max: 9)
    assert %{min: 0, target: 5, max: 9} = Config.change!(bounded, target: 5)
    assert_raise ArgumentError, ~r/option :max: expected at least/, fn -> Config.change!(bounded, target: 10) end

    assert_raise ArgumentError, ~r/option :name: expected nothing, as it is fixed/, fn ->
      Config.change!(config, name: :q)
    end

    partitions = [domain: [partitions: 3]]
    assert_raise ArgumentError, ~r/option :partitions: expected nothing/, fn -> Config.change!(config, partitions) end
    changed = Config.change!(config, domain: [budget: [crashes: 3]])
    assert changed.domain.policy.budget == %{crashes: 3, within: 60_000}
  end

  test "the bounds of scaling are the pool's, wherever they are given" do
    here = Config.new!([name: :p, max: 20, scaling: [metrics: [ongoing: 2]]] ++ @worker)
    assert here == Config.new!([name: :p, scaling: [max: 20, metrics: [ongoing: 2]]] ++ @worker)
    assert {here.min, here.target, here.max, here.scaling.min, here.scaling.max} == {1, 1, 20, 1, 20}

    assert %{min: 0, target: 0, scaling: %{min: 1, max: 4}} =
             Config.new!([name: :p, target: 0, max: 4, scaling: []] ++ @worker)

    assert %{min: 1, target: 8, max: 8} = Config.new!([name: :p, target: 8, scaling: []] ++ @worker)
  end

  test "scaling is merged, takes the target along within new bounds, and can be turned on and off" do
    config = Config.new!([name: :p, target: 6, scaling: [max: 20, scale_down: [stabilization: 5]]] ++ @worker)
    changed = Config.change!(config, scaling: [max: 4, scale_down: [select: :min]])
    assert {changed.min, changed.target, changed.max, changed.scaling.max} == {1, 4, 4, 4}
    assert %{stabilization: 5, select: :min} = changed.scaling.scale_down
    assert %{min: 8, target: 8, scaling: %{min: 8}} = Config.change!(config, min: 8)
    assert %{min: 1, target: 9, max: 20} = Config.change!(config, target: 9)
    assert %{scaling: nil, target: 6, max: 20} = off = Config.change!(config, scaling: false)
    assert %{scaling: %{max: 30}, max: 30, min: 1} = Config.change!(off, scaling: [max: 30])
  end

  test "the documentation names every option" do
    docs = Config.docs()

    for option <- Map.keys(Config.new!([name: :p] ++ @worker)),
        option != :__struct__,
        do: assert(docs =~ "`:#{option}`")
  end
end

import Kantoku.EachEngine

each_engine Kantoku.Metrics.StandingTest do
  # How objectives, health and stores stand, as metrics.
  import Kantoku.InstanceCase, only: [worker!: 3]
  import Kantoku.PoolCase, only: [options: 1, settled: 2]
  import Kantoku.TestOwner, only: [eventually: 1]

  alias Kantoku.{Health, InstanceCase, Metrics, SLO, Store}

  defp start!(opts), do: InstanceCase.start!([engine: @engine] ++ opts)

  defp family(instance, name) do
    {:ok, families} = Metrics.snapshot(instance)
    Enum.find(families, %{series: []}, &(&1.name == name))
  end

  # Of the series with these labels, beside the instance's.
  defp value(instance, name, labels) do
    labels = Map.new([instance: instance] ++ labels, fn {label, value} -> {"#{label}", "#{value}"} end)
    Enum.find_value(family(instance, name).series, fn one -> if one.labels == labels, do: one.value end)
  end

  defp values(instance, name, label),
    do: for(%{labels: %{^label => value}} <- family(instance, name).series, uniq: true, do: value)

  # Objectives ---------------------------------------------------------------------------------------------------------------

  test "an objective says what is asked for, what is left and how fast that burns, as its report does" do
    instance = start!(objectives: [[name: :checkout, operation: "checkout", target: 90]])
    for _ <- 1..19, do: :ok = SLO.record(instance, "checkout", :ok)
    :ok = SLO.record(instance, "checkout", :error)

    {:ok, %{budget: %{left: left}, burn_rates: [%{long_rate: rate} | _]}} = SLO.report(instance, :checkout)
    assert_in_delta left, 0.5, 1.0e-9
    assert value(instance, "kantoku_slo_error_budget_remaining_ratio", objective: :checkout) == left
    assert value(instance, "kantoku_slo_burn_rate", objective: :checkout, window: "1h") == rate
    assert value(instance, "kantoku_slo_objective_ratio", objective: :checkout) == 0.9
    assert value(instance, "kantoku_slo_calls", objective: :checkout, outcome: :good) == 19.0
    assert value(instance, "kantoku_slo_calls", objective: :checkout, outcome: :bad) == 1.0
    assert Enum.sort(values(instance, "kantoku_slo_burn_rate", "window")) == ~w(1h 30m 3d 5m 6h)
    assert %{kind: :gauge, unit: "ratio"} = family(instance, "kantoku_slo_objective_ratio")
    assert %{kind: :counter, unit: nil} = family(instance, "kantoku_slo_calls")
  end

  test "windows are written as Prometheus does, in the largest unit that they are whole in" do
    rates = for {long, short} <- [{86_400_000, 5_400_000}, {1_500, 1_000}], do: [rate: 2, long: long, short: short]
    rates = Enum.map(rates, &(&1 ++ [severity: :page]))
    instance = start!(objectives: [[name: :a, operation: :a, burn_rates: rates]])
    assert Enum.sort(values(instance, "kantoku_slo_burn_rate", "window")) == ~w(1500ms 1d 1s 90m)
  end

  test "objectives that are written alike are one, which has the worse of each" do
    for_one = [name: :a, operation: 1, target: 90]
    instance = start!(objectives: [for_one, [name: "a", operation: 2, target: 99]])
    :ok = SLO.record(instance, 1, :error)
    :ok = SLO.record(instance, 2, :ok)
    assert_in_delta value(instance, "kantoku_slo_error_budget_remaining_ratio", objective: :a), -9.0, 1.0e-9
    assert value(instance, "kantoku_slo_objective_ratio", objective: :a) == 0.99
    assert_in_delta value(instance, "kantoku_slo_burn_rate", objective: :a, window: "5m"), 10.0, 1.0e-9
    assert value(instance, "kantoku_slo_calls", objective: :a, outcome: :good) == 1.0
  end

  test "of more than a hundred objectives the last are one, other, however often it is looked at" do
    instance = start!(objectives: for(n <- 1..150, do: [name: n + 1_000, operation: n, target: 99]))
    :ok = SLO.record(instance, 150, :error)
    own = values(instance, "kantoku_slo_objective_ratio", "objective")
    assert length(own) == 100 and "other" in own and "1001" in own and "1150" not in own
    assert value(instance, "kantoku_slo_calls", objective: "other", outcome: :bad) == 1.0
    assert value(instance, "kantoku_slo_error_budget_remaining_ratio", objective: "other") < 0
    assert values(instance, "kantoku_slo_objective_ratio", "objective") == own
  end

  test "an objective that is taken away says nothing more" do
    instance = start!(objectives: [[name: :a, operation: :a]])
    assert value(instance, "kantoku_slo_objective_ratio", objective: :a)
    :ok = SLO.delete(instance, :a)
    assert family(instance, "kantoku_slo_objective_ratio").series == []
  end

  # Health -------------------------------------------------------------------------------------------------------------------

  test "members of domains and pools are told by state, as health has them" do
    instance = start!(domains: [[name: :d]], pools: [options(target: 2)], health: [period: 20])
    settled({instance, :workers}, 2)
    for id <- 1..3, do: worker!(instance, id, domain: :d)

    members = "kantoku_health_members"
    eventually(fn -> value(instance, members, domain: :d, pool: "", state: :healthy) == 3.0 end)
    eventually(fn -> value(instance, members, domain: "", pool: :workers, state: :healthy) == 2.0 end)
    {:ok, %{members: %{healthy: 3}}} = Health.status(instance, {:domain, :d})
    assert value(instance, members, domain: :d, pool: "", state: :unhealthy) == 0.0
    assert value(instance, members, domain: "", pool: "", state: :healthy) == nil
  end

  test "the state of each domain, and of the instance, is one of all there are" do
    instance = start!(domains: [[name: :d]])
    worker!(instance, 1, domain: :d)
    state = "kantoku_health_state"
    eventually(fn -> value(instance, state, domain: :d, pool: "", state: :healthy) == 1.0 end)
    eventually(fn -> value(instance, state, domain: "", pool: "", state: :healthy) == 1.0 end)
    assert Enum.sort(values(instance, state, "state")) == ~w(degraded healthy starting unhealthy unknown)

    of_d = for %{labels: %{"domain" => "d"}, value: value} <- family(instance, state).series, do: value
    assert Enum.sort(of_d) == [0.0, 0.0, 0.0, 0.0, 1.0]
  end

  test "of more than a hundred domains the last are one, other, which says how many are in each state" do
    domains = for n <- 1..120, do: :"d#{n + 1_000}"
    instance = start!(domains: for(name <- domains, do: [name: name, partitions: 1]), health: [period: 20])
    # One that never had an agent has no state.
    for name <- domains, do: worker!(instance, name, domain: name)
    other = [domain: "other", pool: "other"]
    eventually(fn -> length(values(instance, "kantoku_health_state", "domain")) == 100 end)

    counted = for state <- Health.states(), do: value(instance, "kantoku_health_state", other ++ [state: state])

    {:ok, groups} = Health.groups(instance)
    assert Enum.sum(counted) == length(groups) - 99.0
  end

  test "an instance without health says nothing of it" do
    instance = start!(health: false)
    assert family(instance, "kantoku_health_state").series == []
  end

  # Stores -------------------------------------------------------------------------------------------------------------------

  test "a store that does not count says whether it fails, and an instance without one nothing" do
    assert value(start!([]), "kantoku_store_failing_seconds", store: :memory) == 0.0
    assert family(start!(store: :none), "kantoku_store_failing_seconds").series == []
  end

  if Kantoku.Native.loaded?() do
    @tag :tmp_dir
    test "a file says what was written to it, how long that took, and what waits", %{tmp_dir: folder} do
      file = {Store.Disk, path: Path.join(folder, "kept.redb"), async_window: 60_000, max_pending_bytes: 1_000_000}
      instance = start!(store: file)
      said = fn name, labels -> value(instance, "kantoku_store_#{name}", [store: :disk] ++ labels) end
      assert said.("commits", outcome: :ok) == 0.0

      store = store(instance)
      for id <- 1..3, do: :ok = Store.put(store, id, {1, 1}, String.duplicate("x", 1_000), nil)
      assert said.("pending_writes", []) == 3.0
      assert said.("pending_bytes", []) > 3_000.0
      assert said.("written_bytes", []) == 0.0

      if @engine == :native,
        do: assert(value(instance, "kantoku_native_bytes", owner: :store) == said.("pending_bytes", []))

      assert value(instance, "kantoku_native_limit_bytes", owner: :store) == 1.0e6

      :ok = Store.flush(store)
      assert said.("pending_writes", []) == 0.0
      assert said.("commits", outcome: :ok) >= 1.0 and said.("commits", outcome: :failed) == 0.0
      assert said.("writes", []) == 3.0
      assert said.("written_bytes", []) > 3_000.0 and said.("written_bytes", []) < 4_000.0
      assert said.("commit_seconds", []) > 0.0
      assert said.("failing_seconds", []) == 0.0
    end

    defp store(instance) do
      {:ok, store} =
        Kantoku.Instances.reading(instance, fn _rows, book -> {:ok, Kantoku.Domain.Book.agent_options(book).store} end)

      store
    end
  end
end

defmodule Kantoku.Metrics.StandingTest do
  # There is one listener for the VM.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{RawHTTP, SLO}

  @tag :exporters
  test "instances of both engines have it on the page, each family once" do
    instances =
      for engine <- Kantoku.EachEngine.engines() do
        objectives = [[name: :asked, operation: :asked, target: 99]]
        instance = start!(engine: engine, http: RawHTTP.options(), objectives: objectives)
        :ok = SLO.record(instance, :asked, :error)
        instance
      end

    eventually(fn ->
      {200, _headers, page} = RawHTTP.get(RawHTTP.port(), "/metrics")
      assert [_] = Regex.scan(~r/^# TYPE kantoku_slo_burn_rate gauge$/m, page)
      Enum.all?(instances, &told?(page, &1))
    end)
  end

  defp told?(page, instance) do
    page =~ ~r/^kantoku_slo_burn_rate\{instance="#{instance}",objective="asked",window="1h"\} (100|99.99)/m and
      page =~ ~s(kantoku_slo_calls_total{instance="#{instance}",objective="asked",outcome="bad"} 1) and
      page =~ ~s(kantoku_health_state{instance="#{instance}",domain="",pool="",state="healthy"} ) and
      page =~ ~s(kantoku_store_failing_seconds{instance="#{instance}",store="memory"} 0)
  end
end

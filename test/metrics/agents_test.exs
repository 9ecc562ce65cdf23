require Kantoku.EachEngine

Kantoku.EachEngine.each_engine Kantoku.Metrics.AgentsTest do
  import Kantoku.InstanceCase, only: [start!: 1, worker!: 3, back!: 3]
  import Kantoku.TestOwner, only: [eventually: 1, kill: 1]

  alias Kantoku.{Metrics, Telemetry, TestWorker}

  # Series of a metric, by its labels without the instance's.
  defp read(instance, name) do
    {:ok, families} = Metrics.snapshot(instance)
    %{series: series} = Enum.find(families, &(&1.name == name))
    for %{labels: labels, value: value} <- series, into: %{}, do: {Map.delete(labels, "instance"), value}
  end

  defp whose(domain, pool), do: %{"domain" => domain, "pool" => pool, "type" => "Kantoku.TestWorker"}

  test "restarts are counted by domain; those of workers by their pool" do
    pools = [[name: :writers, worker: {TestWorker, []}, target: 1, warm_up: 1]]
    instance = start!(engine: @engine, domains: [[name: :tools]], pools: pools)
    pid = worker!(instance, "a", domain: :tools)
    kill(pid)
    back!(instance, "a", pid)
    {:ok, [%{pid: worker} | _]} = Kantoku.Pool.workers({instance, :writers})
    kill(worker)
    expected = %{whose("tools", "") => 1.0, whose("", "writers") => 1.0}
    eventually(fn -> read(instance, "kantoku_agent_restarts") == expected end)
    assert read(instance, "kantoku_agent_crashes") == expected
  end

  test "answers of probes are counted by whose they are" do
    probe = [name: :ready, kind: :readiness, check: {__MODULE__, :well, []}, period: 10]
    pools = [[name: :writers, worker: {TestWorker, []}, target: 1, warm_up: 1]]
    health = [period: 20, probes: [probe]]
    instance = start!(engine: @engine, domains: [[name: :tools]], pools: pools, health: health)
    worker!(instance, "a", domain: :tools)
    answer = %{"probe" => "ready", "kind" => "readiness", "outcome" => "success"}

    for whose <- [whose("tools", ""), whose("", "writers")] do
      series = Map.merge(whose, answer)

      assert eventually(fn -> match?(%{^series => count} when count >= 2.0, read(instance, "kantoku_probe_results")) end)
    end
  end

  def well(_pid), do: :ok

  test "what an agent says of its snapshots is counted by its domain" do
    instance = start!(engine: @engine, domains: [[name: :tools]])
    worker!(instance, "a", domain: :tools)
    told = %{id: "a", module: TestWorker}
    Telemetry.emit(instance, [:agent, :snapshot, :written], %{duration: 1_000, bytes: 1}, told)
    for failure <- [:failed, :damaged], do: Telemetry.emit(instance, [:agent, :snapshot, failure], %{}, told)
    Telemetry.emit(instance, [:agent, :restored], %{}, told)
    Telemetry.emit(instance, [:agent, :stuck], %{callers: 1}, told)
    whose = whose("tools", "")
    assert %{^whose => %{count: 1}} = read(instance, "kantoku_snapshot_write_duration_seconds")

    for name <- ["kantoku_snapshot_restores", "kantoku_agent_stuck"],
        do: assert(read(instance, name) == %{whose => 1.0})

    failures = for failure <- ["written", "damaged"], into: %{}, do: {Map.put(whose, "failure", failure), 1.0}
    assert read(instance, "kantoku_snapshot_failures") == failures
  end

  test "calls are timed by the agent's domain and type: one in 16, which stands for all" do
    instance = start!(engine: @engine, domains: [[name: :tools]])
    pid = worker!(instance, "a", domain: :tools)
    for _ <- 1..1_600, do: {:ok, ^pid} = Kantoku.call(instance, "a", :pid)
    whose = whose("tools", "")
    assert %{^whose => %{count: count, sum: sum}} = read(instance, "kantoku_agent_call_duration_seconds")
    assert rem(count, 16) == 0 and count > 800 and count < 2_400 and sum > 0
  end

  test "calls to who is not there are timed as well, as nobody's" do
    instance = start!(engine: @engine)
    for _ <- 1..200, do: {:error, %{reason: :not_found}} = Kantoku.call(instance, "nobody", :pid)
    nobodys = %{"domain" => "", "pool" => "", "type" => ""}
    assert %{^nobodys => %{count: count}} = read(instance, "kantoku_agent_call_duration_seconds")
    assert count > 0
  end
end

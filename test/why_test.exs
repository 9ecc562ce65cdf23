import Kantoku.EachEngine

defmodule Kantoku.WhyTest.Agent do
  use Kantoku.Agent
  def new(args), do: args

  def cmd(agent, {:hold, tell}) do
    send(tell, {:holding, self()})
    receive do: (:go_on -> {agent, []})
  end

  def cmd(agent, {:ask, instance, id}), do: {agent, [{:reply, Kantoku.call(instance, id, :ping, :infinity)}]}
  def cmd(agent, :ping), do: {agent, [{:reply, :pong}]}
end

each_engine Kantoku.WhyTest do
  import Kantoku.InstanceCase, only: [start!: 1, worker!: 2, back!: 3, eventually_error: 3]
  import Kantoku.TestOwner, only: [eventually: 1, kill: 1]

  alias Kantoku.{Error, Pool, TestWorker, Why}
  alias Kantoku.WhyTest.Agent

  defp instance!(opts \\ []) do
    own = [
      engine: @engine,
      drain: [timeout: 20],
      health: [period: 40, restart: false],
      domains: [[name: :default, shutdown: 20, budget: [crashes: 1]]]
    ]

    start!(Keyword.merge(own, opts))
  end

  defp reasons(instance, of) do
    {:ok, reasons} = Kantoku.why(instance, of)
    reasons
  end

  # Its supervisor may not have heard of its end yet.
  defp reason!(instance, of, reason) do
    eventually(fn -> Enum.find(reasons(instance, of), &(&1.reason == reason and &1.evidence[:retry_in] != 1)) end)
  end

  test "nothing is in the way of who serves; who is not there is not found" do
    instance = instance!()
    worker!(instance, "a")
    assert Kantoku.why(instance, "a") == {:ok, []}
    assert {:error, %Error{reason: :not_found}} = Kantoku.why(instance, "b")
    assert {:error, %Error{reason: :not_found}} = Kantoku.why(instance, {:pool, :none})
    assert {:error, %Error{reason: :not_running}} = Kantoku.why(:nowhere, "a")
  end

  test "who is parked is back by the call that the answer names" do
    instance = instance!()
    pid = worker!(instance, "a")
    kill(pid)
    kill(back!(instance, "a", pid))
    eventually_error(instance, "a", :parked)

    assert [%Why{reason: :parked, since: since, lift: {module, function, args}, evidence: evidence, text: text}] =
             reasons(instance, "a")

    assert since >= 0 and evidence.restarts >= 1 and is_integer(evidence.retry_in)
    assert text =~ "parked"
    :ok = apply(module, function, args)
    back!(instance, "a", nil)
    assert eventually(fn -> reasons(instance, "a") == [] end)
  end

  test "who waits for its back-off" do
    instance = instance!(domains: [[name: :default, backoff: [base: 60_000, cap: 60_000]]])
    pid = worker!(instance, "a")
    kill(pid)
    kill(back!(instance, "a", pid))
    eventually_error(instance, "a", :restarting)

    assert %Why{lift: {Kantoku, :unpark, [^instance, "a"]}, evidence: %{retry_in: ms}} =
             reason!(instance, "a", :restarting)

    assert ms > 0
  end

  test "who is not ready, and by which probe" do
    probe = [
      name: :model,
      kind: :readiness,
      check: fn _pid -> {:error, :no_model} end,
      period: 20,
      failure_threshold: 1
    ]

    instance = instance!(health: [period: 40, probes: [probe]])
    worker!(instance, "a")
    assert %Why{evidence: %{probe: nil}} = reason!(instance, "a", :not_ready)
    assert %Why{evidence: %{probe: :model, kind: :readiness, found: :no_model}} = reason!(instance, "a", :probe)
    :ok = Kantoku.Health.configure(instance, probes: [])
    assert eventually(fn -> reasons(instance, "a") == [] end)
  end

  test "who is stuck, and who waits for it" do
    instance = instance!()

    for {id, opts} <- [{"a", [max_busy: 20]}, {"b", []}],
        do: {:ok, _} = Kantoku.start_agent(instance, Agent, [id: id] ++ opts)

    for id <- ["a", "b"],
        do: assert(eventually(fn -> match?({:ok, _}, Kantoku.Health.status(instance, {:agent, id})) end))

    [a, b] = for id <- ["a", "b"], do: Kantoku.whereis(instance, id)
    # Both have taken up their pulse once they were called.
    for id <- ["a", "b"], do: {:ok, :pong} = Kantoku.call(instance, id, :ping)
    GenServer.cast(a, {:hold, self()})
    assert_receive {:holding, ^a}
    GenServer.cast(b, {:ask, instance, "a"})

    assert %Why{evidence: %{over: over}, lift: {Kantoku, :restart_agent, [^instance, "a"]}} =
             reason!(instance, "a", :stuck)

    assert over > 0
    assert %Why{evidence: %{waits_for: "a"}} = reason!(instance, "b", :waiting)
    assert %Why{evidence: %{over: nil}} = reason!(instance, "b", :busy)
    send(a, :go_on)
    assert eventually(fn -> reasons(instance, "a") == [] and reasons(instance, "b") == [] end)
  end

  test "an agent's breaker, and a drain" do
    instance = instance!(breakers: [[name: {:agent, "a"}]])
    worker!(instance, "a")
    :ok = Kantoku.Breaker.set({instance, {:agent, "a"}}, :forced_open)

    assert [%Why{reason: :breaker_open, evidence: %{state: :forced_open}, lift: {module, function, args}}] =
             reasons(instance, "a")

    :ok = apply(module, function, args)
    assert reasons(instance, "a") == []
  end

  test "a pool: its breaker, its workers, its queue; and a refused call" do
    pools = [[name: :w, worker: {TestWorker, []}, target: 1, max_queue: 1, breaker: [], domain: [budget: [crashes: 1]]]]
    instance = instance!(pools: pools)
    pool = {instance, :w}
    assert eventually(fn -> Kantoku.why(instance, {:pool, :w}) == {:ok, []} end)
    :ok = Kantoku.Breaker.set({instance, {:pool, :w}}, :forced_open)
    {:error, error} = Pool.call(pool, :pid)
    assert [%Why{reason: :breaker_open, lift: {module, function, args}} | _] = reasons(instance, error)
    assert [%Why{reason: :breaker_open, evidence: %{state: :forced_open}}] = reasons(instance, {:pool, :w})
    :ok = apply(module, function, args)
    {:ok, pid} = Pool.call(pool, :pid)
    {:ok, lease} = Pool.checkout(pool)
    waiting = spawn(fn -> Pool.call(pool, :pid) end)
    assert %Why{evidence: %{queue: 1}} = reason!(instance, {:pool, :w}, :queue_full)
    {:error, error} = Pool.call(pool, :pid)
    assert [%Why{reason: :queue_full, evidence: %{retry_in: _}} | _] = reasons(instance, error)
    Process.exit(waiting, :kill)
    Pool.checkin(lease)
    kill(pid)
    worker = {:pool, :w, 0}
    kill(back!(instance, worker, pid))

    assert eventually(fn ->
             with %{evidence: %{workers: %{^worker => causes}}} <- reason!(instance, {:pool, :w}, :workers),
                  do: Enum.any?(causes, &match?({Kantoku, :unpark, [^instance, ^worker]}, &1.lift))
           end)
  end
end

import Kantoku.EachEngine

defmodule Kantoku.Health.RiskTest.Agent do
  use Kantoku.Agent

  def new(_args), do: %{kept: [], answer: 0}
  def cmd(agent, {:keep, count}), do: {%{agent | kept: [Enum.to_list(1..count) | agent.kept]}, []}
  def cmd(agent, :count), do: {agent, [{:reply, length(agent.kept)}]}

  def cmd(agent, {:hold, tell}) do
    send(tell, {:holding, self()})
    receive do: (:go_on -> {agent, []})
  end

  def cmd(agent, {:loop, tell}) do
    send(tell, {:holding, self()})
    loop()
    {agent, []}
  end

  def cmd(agent, {:outside, tell}) do
    Kantoku.waiting(60_000, fn -> send(tell, {:holding, self()}) && receive(do: (:go_on -> :ok)) end)
    {agent, []}
  end

  defp loop, do: loop()
end

each_engine Kantoku.Health.RiskTest do
  import Kantoku.InstanceCase, only: [start!: 1, back!: 3]
  import Kantoku.TestOwner, only: [eventually: 1, kill: 1]

  alias Kantoku.{Health, Pool, Telemetry}
  alias Kantoku.Health.RiskTest.Agent

  @limits [memory: 400_000, mailbox: 200, horizon: 60_000]

  defp instance!(opts \\ []) do
    own = [
      engine: @engine,
      drain: [timeout: 20],
      domains: [[name: :default, shutdown: 20]],
      health: [period: 30, at_risk: @limits]
    ]

    start!(Keyword.merge(own, opts))
  end

  defp agent!(instance, id, opts \\ []) do
    {:ok, pid} = Kantoku.start_agent(instance, Agent, [id: id] ++ opts)
    assert eventually(fn -> match?({:ok, %{state: :healthy, at_risk: []}}, Health.status(instance, {:agent, id})) end)
    pid
  end

  defp risks(instance, id) do
    {:ok, %{at_risk: risks}} = Health.status(instance, {:agent, id})
    risks
  end

  # A little at a time, until it is seen or far beyond its limit.
  defp grow(instance, id, step),
    do: Enum.find_value(1..200, fn _ -> step.() && Process.sleep(10) && List.first(risks(instance, id)) end)

  test "an agent that keeps more and more is at risk before its limit, told of, and safe again" do
    instance = instance!()
    # Begun anew it has nothing, however much it had: on a busy machine that may be beyond its limit.
    pid = agent!(instance, "a", store: nil)
    agent!(instance, "b")
    {:ok, events} = Telemetry.subscribe(instance, events: [[:health, :at_risk], [:health, :safe]])
    risk = grow(instance, "a", fn -> :ok = Kantoku.cast(instance, "a", {:keep, 400}) end)
    assert %{sign: :memory, in: ms, value: bytes, limit: 400_000, since: since} = risk
    assert ms >= 0 and bytes > 100_000 and since >= 0
    assert_receive {:kantoku_event, ^events, [:kantoku, :health, :at_risk], %{in: _}, %{id: "a", sign: :memory}}
    assert {:ok, %{state: :healthy, at_risk: 1}} = Health.status(instance)
    assert {:ok, %{at_risk: 1}} = Health.status(instance, {:domain, :default})
    assert risks(instance, "b") == []
    {:ok, reasons} = Kantoku.why(instance, "a")

    assert %{evidence: %{sign: :memory}, lift: {module, function, args}, text: text} =
             Enum.find(reasons, &(&1.reason == :at_risk))

    assert text =~ "serves, but its memory"
    {:ok, _new} = apply(module, function, args)
    assert Kantoku.whereis(instance, "a") != pid
    assert_receive {:kantoku_event, ^events, [:kantoku, :health, :safe], _, %{id: "a", sign: :memory}}
    assert eventually(fn -> match?({:ok, %{at_risk: 0}}, Health.status(instance)) end)
  end

  test "an agent whose mailbox grows is at risk" do
    instance = instance!(health: [period: 30, restart: false, at_risk: @limits])
    pid = agent!(instance, "a", max_busy: 60_000)
    GenServer.cast(pid, {:hold, self()})
    assert_receive {:holding, ^pid}
    risk = grow(instance, "a", fn -> for(_ <- 1..2, do: send(pid, :more)) end)
    assert %{sign: :mailbox, value: waiting, limit: 200} = risk
    assert waiting < 200
    send(pid, :go_on)
  end

  test "an agent that crashes faster and faster is at risk of being parked" do
    domains = [[name: :default, shutdown: 20, budget: [crashes: 8], backoff: [base: 1, cap: 2]]]
    instance = instance!(domains: domains)

    # Each pause is so much shorter than the one before that a busy machine makes none of them the longer one.
    Enum.reduce([1_200, 700, 400, 200, 50], agent!(instance, "a"), fn ms, pid ->
      kill(pid)
      pid = back!(instance, "a", pid)
      Process.sleep(ms)
      pid
    end)

    assert eventually(fn -> match?([%{sign: :restarts, value: 5, limit: 8}], risks_of(instance, "a")) end)
  end

  defp risks_of(instance, id), do: with({:ok, %{at_risk: risks}} <- Health.status(instance, {:agent, id}), do: risks)

  test "nobody looks ahead where that is off, and it can be switched while it runs" do
    instance = instance!(health: [period: 30, at_risk: false])
    :ok = Health.configure(instance, period: 3_600_000)
    :ok = Health.configure(instance, period: 30)
    pid = agent!(instance, "a")
    for _ <- 1..300, do: GenServer.cast(pid, {:keep, 400})
    assert Kantoku.call(instance, "a", :count, timeout: 60_000) == {:ok, 300}
    assert risks(instance, "a") == []
    :ok = Health.configure(instance, at_risk: @limits)
    assert eventually(fn -> match?([%{sign: :memory, in: 0}], risks(instance, "a")) end)
    :ok = Health.configure(instance, at_risk: [memory: 100_000_000])
    assert eventually(fn -> risks(instance, "a") == [] end)
    assert_raise ArgumentError, ~r/:mailbox/, fn -> Health.configure(instance, at_risk: [mailbox: 0]) end
  end

  test "a pool replaces a worker that is at risk, with its state and when it has finished, if it is to" do
    pools = [[name: :writers, worker: Agent, target: 2, on_risk: :replace, domain: [shutdown: 100]]]
    instance = instance!(pools: pools)
    pool = {instance, :writers}
    {:ok, [%{pid: pid, id: id} | _]} = Pool.workers(pool)
    assert eventually(fn -> match?({:ok, %{at_risk: []}}, Health.status(instance, {:agent, id})) end)
    {:ok, _} = Telemetry.subscribe(instance, events: [[:pool, :replaced]])
    for _ <- 1..80, do: GenServer.cast(pid, {:keep, 400})
    assert_receive {:kantoku_event, _, [:kantoku, :pool, :replaced], _, %{pid: ^pid, reason: :at_risk}}
    successor = back!(instance, id, pid)
    assert GenServer.call(successor, :count) == 80
    assert eventually(fn -> match?({:ok, %{ready: 2}}, Pool.status(pool)) end)
    {:ok, agents} = Kantoku.agents(instance)
    assert Enum.all?(agents, &(&1.restarts == 0))
  end

  test "the worker that takes the place of one at risk links to the hand-off" do
    pools = [[name: :writers, worker: Agent, target: 1, on_risk: :replace, domain: [shutdown: 100]]]
    instance = instance!(pools: pools, trace: [sampler: :always_on])
    {:ok, [%{pid: pid, id: id}]} = Pool.workers({instance, :writers})
    assert eventually(fn -> match?({:ok, %{at_risk: []}}, Health.status(instance, {:agent, id})) end)
    for _ <- 1..80, do: GenServer.cast(pid, {:keep, 400})
    successor = back!(instance, id, pid)
    assert GenServer.call(successor, :count) == 80
    spans = Kantoku.Trace.take(instance)
    [hand_off] = Enum.filter(spans, &(&1.name == "hand_off"))
    assert %{"kantoku.agent" => "{:pool, :writers, 0}", "kantoku.reason" => "at_risk"} = hand_off.attributes
    links = [{hand_off.trace_id, hand_off.span_id}]
    assert eventually(fn -> Enum.any?(spans ++ Kantoku.Trace.take(instance), &(&1.links == links)) end)
  end

  test "what a stuck agent is at is told with it: it stands somewhere, or runs" do
    instance = instance!(health: [period: 40])
    {:ok, events} = Telemetry.subscribe(instance, events: [[:health, :restarting]])

    for {id, request, doing} <- [{"a", :hold, :stands}, {"b", :loop, :runs}] do
      # Some periods, so that it was seen twice at what it is at.
      pid = agent!(instance, id, max_busy: 200)
      assert eventually(fn -> match?({:ok, %{busy: nil}}, Health.status(instance, {:agent, id})) end)
      GenServer.cast(pid, {request, self()})
      assert_receive {:holding, ^pid}
      assert_receive {:kantoku_event, ^events, _, _, %{id: ^id, evidence: %{doing: ^doing} = evidence}}
      if doing == :stands, do: assert(%{at: {Agent, :cmd, 2}} = evidence)
    end
  end

  test "a declared wait is told as one" do
    instance = instance!()
    pid = agent!(instance, "a", max_busy: 60_000)
    GenServer.cast(pid, {:outside, self()})
    assert_receive {:holding, ^pid}
    assert {:ok, %{busy: %{waits_for: :outside}}} = Health.status(instance, {:agent, "a"})
    {:ok, reasons} = Kantoku.why(instance, "a")
    assert %{evidence: %{waits_for: :outside, left: left}} = Enum.find(reasons, &(&1.reason == :waiting))
    assert left in 1..60_000
    send(pid, :go_on)
    assert eventually(fn -> match?({:ok, %{busy: nil}}, Health.status(instance, {:agent, "a"})) end)
  end
end

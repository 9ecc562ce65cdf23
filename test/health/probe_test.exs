import Kantoku.EachEngine

defmodule Kantoku.ProbeTest.Answers do
  # Answers what a test has put into a table, and tells it of each question.
  use GenServer
  @behaviour Kantoku.Probe

  def start_link(opts), do: GenServer.start_link(__MODULE__, opts)
  @impl GenServer
  def init(opts), do: {:ok, opts}
  @impl GenServer
  def handle_call(:question, _from, opts), do: {:reply, opts[:answer], opts}
  def handle_call(:name, _from, opts), do: {:reply, self(), opts}

  @impl Kantoku.Probe
  def check(pid), do: ask(pid, :persistent_term.get({__MODULE__, pid}, {:ok, nil}))

  def ask(_pid, {answer, tell}) do
    if tell, do: send(tell, {:asked, self()})
    answer
  end

  def table(pid, table, kind) do
    [{_kind, answer, tell}] = :ets.lookup(table, kind)
    send(tell, {:asked, kind, pid, System.monotonic_time(:millisecond)})
    if answer == :never, do: Process.sleep(:infinity), else: answer
  end
end

each_engine Kantoku.ProbeTest do
  import Kantoku.InstanceCase, only: [start!: 1, back!: 3]
  import Kantoku.TestOwner, only: [eventually: 1]

  alias Kantoku.{Health, Pool}
  alias Kantoku.ProbeTest.Answers

  setup do
    {:ok, table: :ets.new(:answers, [:public])}
  end

  defp answer(table, kind, answer), do: :ets.insert(table, {kind, answer, self()})

  defp probe(table, kind, opts \\ []) do
    check = {Answers, :table, [table, kind]}
    Keyword.merge([name: kind, kind: kind, check: check, period: 20, failure_threshold: 2], opts)
  end

  defp instance!(probes, opts \\ []) do
    opts = Keyword.put_new(opts, :domains, [[name: :default, shutdown: 20]])
    start!([engine: @engine, drain: [timeout: 20], health: [period: 40, probes: probes]] ++ opts)
  end

  defp agent!(instance, id \\ "a") do
    {:ok, pid} = Kantoku.start_agent(instance, {Answers, []}, id: id, tags: ["t"])
    pid
  end

  defp verdict(instance, name, id \\ "a") do
    with {:ok, %{probes: probes}} <- Health.status(instance, {:agent, id}),
         %{verdict: verdict} <- Enum.find(probes, &(&1.name == name)),
         do: verdict,
         else: (_not_yet -> nil)
  end

  defp until(instance, name, verdict), do: assert(eventually(fn -> verdict(instance, name) == verdict end))

  defp asked(kind, count) do
    for _ <- 1..count do
      assert_receive {:asked, ^kind, _pid, at}
      at
    end
  end

  # Kubernetes' fields, one by one: what the documentation says of each.

  test "defaults are Kubernetes'" do
    assert [probe] = Kantoku.Probe.all!([[name: :p, kind: :readiness, check: Answers]])
    assert %{initial_delay: 0, period: 10_000, timeout: 1_000, success_threshold: 1, failure_threshold: 3} = probe
  end

  test "initialDelaySeconds: the first question comes after it", %{table: table} do
    answer(table, :readiness, :ok)
    instance = instance!([probe(table, :readiness, initial_delay: 150)])
    started = System.monotonic_time(:millisecond)
    agent!(instance)
    [first] = asked(:readiness, 1)
    assert first - started >= 150
  end

  test "periodSeconds: how often it is asked", %{table: table} do
    answer(table, :custom, :ok)
    agent!(instance!([probe(table, :custom, period: 50)]))
    times = asked(:custom, 5)
    for {one, other} <- Enum.zip(times, tl(times)), do: assert(other - one >= 44)
  end

  test "timeoutSeconds: an answer that takes longer is a failure", %{table: table} do
    answer(table, :custom, :never)
    instance = instance!([probe(table, :custom, timeout: 20, failure_threshold: 1)])
    agent!(instance)
    until(instance, :custom, :failing)
    {:ok, %{state: :degraded, probes: probes}} = Health.status(instance, {:agent, "a"})
    assert %{evidence: :timeout} = Enum.find(probes, &(&1.name == :custom))
  end

  test "successThreshold: so many successes in a row after a failure", %{table: table} do
    answer(table, :readiness, :error)
    instance = instance!([probe(table, :readiness, success_threshold: 3, failure_threshold: 1, period: 60)])
    agent!(instance)
    until(instance, :readiness, :failing)
    flush()
    answer(table, :readiness, :ok)
    asked(:readiness, 2)
    assert verdict(instance, :readiness) == :failing
    until(instance, :readiness, :passing)
  end

  test "successThreshold: must be 1 for liveness and startup", %{table: table} do
    for kind <- [:liveness, :startup] do
      assert_raise ArgumentError, ~r/success_threshold: expected 1/, fn ->
        Kantoku.Probe.all!([probe(table, kind, success_threshold: 2)])
      end
    end
  end

  test "failureThreshold: so many failures in a row, and one fewer changes nothing", %{table: table} do
    answer(table, :custom, :ok)
    instance = instance!([probe(table, :custom, failure_threshold: 3, period: 60)])
    agent!(instance)
    until(instance, :custom, :passing)
    flush()
    answer(table, :custom, {:error, :down})
    asked(:custom, 2)
    assert verdict(instance, :custom) == :passing
    until(instance, :custom, :failing)
  end

  test "liveness: who fails is restarted; who has not been asked yet is not", %{table: table} do
    answer(table, :liveness, :ok)
    instance = instance!([probe(table, :liveness, initial_delay: 60)])
    old = agent!(instance)
    assert eventually(fn -> match?({:ok, %{state: :healthy}}, Health.status(instance, {:agent, "a"})) end)
    assert verdict(instance, :liveness) in [:pending, :passing]
    until(instance, :liveness, :passing)
    answer(table, :liveness, :error)
    new = back!(instance, "a", old)
    answer(table, :liveness, :ok)
    assert new != old
  end

  test "readiness: who fails is not restarted, and nothing finds it before it has passed", %{table: table} do
    answer(table, :readiness, :error)
    instance = instance!([probe(table, :readiness)])
    pid = agent!(instance)
    assert Kantoku.find(instance, tag: "t") == []
    assert Kantoku.count(instance, tag: "t") == 0
    assert Kantoku.Registry.find(instance, tag: "t") == [{"a", pid}]
    {:ok, ref, []} = Kantoku.watch(instance, tag: "t")
    until(instance, :readiness, :failing)
    answer(table, :readiness, :ok)
    assert_receive {:kantoku_watch, ^ref, :join, _record}
    assert Kantoku.find(instance, tag: "t") == [{"a", pid}]
    assert [%Kantoku.Entry{key: "a"}] = Kantoku.find(instance, tag: "t", not: [tag: "u"], return: :entries)
    answer(table, :readiness, :error)
    assert_receive {:kantoku_watch, ^ref, :leave, {"a", ^pid, _incarnation}}
    assert Kantoku.find(instance, tag: "t") == []
    assert Kantoku.whereis(instance, "a") == pid
  end

  test "startup: gates the others until it has passed, and is not asked after that", %{table: table} do
    for kind <- [:startup, :liveness, :readiness], do: answer(table, kind, :error)
    kinds = [:startup, :liveness, :readiness]
    instance = instance!(for kind <- kinds, do: probe(table, kind, failure_threshold: 1_000))
    agent!(instance)
    asked(:startup, 5)
    refute_received {:asked, :liveness, _pid, _at}
    refute_received {:asked, :readiness, _pid, _at}
    assert {:ok, %{state: :starting}} = Health.status(instance, {:agent, "a"})
    assert Kantoku.find(instance, tag: "t") == []
    answer(table, :startup, :ok)
    until(instance, :startup, :passing)
    flush()
    asked(:liveness, 2)
    asked(:readiness, 2)
    refute_received {:asked, :startup, _pid, _at}
  end

  test "startup: who does not pass it in time is restarted", %{table: table} do
    answer(table, :startup, :error)
    instance = instance!([probe(table, :startup)])
    back!(instance, "a", agent!(instance))
  end

  # What is ours.

  test "a worker that is not ready gets no work of its pool, keeps its place, and is back at once", %{table: table} do
    answer(table, :readiness, :ok)
    pools = [[name: :workers, worker: {Answers, []}, target: 1, domain: [shutdown: 20]]]
    probes = [probe(table, :readiness, for: {:pool, :workers}, failure_threshold: 1)]
    instance = instance!(probes, pools: pools)
    pool = {instance, :workers}
    {:ok, pid} = Pool.call(pool, :name)
    answer(table, :readiness, :error)
    assert eventually(fn -> match?({:error, _}, Pool.call(pool, :name, timeout: 20)) end)
    assert Process.alive?(pid)
    answer(table, :readiness, :ok)
    assert Pool.call(pool, :name, timeout: 5_000) == {:ok, pid}
    assert {:ok, [%{pid: ^pid, state: :ready}]} = Pool.workers(pool)
  end

  test "where no worker is ready all are given work, and a probe is obeyed again when enough are", %{table: table} do
    answer(table, :readiness, :ok)
    pools = [[name: :workers, worker: {Answers, []}, target: 3, domain: [shutdown: 20]]]
    probes = [probe(table, :readiness, for: {:pool, :workers}, failure_threshold: 1)]
    instance = instance!(probes, pools: pools)
    pool = {instance, :workers}
    assert eventually(fn -> match?({:ok, %{ready: 3}}, Pool.status(pool)) end)
    answer(table, :readiness, :error)
    assert eventually(fn -> match?({:ok, %{panic: true, not_ready: 3, ready: 3}}, Pool.status(pool)) end)
    assert {:ok, _pid} = Pool.call(pool, :name, timeout: 5_000)
    answer(table, :readiness, :ok)
    assert eventually(fn -> match?({:ok, %{panic: false, not_ready: 0, ready: 3}}, Pool.status(pool)) end)
  end

  test "each kind of check, and each answer" do
    pid = elem(Answers.start_link(answer: :pong), 1)

    ask = fn check, timeout ->
      [probe] = Kantoku.Probe.all!([[name: 1, kind: :custom, check: check, timeout: timeout]])
      Kantoku.Probe.ask(probe, pid)
    end

    for {check, outcome} <- [
          {Answers, :success},
          {{:message, :question}, :success},
          {{Answers, :ask, [{true, nil}]}, :success},
          {fn ^pid -> {:ok, 7} end, :success},
          {fn _pid -> false end, :failure},
          {fn _pid -> {:error, :why} end, :failure},
          {fn _pid -> :else end, :failure},
          {fn _pid -> raise "no" end, :failure},
          {fn _pid -> exit(:no) end, :failure},
          {fn _pid -> :unknown end, :unknown}
        ] do
      assert {^outcome, _why} = ask.(check, 1_000)
    end

    :sys.suspend(pid)
    assert {:failure, {:exit, {:timeout, _call}}} = ask.({:message, :question}, 10)
    :sys.resume(pid)
  end

  test "probes are changed while they run, for whom they are said to be", %{table: table} do
    for kind <- [:custom, :readiness], do: answer(table, kind, :error)
    instance = instance!([probe(table, :readiness, for: {:agent, "a"})])
    for id <- ["a", "b"], do: agent!(instance, id)
    assert eventually(fn -> verdict(instance, :readiness) == :failing end)
    assert [{"b", _pid}] = Kantoku.find(instance, tag: "t")
    :ok = Health.configure(instance, probes: [probe(table, :custom, for: {:type, Answers}, failure_threshold: 1)])
    assert eventually(fn -> Enum.map(["a", "b"], &verdict(instance, :custom, &1)) == [:failing, :failing] end)
    assert verdict(instance, :readiness) == nil
    assert eventually(fn -> length(Kantoku.find(instance, tag: "t")) == 2 end)
  end

  test "a sample of two of ten is asked a fifth as often", %{table: table} do
    answer(table, :custom, :ok)
    instance = instance!([probe(table, :custom, period: 40, sample: {:sample, 2})])
    for id <- 1..10, do: agent!(instance, id)
    # All once, as they come; then each at every fifth period.
    asked(:custom, 10)
    [first | _] = times = asked(:custom, 10)
    assert List.last(times) - first < 5_000
    assert eventually(fn -> Enum.all?(1..10, &(verdict(instance, :custom, &1) == :passing)) end)
  end

  test "it goes on with what was found when who asks is killed", %{table: table} do
    answer(table, :readiness, :ok)
    instance = instance!([probe(table, :readiness, period: 60)])
    agent!(instance)
    until(instance, :readiness, :passing)
    {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
    Kantoku.TestOwner.kill(Health.Board.prober(book))
    flush()
    asked(:readiness, 2)
    assert [{"a", _pid}] = Kantoku.find(instance, tag: "t")
  end

  defp flush do
    receive do: ({:asked, _, _, _} -> flush()), after: (0 -> :ok)
  end
end

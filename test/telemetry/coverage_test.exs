import Kantoku.EachEngine

each_engine Kantoku.Telemetry.CoverageTest do
  # Every event of the catalogue is emitted for real, in the form that the catalogue says.
  import ExUnit.CaptureLog
  import Kantoku.EventCoverage

  import Kantoku.InstanceCase,
    only: [start!: 1, worker!: 2, worker!: 3, supervisor_of: 2, back!: 3, eventually_error: 3, processes: 1]

  import Kantoku.MigrationCase, only: [session!: 2, session!: 3, supervise!: 3, entry: 2]
  import Kantoku.PoolCase, except: [pools_on_each_engine: 2, instance!: 1, instance!: 2, pool!: 1, pool!: 2, pool!: 3]
  import Kantoku.TestOwner, only: [eventually: 1, kill: 1]

  alias Kantoku.{Alert, Breaker, Degradation, Engine, Health, Migration, MigrationCase, Pool, Telemetry}
  alias Kantoku.{TestOwner, TestSession, TestWorker}
  alias Kantoku.Test.AgentCase

  Module.register_attribute(__MODULE__, :covered, accumulate: true)

  @gib 0x40000000

  defp instance!(name, opts \\ []), do: start!([name: name, engine: @engine] ++ opts)

  defp pool!(name, opts, worker \\ []) do
    instance!(name, pools: [options(opts, worker)])
    {name, :workers}
  end

  # Instances ----------------------------------------------------------------------------------------------------------------

  @whole [
    [:instance, :started],
    [:instance, :stopping],
    [:instance, :stopped],
    [:drain, :start],
    [:drain, :step],
    [:drain, :stop]
  ]
  scenario "an instance starts, and ends in order", name, @whole do
    instance!(name)
    worker!(name, "a")
    stop_supervised!(name)
  end

  scenario "the registry of an instance is killed", name, [[:instance, :recovered]] do
    instance!(name)
    kill(Process.whereis(name))
  end

  @covered [[:engine, :fell_back]]
  if @engine == :native do
    @tag :tmp_dir
    test "the native library cannot be loaded", %{tmp_dir: dir} do
      path = Path.join(dir, "kantoku.so")
      File.write!(path, "no library at all")
      vm = Kantoku.OtherVM.start({:persistent_term, :put, [{Kantoku.Native, :library}, path]})
      told = Kantoku.OtherVM.run(vm, {Kantoku.EventCoverage, :told_elsewhere, [:there, [:engine, :fell_back]]})
      assert {%{}, %{instance: :there, reason: reason}} = check([:engine, :fell_back], told)
      assert reason =~ "load"
      Kantoku.OtherVM.stop(vm)
    end
  end

  scenario "options are changed", name, [[:options, :changed]] do
    instance!(name)
    :ok = Kantoku.Domain.update(name, :default, shutdown: 10)
  end

  if Kantoku.Native.loaded?() do
    defp disk!(tmp_dir, opts), do: {Kantoku.Store.Disk, [path: Path.join(tmp_dir, "agents.redb")] ++ opts}

    @tag :tmp_dir
    test "the file of a store was damaged, and is set aside", %{tmp_dir: dir} do
      name = subscribed()
      {_module, opts} = store = disk!(dir, on_corrupt: :set_aside)
      File.write!(opts[:path], String.duplicate("this is no database ", 1_000))
      log = capture_log(fn -> instance!(name, store: store) && assert_told(name, [:store, :set_aside]) end)
      assert log =~ "set aside as #{opts[:path]}.corrupt-1, and agents begin afresh"
      assert File.exists?(opts[:path] <> ".corrupt-1")
      check_others()
    end

    @tag :tmp_dir
    test "a store cannot read and write for a while", %{tmp_dir: dir} do
      name = subscribed()
      {_module, opts} = store = disk!(dir, cache_bytes: 1)
      instance!(name, store: store)
      {:ok, {_rows, book}} = Kantoku.Instances.tables(name)
      store = Kantoku.Domain.Book.agent_options(book).store
      assert write(store, 1) == :ok
      whole = File.read!(opts[:path])
      overwrite!(opts[:path], String.duplicate(<<0xA5>>, byte_size(whole)))
      assert {:error, _reason} = Kantoku.Store.get(store, "a")
      assert {:error, _reason} = write(store, 2)
      assert %{failing_for: ms} = Kantoku.Store.standing(store)
      assert is_integer(ms)
      overwrite!(opts[:path], whole)
      assert write(store, 3) == :ok
      for verb <- [:failed, :recovered], do: assert_told(name, [:store, verb])
      check_others()
    end

    @covered for verb <- [:set_aside, :failed, :recovered], do: [:store, verb]

    defp write(store, revision) do
      ref = make_ref()
      :pending = Kantoku.Store.put(store, "a", {1, revision}, "state", ref)
      assert_receive {:kantoku_store, ^ref, result}, 10_000
      result
    end

    # The same file, which whoever has it open reads.
    defp overwrite!(path, bytes), do: File.write!(path, bytes, [:read])
  end

  scenario "a store cannot be closed", name, [[:store, :not_closed]] do
    instance!(name, store: Kantoku.EventCoverage.Unclosable)
    stop_supervised!(name)
  end

  scenario "a name is taken over", name, [[:registry, :taken_over]] do
    start_supervised!({Kantoku.Registry, keys: :unique, name: name, engine: @engine, resolver: :replace})
    TestOwner.start(fn -> Kantoku.Registry.register(name, "key", nil) end)
    {:ok, _} = Kantoku.Registry.register(name, "key", nil)
  end

  if @engine == :native do
    scenario "the native library panics", name, [[:native, :panic]] do
      catch_error(Kantoku.Native.provoke(:nif))
    end
  end

  # Agents -------------------------------------------------------------------------------------------------------------------

  @life for verb <- [:spawned, :crashed, :restarting, :parked, :unparked, :stopped], do: [:agent, verb]
  scenario "an agent crashes too often, is brought back, and stopped", name, @life do
    instance!(name, domains: [[name: :default, backoff: [base: 1, cap: 1], budget: [crashes: 1], unpark: :never]])
    pid = worker!(name, "a")
    kill(pid)
    kill(back!(name, "a", pid))
    eventually_error(name, "a", :parked)
    :ok = Kantoku.unpark(name, "a")
    eventually(fn -> Kantoku.whereis(name, "a") end)
    :ok = Kantoku.stop_agent(name, "a")
  end

  @kept [
    [:agent, :ready],
    [:agent, :state_changed],
    [:agent, :restored],
    [:agent, :snapshot, :written],
    [:agent, :snapshot, :failed],
    [:agent, :snapshot, :damaged],
    [:agent, :directive, :delivered],
    [:agent, :directive, :retried],
    [:agent, :directive, :undeliverable]
  ]
  scenario "the state of an agent is kept, restored, damaged, and its directives are delivered", name, @kept do
    Process.flag(:trap_exit, true)
    {:ok, store} = Kantoku.Store.open(name, Kantoku.Store.Memory)
    AgentCase.live_through_everything(%{instance: name, store: store, id: "a"})
  end

  scenario "an agent is called in a trace that is recorded", name, [[:agent, :called]] do
    instance!(name, trace: [sampler: :always_on])
    pid = worker!(name, "a")
    {:ok, ^pid} = Kantoku.call(name, "a", :pid)
  end

  scenario "an agent is sent a message that it does not know", name, [[:agent, :unhandled]] do
    instance!(name)
    {:ok, pid} = Kantoku.start_agent(name, Kantoku.EventCoverage.Deaf, id: "a")
    assert capture_log(fn -> send(pid, :hello) && assert_told(name, [:agent, :unhandled]) end) =~ "dropped a message"
    send(pid, :hello)
  end

  if Kantoku.Jido.compiled?() do
    scenario "the task of a Jido agent dies in the middle of a call", name, [[:agent, :stuck]] do
      instance!(name)
      jido = Kantoku.JidoCase.jido!()
      pid = Kantoku.JidoCase.agent!(name, jido, "a", probe_period: 20)
      {_caller, _action, task} = Kantoku.JidoCase.begin_wait(pid)
      kill(task)
    end
  end

  # Domains ------------------------------------------------------------------------------------------------------------------

  scenario "the supervisor of an agent is killed", name, [[:domain, :repaired]] do
    instance!(name)
    pid = worker!(name, "a")
    kill(supervisor_of(name, "a"))
    back!(name, "a", pid)
  end

  scenario "the supervisor of declared agents is killed", name, [[:domain, :repaired]] do
    instance!(name, domains: [[name: :d, strategy: :one_for_all, agents: [[spec: {TestWorker, [id: "a"]}, id: "a"]]]])
    pid = eventually(fn -> Kantoku.whereis(name, "a") end)
    kill(supervisor_of(name, "a"))
    back!(name, "a", pid)
  end

  scenario "a domain gives up", name, [[:domain, :escalated]] do
    instance!(name, domains: [[name: :d, on_exhausted: :escalate, max_restarts: 0]])
    kill(worker!(name, "a", domain: :d))
  end

  scenario "restarts are spread", name, [[:domain, :throttled]] do
    instance!(name, domains: [[name: :d, storm: [rate: 1, burst: 1]]])
    for id <- ["a", "b"], do: worker!(name, id, domain: :d)
    for id <- ["a", "b"], do: kill(Kantoku.whereis(name, id))
  end

  # Breakers -----------------------------------------------------------------------------------------------------------------

  scenario "a breaker is installed, and removed", name, [[:breaker, :installed], [:breaker, :removed]] do
    instance!(name)
    {:ok, breaker} = Breaker.install(name, :b)
    :ok = Breaker.remove(breaker)
  end

  scenario "an objective is put, and deleted", name, [[:objective, :put], [:objective, :deleted]] do
    instance!(name)
    :ok = Kantoku.SLO.put(name, name: :answers, pool: :workers, target: 99.0)
    :ok = Kantoku.SLO.delete(name, :answers)
  end

  scenario "a breaker is set, and we were not there for a while", name, [[:breaker, :state_changed], [:breaker, :gap]] do
    instance!(name, breakers: [[name: :b]])
    :ok = Breaker.set({name, :b}, :forced_open)
    # So the next beat, a second on, finds that there was one long after the last.
    Engine.Breakers.breaker_beat(name, 0x4000000000000000)
  end

  # Migration ----------------------------------------------------------------------------------------------------------------

  # Its instance has a name of its own.
  defp migration!(context) do
    {:ok, _} = Telemetry.subscribe(context.instance, events: [[:migration]])
    context
  end

  for verb <- [:changed, :moved, :stayed, :disagreed, :reverted], do: @covered([[:migration, verb]])

  test "agents move over, but for one that cannot" do
    context = migration!(MigrationCase.context!(engine: @engine))
    session!(context, "ada")
    {:ok, _pid} = Migration.start_child(context.subject, "w", {TestWorker, id: "w"}, context.old)
    :ok = Migration.set(context.instance, :supervision, TestSession, :enforce)
    for verb <- [:changed, :moved, :stayed], do: assert_told(context.instance, [:migration, verb])
  end

  test "a shadow disagrees" do
    context = migration!(MigrationCase.context!(engine: @engine))
    :ok = Migration.set(context.instance, :registry, TestSession, :shadow)
    {Registry, registry} = context.registry
    other = start_supervised!({TestSession, id: "carl", registry: registry})
    assert Migration.whereis(context.subject, "carl", context.registry) == other
    assert_told(context.instance, [:migration, :disagreed])
  end

  test "a canary goes back" do
    context = migration!(MigrationCase.context!(engine: @engine))
    ids = for n <- 1..40, do: "session-#{n}"
    for id <- ids, do: session!(context, id, fails: true)
    supervise!(context, {:canary, 50}, min_samples: 40)
    eventually(fn -> gone_back?(context, ids) end)
    assert_told(context.instance, [:migration, :reverted])
  end

  defp gone_back?(context, ids) do
    for id <- ids, do: Migration.call(context.subject, id, {:add, 1})
    Migration.Clerk.look()
    entry(context, :supervision).reversal
  end

  # Health -------------------------------------------------------------------------------------------------------------------

  @stuck [[:health, :changed], [:health, :restarting], [:health, :round]]
  scenario "an agent is stuck", name, @stuck do
    instance!(name, health: [period: 20, max_busy: %{TestWorker => 20}])
    pid = worker!(name, "a")
    GenServer.cast(pid, {:run, fn -> receive(do: (:never -> :ok)) end})
    back!(name, "a", pid)
  end

  scenario "an agent is ready, and then is not", name, [[:health, :shut_out], [:health, :let_in]] do
    table = :ets.new(:answers, [:public])
    :ets.insert(table, {:answer, :ok})
    probe = [name: :ready, kind: :readiness, check: {Kantoku.EventCoverage, :answer, [table]}, period: 10]
    instance!(name, health: [period: 20, probes: [probe ++ [failure_threshold: 1]]])
    worker!(name, "a", tags: ["t"])
    eventually(fn -> Kantoku.count(name, tag: "t") == 1 end)
    :ets.insert(table, {:answer, {:error, :busy}})
  end

  scenario "an agent's memory grows, and is given back", name, [[:health, :at_risk], [:health, :safe]] do
    instance!(name, health: [period: 20, at_risk: [memory: 400_000, horizon: 60_000]])
    pid = worker!(name, "a")
    keep = fn -> Process.put(:kept, [Enum.to_list(1..400) | Process.get(:kept, [])]) end

    eventually(fn ->
      GenServer.cast(pid, {:run, keep})
      match?({:ok, %{at_risk: 1}}, Health.status(name))
    end)

    kill(pid)
  end

  scenario "whoever looks after agents was not there for a while", name, [[:health, :gap]] do
    instance!(name, health: [period: 20])
    {:ok, {_rows, book}} = Kantoku.Instances.tables(name)
    rounds = eventually(fn -> Health.Board.rounds(book) end)
    :sys.suspend(rounds)
    since = System.monotonic_time(:millisecond)
    eventually(fn -> System.monotonic_time(:millisecond) - since > 100 end)
    :sys.resume(rounds)
  end

  # Degradation and alerts ---------------------------------------------------------------------------------------------------

  scenario "memory is short, and then is not", name, [[:degradation, :entered], [:degradation, :left]] do
    share = :atomics.new(1, [])
    reading = fn -> %{memory: {:atomics.get(share, 1) * div(@gib, 100), @gib, :cgroup}, run_queue: 0.0} end
    :atomics.put(share, 1, 75)
    instance!(name, degradation: [period: 5, reading: reading])
    eventually(fn -> match?({:ok, %{level: 1}}, Degradation.status(name)) end)
    :atomics.put(share, 1, 10)
  end

  # Only the native engine holds memory that has limits.
  if @engine == :native do
    scenario "breakers hold what they may, and then less", name, [[:memory, :full], [:memory, :freed]] do
      instance!(name, memory: [breakers: 4_000])
      {:ok, breaker} = Breaker.install(name, :b, sliding_window_size: 10_000)
      for _ <- 1..5_000, do: {:ok, :fine} = Breaker.run(breaker, fn -> :fine end)
      eventually(fn -> match?({:ok, %{breakers: %{full: true}}}, Kantoku.Memory.status(name)) end)
      :ok = Breaker.remove(breaker)
    end
  end

  @told [[:alert, :changed], [:alert, :undelivered], [:alert, :dropped]]
  scenario "an alert fires, and whom it is told to fails", name, @told do
    rule = [name: :down, condition: {:breaker, :b, :forced_open}, summary: "b is down"]
    sink = {:function, run: fn _alert -> raise "no" end, max_queue: 1, retry: [base: 1, cap: 5]}
    instance!(name, alerts: [interval: 10, defaults: false, rules: [rule], sinks: [sink]], breakers: [[name: :b]])

    for {set, state} <- [forced_open: :firing, closed: :resolved, forced_open: :firing] do
      :ok = Breaker.set({name, :b}, set)
      eventually(fn -> match?({:ok, [%{state: ^state}]}, Alert.list(name)) end)
    end
  end

  scenario "a sink fails, and takes alerts again", name, [[:alert, :undelivered], [:alert, :sink_recovered]] do
    rule = [name: :down, condition: {:breaker, :b, :forced_open}, summary: "b is down"]
    cell = :atomics.new(1, [])

    sink =
      {:function,
       run: fn _alert -> (1 / :atomics.add_get(cell, 1, 1)) |> then(&(1 / (&1 - 1))) end, retry: [base: 1, cap: 5]}

    instance!(name, alerts: [interval: 10, defaults: false, rules: [rule], sinks: [sink]], breakers: [[name: :b]])
    :ok = Breaker.set({name, :b}, :forced_open)
  end

  scenario "a rule is put, and deleted", name, [[:alert, :rule_put], [:alert, :rule_deleted]] do
    instance!(name)
    :ok = Alert.put(name, name: :down, condition: {:breaker, :b, :forced_open})
    :ok = Alert.delete(name, :down)
  end

  # Traces -------------------------------------------------------------------------------------------------------------------

  scenario "spans have no room", name, [[:trace, :dropped]] do
    instance!(name, trace: [sampler: :always_on, max_queue_size: 1])
    worker!(name, "a")
    for _ <- 1..3, do: {:ok, _pid} = Kantoku.call(name, "a", :pid)
    # It looks every ten seconds.
    send(keeper(name), :timeout)
  end

  defp keeper(name),
    do: Enum.find_value(processes(name), fn {id, pid, type} -> {id, type} == {Kantoku.Trace.Keeper, :worker} && pid end)

  # Pools --------------------------------------------------------------------------------------------------------------------

  @life for verb <- [:started, :worker_joined, :resized, :worker_left, :stopped], do: [:pool, verb]
  scenario "a pool starts, shrinks, and is stopped", name, @life do
    pool = pool!(name, target: 2)
    settled(pool, 2)
    :ok = Pool.update(pool, target: 1)
    eventually(fn -> length(pids(pool)) == 1 end)
    {:ok, _} = Pool.stop(pool)
  end

  scenario "a worker is ejected and readmitted", name, [[:pool, :worker_ejected], [:pool, :worker_returned]] do
    pool = pool!(name, target: 3)
    settled(pool, 3)
    :ok = Pool.eject(pool, 0)
    :ok = Pool.readmit(pool, 0)
  end

  scenario "too few workers are ready, and then enough", name, [[:pool, :panic_entered], [:pool, :panic_left]] do
    pool = pool!(name, target: 2)
    settled(pool, 2)
    for pid <- pids(pool), do: :ok = Engine.Pools.pool_shut(name, :workers, pid)
    for {pid, at} <- Enum.with_index(pids(pool)), do: Engine.Pools.pool_join(name, :workers, pid, at)
  end

  scenario "workers do not start any more, and then do", name, [[:pool, :degraded], [:pool, :recovered]] do
    cell = :atomics.new(1, [])
    domain = [partitions: 2, backoff: [base: 1, cap: 2], budget: [crashes: 2], unpark: :never]
    pool = pool!(name, [target: 2, domain: domain], refuse: cell)
    settled(pool, 2)
    :atomics.put(cell, 1, 1_000_000)
    kill(hd(pids(pool)))
    until(pool, degraded: true, ready: 1)
    eventually(fn -> match?({:ok, [%{state: :parked} | _]}, Pool.workers(pool)) end)
    :atomics.put(cell, 1, 0)
    :ok = Kantoku.unpark(name, {:pool, :workers, 0})
  end

  scenario "a caller gives up, and the worker is replaced", name, [[:pool, :replaced]] do
    pool = pool!(name, on_abandon: :replace)
    {_ref, request} = hold()
    {:error, %{reason: :timeout}} = Pool.call(pool, request, timeout: 20)
  end

  scenario "workers use more than they may, and then not", name, [[:pool, :over_quota], [:pool, :within_quota]] do
    pool = pool!(name, target: 1, quotas: [memory: 1])
    settled(pool, 1)
    eventually(fn -> match?({:error, %{reason: :quota}}, Pool.call(pool, :pid)) end)
    :ok = Pool.update(pool, quotas: [memory: 1_000_000_000])
  end

  scenario "requests wait too long, and then none", name, [[:pool, :overloaded], [:pool, :relieved]] do
    pool = pool!(name, target: 1, queue_target: 1, queue_interval: 20)
    {:ok, events} = Telemetry.subscribe(name, events: [[:pool, :overloaded]])
    work = {:run, fn -> receive(do: (:never -> :ok), after: (5 -> :ok)) end}
    callers = for _ <- 1..10, do: Task.async(fn -> Enum.each(Stream.cycle([work]), &Pool.call(pool, &1)) end)
    assert [_told] = Telemetry.take(events, 1, 30_000)
    for caller <- callers, do: Task.shutdown(caller, :brutal_kill)
  end

  @tag :tmp_dir
  test "decisions cannot be recorded any more", %{tmp_dir: dir} do
    name = subscribed()
    path = Path.join(dir, "workers.scaling")
    pool = pool!(name, min: 1, max: 2, scaling: [look_back: 0, forecast: :off])
    {ref, request} = hold()

    log =
      capture_log(fn ->
        :ok = Pool.record(pool, path)
        File.rm!(path)
        File.mkdir!(path)
        call_async(pool, request)
        worker = begun(ref)
        assert_told(name, [:pool, :recording_failed])
        release(worker, ref)
      end)

    assert log =~ "cannot be written (illegal operation on a directory)"
  end

  @covered [[:pool, :recording_failed]]

  scenario "a pool grows with its load", name, [[:pool, :scaled]] do
    pool = pool!(name, min: 1, max: 3, scaling: [metrics: [ongoing: 1], look_back: 0, forecast: :off])
    {ref, request} = hold()
    call_async(pool, request)
    worker = begun(ref)
    more = call_async(pool, :pid)
    assert {:ok, _pid} = Task.await(more, 30_000)
    release(worker, ref)
  end

  # Handlers -----------------------------------------------------------------------------------------------------------------

  scenario "a handler fails, and has no room", name, [
    [:handler, :failed],
    [:handler, :reattached],
    [:handler, :dropped]
  ] do
    fail = fn _name, _measurements, %{id: id}, test ->
      send(test, {:begun, self()}) && receive(do: (:go_on -> 1 / id))
    end

    :ok = Telemetry.attach(name, [[:health, :safe]], fail, instance: name, queue: 1, config: self())
    for _ <- 1..3, do: Telemetry.emit(name, [:health, :safe], %{}, %{id: 0, domain: :d, sign: :memory})
    assert_receive {:begun, pid}
    send(pid, :go_on)
    on_exit(fn -> Telemetry.detach(name) end)
  end

  @all Enum.concat(@covered)

  test "each event of the catalogue has a scenario" do
    elsewhere = if @engine == :native, do: [], else: [[:native, :panic], [:memory, :full], [:memory, :freed]]

    elsewhere =
      if Kantoku.Native.loaded?(),
        do: elsewhere,
        else: elsewhere ++ [[:store, :set_aside], [:store, :failed], [:store, :recovered]]

    without_jido = if Kantoku.Jido.compiled?(), do: [], else: [[:agent, :stuck]]
    # Those of exporters and discovery are seen alone (`Kantoku.Exporters.EventsTest`).
    events = for %{name: [noun | _] = name} <- Telemetry.events(), noun not in [:api, :exporter, :discovery], do: name
    assert events -- (@all ++ elsewhere ++ without_jido) == []
  end
end

import Kantoku.EachEngine

each_engine Kantoku.Metrics.CoverageTest do
  # Every metric of Kantoku's own is seen to say something that happened.
  import Kantoku.InstanceCase, only: [worker!: 2, worker!: 3, back!: 3, eventually_error: 3]
  import Kantoku.MetricCoverage, only: [measured: 3, measured: 4]
  import Kantoku.PoolCase, only: [options: 1, settled: 2, hold: 0, begun: 1]
  import Kantoku.TestOwner, only: [eventually: 1, kill: 1]

  alias Kantoku.{Breaker, InstanceCase, Pool, SLO, Store, TestWorker}
  alias Kantoku.Test.AgentCase

  Module.register_attribute(__MODULE__, :covered, accumulate: true)

  defp start!(opts), do: InstanceCase.start!([engine: @engine] ++ opts)

  # Agents -------------------------------------------------------------------------------------------------------------------

  measured "an agent crashes too often", ~w(kantoku_agent_crashes kantoku_agent_restarts kantoku_agent_parked) do
    budget = [backoff: [base: 1, cap: 1], budget: [crashes: 1], unpark: :never]
    instance = start!(domains: [[name: :default] ++ budget])
    pid = worker!(instance, "a")
    kill(pid)
    kill(back!(instance, "a", pid))
    eventually_error(instance, "a", :parked)
    instance
  end

  if Kantoku.Jido.compiled?() do
    measured "the task of a Jido agent dies in the middle of a call", ["kantoku_agent_stuck"] do
      instance = start!([])
      pid = Kantoku.JidoCase.agent!(instance, Kantoku.JidoCase.jido!(), "a", probe_period: 20)
      {_caller, _action, task} = Kantoku.JidoCase.begin_wait(pid)
      kill(task)
      instance
    end
  end

  @kept ~w(kantoku_snapshot_write_duration_seconds kantoku_snapshot_failures kantoku_snapshot_restores)
  measured "the state of an agent is kept, restored, and damaged", @kept do
    Process.flag(:trap_exit, true)
    instance = start!([])
    {:ok, store} = Kantoku.Store.open(:"#{instance}_kept", Kantoku.Store.Memory)
    AgentCase.live_through_everything(%{instance: instance, store: store, id: "a"})
    instance
  end

  measured "agents are called", ["kantoku_agent_call_duration_seconds"] do
    instance = start!([])
    pid = worker!(instance, "a")
    for _ <- 1..500, do: {:ok, ^pid} = Kantoku.call(instance, "a", :pid)
    instance
  end

  measured "restarts are spread", ["kantoku_domain_throttled"] do
    instance = start!(domains: [[name: :d, storm: [rate: 1, burst: 1]]])
    pids = for id <- ["a", "b"], do: worker!(instance, id, domain: :d)
    Enum.each(pids, &kill/1)
    instance
  end

  measured "a domain gives up", ["kantoku_domain_escalations"] do
    instance = start!(domains: [[name: :d, on_exhausted: :escalate, max_restarts: 0]])
    kill(worker!(instance, "a", domain: :d))
    instance
  end

  measured "an agent is asked how it is, and another hangs", ~w(kantoku_probe_results kantoku_health_restarts) do
    probe = [name: :ready, kind: :readiness, check: {__MODULE__, :well, []}, period: 10]
    instance = start!(health: [period: 20, max_busy: %{TestWorker => 20}, probes: [probe]])
    pid = worker!(instance, "a")
    GenServer.cast(pid, {:run, fn -> receive(do: (:never -> :ok)) end})
    back!(instance, "a", pid)
    instance
  end

  def well(_pid), do: :ok

  # Breakers -----------------------------------------------------------------------------------------------------------------

  @breaker for figure <- ~w(calls slow_calls state changes), do: "kantoku_breaker_#{figure}"
  measured "calls through a breaker are slow, and it is opened", @breaker do
    instance = start!(breakers: [[name: :b, slow_call_duration_threshold: 1]])
    {:ok, :slept} = Breaker.run({instance, :b}, fn -> receive(do: (:never -> :ok), after: (5 -> :slept)) end)
    :ok = Breaker.set({instance, :b}, :forced_open)
    instance
  end

  # Pools --------------------------------------------------------------------------------------------------------------------

  @busy for figure <- ~w(arrivals queue ongoing utilization_ratio workers refusals), do: "kantoku_pool_#{figure}"
  measured "a pool has more to do than it can", @busy do
    instance = start!(pools: [options(max_queue: 1)])
    settled({instance, :workers}, 1)
    {ref, request} = hold()
    for _ <- 1..2, do: Task.async(fn -> Pool.call({instance, :workers}, request, timeout: :infinity) end)
    begun(ref)
    eventually(fn -> match?({:ok, %{queue: 1}}, Pool.status({instance, :workers})) end)
    {:error, %{reason: :queue_full}} = Pool.call({instance, :workers}, :pid)
    instance
  end

  @done ~w(kantoku_pool_requests kantoku_pool_request_duration_seconds kantoku_pool_wait_duration_seconds)
  @tenants for figure <- ~w(requests request_duration_seconds wait_duration_seconds),
               do: "kantoku_pool_tenant_#{figure}"
  measured "a pool works for tenants", @done ++ @tenants do
    instance = start!(pools: [options([])])
    for _ <- 1..32, do: {:ok, _pid} = Pool.call({instance, :workers}, :pid, tenant: "acme")
    {:ok, :done} = Pool.run({instance, :workers}, fn _worker -> :done end, tenant: "acme")
    instance
  end

  measured "a caller gives up, and the worker is replaced", ["kantoku_pool_replaced"] do
    instance = start!(pools: [options(on_abandon: :replace)])
    {_ref, request} = hold()
    {:error, %{reason: :timeout}} = Pool.call({instance, :workers}, request, timeout: 20)
    instance
  end

  measured "a worker is ejected", ["kantoku_pool_ejections"] do
    instance = start!(pools: [options(target: 3)])
    settled({instance, :workers}, 3)
    :ok = Pool.eject({instance, :workers}, 0)
    instance
  end

  # How it stands ------------------------------------------------------------------------------------------------------------

  @objective for figure <- ~w(objective_ratio error_budget_remaining_ratio burn_rate calls), do: "kantoku_slo_#{figure}"
  measured "half of what may be bad was", @objective do
    instance = start!(objectives: [[name: :a, operation: :a, target: 90]])
    for outcome <- [:error | List.duplicate(:ok, 19)], do: :ok = SLO.record(instance, :a, outcome)
    instance
  end

  measured "an agent fares well", ~w(kantoku_health_state kantoku_health_members) do
    instance = start!(health: [period: 20])
    worker!(instance, "a")
    instance
  end

  if Kantoku.Native.loaded?() do
    defp store!(folder, opts) do
      path = Path.join(folder, "kept.redb")
      # What is read is read from the file.
      instance = start!(store: {Store.Disk, [path: path, cache_bytes: 1] ++ opts})
      {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
      {instance, Kantoku.Domain.Book.agent_options(book).store, path}
    end

    defp overwrite(path, fun), do: File.write!(path, fun.(File.read!(path)), [:read])

    defp write(store, revision) do
      ref = make_ref()
      :pending = Store.put(store, "a", {1, revision}, String.duplicate("kept", 1_000), ref)
      receive(do: ({:kantoku_store, ^ref, answer} -> answer))
    end

    @written for figure <-
                   ~w(commits commit_seconds writes written_bytes quarantined pending_writes pending_bytes refusals),
                 do: "kantoku_store_#{figure}"
    @tag :tmp_dir
    measured "a snapshot is damaged, and more is written than may wait", @written, %{tmp_dir: folder} do
      {instance, store, path} = store!(folder, async_window: 60_000, max_pending_bytes: 10_000)
      :ok = write(store, 1)
      overwrite(path, &String.replace(&1, "keptkept", "lostlost"))
      {:damaged, _why} = Store.get(store, "a")
      :ok = Store.set_aside(store, "a")
      for id <- ["b", "c"], do: Store.put(store, id, {1, 1}, String.duplicate("x", 9_000), nil)
      instance
    end

    @failed for figure <- ~w(failing_seconds retries reopened), do: "kantoku_store_#{figure}"
    @tag :tmp_dir
    @tag :capture_log
    measured "a disk fails, is well again, and fails", @failed, %{tmp_dir: folder} do
      {instance, store, path} = store!(folder, async_window: 1)
      :ok = write(store, 1)
      whole = File.read!(path)
      damage = fn -> overwrite(path, &String.duplicate(<<0xA5>>, byte_size(&1))) end
      damage.()
      :ok = Store.put(store, "a", {1, 2}, "more", nil)
      eventually(fn -> Store.Disk.stats(elem(store, 1)).retried > 0 end)
      overwrite(path, fn _damaged -> whole end)
      :ok = write(store, 3)
      # With nothing that waits for the disk the instance ends at once.
      damage.()
      {:error, _why} = Store.get(store, "a")
      instance
    end
  end

  # What is used -------------------------------------------------------------------------------------------------------------

  @used for figure <- ~w(observed memory_bytes heap_bytes binary_bytes mailbox_messages reductions_per_second io_bytes),
            do: "kantoku_agents_#{figure}"
  @nobodys ~w(kantoku_unattributed_processes kantoku_unattributed_memory_bytes)
  measured "agents hold binaries, have messages, and work", @used ++ @nobodys do
    instance = start!(health: [period: 20, at_risk: false])
    holder = worker!(instance, "holder")
    GenServer.call(holder, {:run, &echo/0})
    GenServer.call(holder, {:run, fn -> Process.put(:kept, :binary.copy("x", 1_000_000)) && :ok end})
    late = worker!(instance, "late")
    GenServer.cast(late, {:run, fn -> receive(do: (:go_on -> :ok)) end})
    for _ <- 1..10, do: send(late, :more)
    busy = fn again -> Enum.sum(1..10_000) && receive(do: (:stop -> :ok), after: (0 -> again.(again))) end
    GenServer.cast(worker!(instance, "busy"), {:run, fn -> busy.(busy) end})
    instance
  end

  defp echo do
    port = Port.open({:spawn, "cat"}, [:binary])
    Port.command(port, "hello")
    receive do: ({^port, {:data, "hello"}} -> port)
  end

  measured "spans are kept, and metrics may take so much", ~w(kantoku_trace_spans kantoku_native_limit_bytes) do
    instance = start!(trace: [sampler: :always_on])
    :ok = Kantoku.Trace.span(instance, "a span", [], fn -> :ok end)
    instance
  end

  if @engine == :native do
    measured "the native core keeps something", ["kantoku_native_bytes"] do
      instance = start!([])
      worker!(instance, "a")
      instance
    end
  end

  @doc "What has a scenario here."
  def covered, do: @covered |> Enum.concat() |> Enum.uniq()
end

defmodule Kantoku.Metrics.CoverageTest do
  # There is one listener for the VM.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Metrics, OtherVM, RawHTTP, Resources, TestHTTPSink}
  alias Kantoku.Resources.Families

  # Those that nobody who runs here is told of: agents of Jido hang only where it is, bytes are native ones.
  @elsewhere if(Kantoku.Jido.compiled?(), do: [], else: ["kantoku_agent_stuck"])
  @native ["kantoku_native_bytes"]

  # Files of snapshots are the native library's.
  @files if(Kantoku.Native.loaded?(),
           do: [],
           else: for({"kantoku_store_" <> _ = name, _kind, _help} <- Metrics.Standing.all(), do: name)
         )

  # Of the VM: those of which there may be none, as nothing waits.
  @waiting ~w(run_queues_length dirty_cpu_run_queue_length dirty_io_run_queue_length)
  @may_be_nothing ["erlang_vm_memory_dets_tables", "erlang_vm_dist_send_pend_bytes"] ++
                    Enum.map(@waiting, &"erlang_vm_statistics_#{&1}")

  test "each metric of Kantoku's own has a scenario, on each engine" do
    own = for {name, _kind, _help} <- Metrics.Own.all() ++ Metrics.Standing.all(), do: name
    {:ok, sums} = Resources.sums(start!())
    used = for %{name: name} <- Families.of_instance(:any, sums), do: name

    for engine <- Kantoku.EachEngine.engines() do
      module = Module.concat(__MODULE__, "#{Macro.camelize("#{engine}")}Engine")
      missing = (own ++ used) -- (module.covered() ++ @elsewhere ++ @files)
      assert {engine, missing} == {engine, if(engine == :native, do: [], else: @native)}
    end
  end

  test "each family of the VM says something, of a node with another" do
    {one, _node} = OtherVM.start_named(:peer.random_name(), "coverage")
    {other, node} = OtherVM.start_named(:peer.random_name(), "coverage")
    assert OtherVM.run(one, {Node, :connect, [node]})

    :ok = OtherVM.run(one, {Resources.Traffic, :look, []})
    families = OtherVM.run(one, {Resources, :vm, []}) |> Families.of_vm()
    for vm <- [one, other], do: OtherVM.stop(vm)

    silent = for %{name: name, series: series} <- families, not Enum.any?(series, &(&1.value > 0)), do: name
    assert silent -- @may_be_nothing == []
    assert for(%{name: name, series: []} <- families, do: name) == []
  end

  @tag :exporters
  test "each family of the exporters' own changes when what it counts happens" do
    options = RawHTTP.options(max_connections: 2)
    sink = TestHTTPSink.start(answer: fn _number -> 400 end)
    statsd = TestHTTPSink.closed_port()
    {:ok, dogs} = :gen_udp.open(0, [:binary, active: false, ip: {127, 0, 0, 1}])
    {:ok, dogstatsd} = :inet.port(dogs)
    taken = [dogstatsd: [interval: 10, port: dogstatsd]]
    exporters = [otlp: [endpoint: sink.url, interval: 20], statsd: [interval: 10, port: statsd]] ++ taken
    instance = start!(http: options, exporters: exporters, metrics: [max_series: 1], trace: [sampler: :always_on])
    :ok = Metrics.counter(instance, "visits", labels: [:who])
    for who <- 1..3, do: Metrics.add(instance, "visits", 1, who: who)
    port = RawHTTP.port()
    {404, _, _} = RawHTTP.get(port, "/nothing")
    reader = RawHTTP.connect(port)

    :ok =
      :gen_tcp.send(
        reader,
        "GET /events HTTP/1.1\r\nhost: localhost:#{port}\r\nauthorization: Bearer #{RawHTTP.token()}\r\n\r\n"
      )

    # Who has not shown the token yet gives way to others.
    {:ok, "HTTP/1.1 200" <> _stream} = :gen_tcp.recv(reader, 0, 30_000)
    held = for _ <- 1..8, do: RawHTTP.connect(port)
    Enum.each(held, &:gen_tcp.close/1)

    assert eventually(fn -> silent(page(port)) == [] end)
    :gen_tcp.close(reader)
  end

  defp page(port) do
    case RawHTTP.get(port, "/metrics") do
      {200, _headers, page} -> page
      # No room yet: those before are being closed.
      _closed -> "# TYPE kantoku_exporter_page gauge\n"
    end
  end

  # Families of the library's own on a page, none of whose series is above 0.
  defp silent(page) do
    for [_line, name] <- Regex.scan(~r/^# TYPE (kantoku_(?:exporter|metrics)_\w+) /m, page),
        not Regex.match?(~r/^#{name}(\{.*\})? 0*[1-9]/m, page),
        do: name
  end
end

defmodule Kantoku.Resources.VMTest do
  # Turns a flag of the VM on and off.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{OtherVM, Resources, TestHTTPSink}
  alias Kantoku.Exporters.Members
  alias Kantoku.Resources.{Families, OS, Schedulers}

  @moduletag :tmp_dir

  # Whatever other tests have exported.
  setup do
    Resources.measure_schedulers(false)
    on_exit(fn -> Resources.measure_schedulers(:auto) end)
  end

  defp measured?, do: :erlang.statistics(:scheduler_wall_time) != :undefined

  test "the VM says what it has, and of how much" do
    vm = Resources.vm()
    for used <- [vm.processes, vm.ports, vm.atoms, vm.tables], do: assert(used.count > 0 and used.count < used.limit)
    assert length(vm.schedulers.run_queues) == :erlang.system_info(:schedulers)
    assert vm.memory.total >= vm.memory.processes and vm.reductions > 0 and vm.io.input > 0
    assert vm.distribution == [] and vm.schedulers.utilization == nil
    if File.exists?("/proc/self/stat"), do: assert(%{cpu_seconds: s, resident: b} = vm.os) && assert(s > 0 and b > 0)
  end

  test "memory by kind adds up under the names of prometheus.erl" do
    families = Map.new(Families.of_vm(Resources.vm()), &{&1.name, &1.series})
    value = fn name, labels -> Enum.find(families[name], &(&1.labels == labels)).value end
    system = value.("erlang_vm_memory_bytes", %{"kind" => "system"})
    assert Enum.sum(for(%{value: value} <- families["erlang_vm_memory_system_bytes"], do: value)) == system
    usages = for %{labels: %{"usage" => usage}} <- families["erlang_vm_memory_system_bytes"], do: usage
    assert Enum.sort(usages) == ~w(atom binary code ets other)
    assert value.("erlang_vm_process_limit", %{}) > value.("erlang_vm_processes", %{})
    refute is_map_key(families, "kantoku_vm_scheduler_utilization_ratio")
  end

  test "what is counted has the names of prometheus.erl 6, tables of DETS included", %{tmp_dir: folder} do
    value = fn name ->
      Enum.find_value(Families.of_vm(Resources.vm()), &(&1.name == name and hd(&1.series).value))
    end

    for name <- ~w(erlang_vm_atoms erlang_vm_processes erlang_vm_ports erlang_vm_memory_ets_tables),
        do: assert({name, value.(name) > 0} == {name, true})

    before = value.("erlang_vm_memory_dets_tables")
    {:ok, table} = :dets.open_file(make_ref(), file: String.to_charlist(Path.join(folder, "table")))
    assert value.("erlang_vm_memory_dets_tables") == before + 1
    :ok = :dets.close(table)
    assert value.("erlang_vm_memory_dets_tables") == before
  end

  test "of the distribution each node has figures, under its name as it is written" do
    {one, _node} = OtherVM.start_named(:peer.random_name(), "labels")
    {other, node} = OtherVM.start_named(:peer.random_name(), "labels")
    assert OtherVM.run(one, {Node, :connect, [node]})
    vm = OtherVM.run(one, {Resources, :vm, []})
    families = Map.new(Families.of_vm(vm), &{&1.name, &1.series})
    labels = %{"peer" => Atom.to_string(node)}

    for name <- ~w(erlang_vm_dist_recv_bytes erlang_vm_dist_send_bytes),
        do: assert(for(%{value: bytes} = series <- families[name], bytes > 0, do: series.labels) == [labels])

    assert [%{labels: ^labels, value: _waiting}] = families["erlang_vm_dist_send_pend_bytes"]
    for vm <- [one, other], do: OtherVM.stop(vm)
  end

  test "schedulers are measured while that is on, and the VM's flag is left as it was" do
    refute measured?()
    assert Resources.measure_schedulers(true) == :ok
    assert Resources.measure_schedulers(true) == :ok
    assert busy = eventually(fn -> Resources.vm().schedulers.utilization end)
    assert busy >= 0.0 and busy <= 1.0
    assert Enum.any?(Families.of_vm(Resources.vm()), &(&1.name == "kantoku_vm_scheduler_utilization_ratio"))

    # Whoever follows one that was killed goes on, and still knows how the flag was found.
    schedulers = Process.whereis(Schedulers)
    kill(schedulers)
    assert eventually(fn -> Process.whereis(Schedulers) not in [nil, schedulers] end)
    assert eventually(fn -> Resources.vm().schedulers.utilization end)
    assert Resources.measure_schedulers(false) == :ok
    refute measured?()
    assert Resources.vm().schedulers.utilization == nil
  end

  test "schedulers of each kind are measured, and dirty ones are told apart" do
    Resources.measure_schedulers(true)
    busy = fn -> Enum.find(Families.of_vm(Resources.vm()), &(&1.name == "kantoku_vm_scheduler_utilization_ratio")) end
    assert %{kind: :gauge, unit: "ratio", series: series} = eventually(busy)

    assert Enum.sort(for %{labels: labels} <- series, do: labels) ==
             for(k <- ~w(dirty_cpu dirty_io normal), do: %{"kind" => k})

    for %{value: value} <- series, do: assert(value >= 0.0 and value <= 1.0)

    # Making keys is work that OTP gives to dirty schedulers.
    keys = Stream.repeatedly(fn -> :crypto.generate_key(:rsa, {1024, 65_537}) end)
    worker = spawn(fn -> Stream.run(keys) end)
    least = 0.5 / :erlang.system_info(:dirty_cpu_schedulers_online)
    assert eventually(fn -> (Resources.vm().schedulers.dirty_cpu_utilization || 0) >= least end)
    kill(worker)
  end

  @tag :exporters
  test "schedulers are measured while an instance exports, unless it was said that they are not to be" do
    Resources.measure_schedulers(:auto)
    refute measured?()
    instance = start!(exporters: [statsd: [port: TestHTTPSink.closed_port()]])
    assert eventually(&measured?/0)
    assert eventually(fn -> Resources.vm().schedulers.utilization end)

    :ok = Resources.measure_schedulers(false)
    refute measured?()
    Schedulers.look()
    refute :sys.get_state(Schedulers)
    assert Resources.vm().schedulers.utilization == nil

    :ok = Resources.measure_schedulers(:auto)
    assert measured?()
    stop_supervised!(instance)
    assert eventually(fn -> not measured?() end)
    assert Resources.vm().schedulers.utilization == nil
  end

  @tag :exporters
  test "schedulers are measured no longer when the last that exports was killed" do
    Resources.measure_schedulers(:auto)
    refute measured?()
    owner = spawn(fn -> Process.sleep(:infinity) end)
    Members.join(:killed_soon, owner, %{http: nil, exporters: []})
    Schedulers.look()
    assert eventually(&measured?/0)
    kill(owner)
    assert eventually(fn -> not measured?() end)
    Members.leave(:killed_soon, owner)
  end

  test "what Linux says of a process is read whatever its name, and nil where it says nothing", %{tmp_dir: folder} do
    assert OS.read(folder) == nil
    File.write!(Path.join(folder, "stat"), "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20\n")
    File.write!(Path.join(folder, "status"), "Name:\ta ) b\nVmRSS:\t    2048 kB\nThreads:\t3\n")
    assert OS.read(folder) == %{cpu_seconds: 3.0, resident: 2_097_152, threads: 3}
    File.write!(Path.join(folder, "stat"), "7 (a) S 1")
    assert OS.read(folder) == nil
  end
end

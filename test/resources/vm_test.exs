defmodule Kantoku.Resources.VMTest do
  # Turns a flag of the VM on and off.
  use ExUnit.Case, async: false
  import Kantoku.TestOwner, only: [eventually: 1, kill: 1]

  alias Kantoku.{OtherVM, Resources}
  alias Kantoku.Resources.{Families, OS, Schedulers}

  @moduletag :tmp_dir

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
    assert :erlang.statistics(:scheduler_wall_time) == :undefined
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
    assert :erlang.statistics(:scheduler_wall_time) == :undefined
    assert Resources.vm().schedulers.utilization == nil
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

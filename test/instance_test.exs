defmodule Kantoku.InstanceTest do
  use Kantoku.InstanceCase, async: true

  test "many instances live side by side, with the same names in each" do
    [one, two] = for _ <- 1..2, do: start!()
    assert worker!(one, "a") != worker!(two, "a")
    stop_supervised!(one)
    assert {:error, %Error{reason: :not_running}} = Kantoku.fetch(one, "a")
    assert Kantoku.whereis(two, "a")
  end

  test "a name is given to one instance at a time, and free when it has ended" do
    instance = start!()
    address = GenServer.whereis(Kantoku.Instance.address(instance))
    assert {:error, {:already_started, ^address}} = Kantoku.start_link(name: instance)
    stop_supervised!(instance)
    assert eventually(fn -> instance not in Kantoku.Instances.names() end)
    {:ok, pid} = Kantoku.start_link(name: instance, engine: hd(Kantoku.EachEngine.engines()))
    Supervisor.stop(pid)
  end

  test "an orderly end closes the store, when all agents have written" do
    instance = start!(store: {Kantoku.Test.WatchedStore, tell: self()})
    {:ok, _pid} = Kantoku.start_agent(instance, Kantoku.TestTally, id: "a", snapshot: :on_stop)
    {:ok, 3} = Kantoku.call(instance, "a", {:add, 3})
    refute_received {:put, _id, _version}
    stop_supervised!(instance)
    assert {:messages, [{:put, "a", {_incarnation, 1}}, :closed]} = Process.info(self(), :messages)
  end

  test "a name that another process has is refused, and that process is left alone" do
    Process.flag(:trap_exit, true)
    stranger = Kantoku.TestOwner.start()
    Process.register(stranger, :kantoku_taken)
    assert {:error, {:shutdown, _}} = Kantoku.start_link(name: :kantoku_taken, engine: :elixir)
    assert Process.alive?(stranger)
  end

  test "the supervisors of an instance are all to be seen from its top" do
    instance = start!(domains: [[name: :a, agents: [[spec: {TestWorker, []}, id: "x"]]]])
    pid = Kantoku.whereis(instance, "x")
    seen = processes(instance)
    assert {"x", pid, :worker} in seen
    assert for({{:domain, name}, _, :supervisor} <- seen, do: name) |> Enum.sort() == [:a, :default]
  end

  test "killing what only repairs or looks on is noticed by nobody" do
    instance = start!()
    pid = worker!(instance, "a")

    for module <- [Kantoku.Domain.Sweeper, Kantoku.Drain.Server, Kantoku.Domain.Keeper, Kantoku.Domain.Fuse] do
      for {^module, helper, :worker} <- processes(instance), do: kill(helper)
      assert eventually(fn -> Enum.any?(processes(instance), &match?({^module, _, _}, &1)) end)
    end

    assert Kantoku.whereis(instance, "a") == pid
    assert replaced!(instance, "a")
  end

  @lookers [
    Kantoku.Domain.Sweeper,
    Kantoku.Breaker.Clerk,
    Kantoku.Pool.Foremen,
    Kantoku.Health.Supervisor,
    Kantoku.SLO.Clerk,
    Kantoku.Alert.Supervisor,
    Kantoku.Trace.Keeper
  ]

  test "nor is it when they are killed more often than OTP bears" do
    instance =
      start!(
        breakers: [[name: :b]],
        pools: [[name: :p, worker: {TestWorker, []}, target: 2]],
        trace: [sampler: :always_off]
      )

    pid = worker!(instance, "a")
    top = GenServer.whereis(Kantoku.Instance.address(instance))
    core = Kantoku.Instances.core(instance)

    for module <- @lookers, _ <- 1..8 do
      looker = eventually(fn -> looker(instance, module) end)
      kill(looker)
      assert eventually(fn -> looker(instance, module) not in [nil, looker] end)
    end

    assert {GenServer.whereis(Kantoku.Instance.address(instance)), Kantoku.Instances.core(instance)} == {top, core}
    assert Kantoku.whereis(instance, "a") == pid
    assert {:ok, _} = Kantoku.Pool.call({instance, :p}, :pid)
    assert {:ok, %{state: :closed}} = Kantoku.Breaker.status({instance, :b})
  end

  # It stands below a supervisor of the same name.
  defp looker(instance, module) do
    Enum.find_value(processes(instance), fn
      {^module, pid, _type} when is_pid(pid) -> module in Tuple.to_list(:proc_lib.translate_initial_call(pid)) and pid
      _other -> false
    end)
  end

  test "the row of an instance is cleared when it ends, though who clears was killed" do
    instance = start!()
    kill(Process.whereis(Kantoku.Instances))
    eventually(fn -> Process.whereis(Kantoku.Instances) end)
    stop_supervised!(instance)
    assert eventually(fn -> Kantoku.Instances.gauges(instance) == nil end)
  end
end

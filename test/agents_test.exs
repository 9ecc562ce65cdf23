defmodule Kantoku.AgentsTest do
  use Kantoku.InstanceCase, async: true

  defmodule Room do
    @behaviour Kantoku.Agent.Adapter
    @impl true
    def child(instance, id, {__MODULE__, name}, opts) do
      %{id: :ignored, start: {Agent, :start_link, [fn -> {instance, id, name, opts} end]}}
    end
  end

  setup do
    %{instance: start!()}
  end

  test "an agent is found by its name, through whereis, fetch, call and :via", %{instance: instance} do
    pid = worker!(instance, "a")
    assert Kantoku.whereis(instance, "a") == pid
    assert Kantoku.fetch(instance, "a") == {:ok, pid}
    assert Kantoku.call(instance, "a", :pid) == {:ok, pid}
    assert Kantoku.call!(instance, "a", :pid) == pid
    assert GenServer.call({:via, Kantoku.Registry, {instance, "a"}}, :pid) == pid
  end

  test "names are any term, compared strictly", %{instance: instance} do
    ids = [1, 1.0, "1", :a, {:_, 1}, :_, :"$1", %{a: :_}, [1 | 2], self(), make_ref()]
    pids = for id <- ids, do: worker!(instance, id)
    assert length(Enum.uniq(pids)) == length(ids)
    assert Enum.map(ids, &Kantoku.whereis(instance, &1)) == pids
    for id <- ids, do: assert(replaced!(instance, id))
    for id <- ids, do: assert(Kantoku.stop_agent(instance, id) == :ok)
    assert Kantoku.agents(instance) == {:ok, []}
  end

  test "the id of a child spec is the name if no other is given", %{instance: instance} do
    assert {:ok, pid} = Kantoku.start_agent(instance, %{id: "own", start: {TestWorker, :start_link, [[]]}})
    assert Kantoku.whereis(instance, "own") == pid
    assert {:ok, pid} = Kantoku.start_agent(instance, {TestWorker, []})
    assert Kantoku.whereis(instance, TestWorker) == pid
  end

  test "an adapter makes the child, with the options that are its own", %{instance: instance} do
    assert {:ok, pid} = Kantoku.start_agent(instance, {Room, "lobby"}, id: "r", tags: [:room], colour: :red)
    assert Agent.get(pid, & &1) == {instance, "r", "lobby", [colour: :red]}
    assert Kantoku.find(instance, tag: :room) == [{"r", pid}]
  end

  test "a name is given once", %{instance: instance} do
    pid = worker!(instance, "a")
    assert Kantoku.start_agent(instance, {TestWorker, []}, id: "a") == {:error, {:already_started, pid}}
    assert Kantoku.status(instance) |> elem(1) |> Map.get(:agents) == 1
  end

  test "of many who start one name at once, one does and all others are told the same pid", %{instance: instance} do
    answers =
      1..50
      |> Task.async_stream(fn _ -> Kantoku.start_agent(instance, {TestWorker, [slow: 20]}, id: "a") end,
        max_concurrency: 50
      )
      |> Enum.map(fn {:ok, answer} -> answer end)

    assert [pid] = for({:ok, pid} <- answers, do: pid)
    assert Enum.count(answers, &(&1 == {:error, {:already_started, pid}})) == 49
  end

  test "a name that another process holds is refused, and nothing stays of the attempt", %{instance: instance} do
    {:ok, _} = Kantoku.Registry.register(instance, "mine", nil)

    assert Kantoku.start_agent(instance, {TestWorker, [tell: self()]}, id: "mine") ==
             {:error, {:already_started, self()}}

    assert_received {:started, _, pid}
    refute Process.alive?(pid)
    assert Kantoku.agents(instance) == {:ok, []}
  end

  test "a start that fails answers what its start function did, and leaves nothing", %{instance: instance} do
    refuse = :atomics.new(1, [])
    :atomics.put(refuse, 1, 1)
    assert Kantoku.start_agent(instance, {TestWorker, [refuse: refuse]}, id: "a") == {:error, :refused}
    assert %{id: :x, start: {Kernel, :exit, [:no]}} |> start(instance) == {:error, :no}
    assert {:error, {:no, _stack}} = start(%{id: :x, start: {:erlang, :error, [:no]}}, instance)
    assert start(%{id: :x, start: {Function, :identity, [:ignore]}}, instance) == :ignore
    assert {:error, {:bad_return_from_start, 7}} = start(%{id: :x, start: {Function, :identity, [7]}}, instance)
    assert Kantoku.agents(instance) == {:ok, []}
    assert Kantoku.status(instance) |> elem(1) |> Map.get(:agents) == 0
  end

  defp start(spec, instance), do: Kantoku.start_agent(instance, spec)

  test "bad arguments raise with the option, the value and what was expected", %{instance: instance} do
    for {spec, opts, message} <- [
          {TestWorker, [id: nil], ~r/option :id: expected any term but nil, got: nil/},
          {{TestWorker, []}, [id: 1, restart: :always], ~r/option :restart: expected one of .*got: :always/},
          {{TestWorker, []}, [id: 1, shutdown: -1], ~r/option :shutdown: .*got: -1/},
          {{TestWorker, []}, [id: 1, domain: :nowhere],
           ~r/option :domain: expected one of \[:default\], got: :nowhere/},
          {{TestWorker, []}, [id: 1, colour: :red], ~r/option :colour: .*got: :red/},
          {{TestWorker, []}, [id: 1, tags: :a], ~r/tags.*got: :a/},
          {7, [id: 1], ~r/expected a module, an adapter's tuple or a child spec, got: 7/}
        ] do
      assert_raise ArgumentError, message, fn -> Kantoku.start_agent(instance, spec, opts) end
    end
  end

  test "what is not there is :not_found, and an instance that is not there :not_running", %{instance: instance} do
    assert {:error, %Error{reason: :not_found}} = Kantoku.fetch(instance, "no")
    assert {:error, %Error{reason: :not_found}} = Kantoku.call(instance, "no", :pid)
    assert {:error, %Error{reason: :not_found}} = Kantoku.stop_agent(instance, "no")
    assert {:error, %Error{reason: :not_running}} = Kantoku.fetch(:no_such_instance, "no")
    assert {:error, %Error{reason: :not_running}} = Kantoku.start_agent(:no_such_instance, {TestWorker, []}, id: 1)
    assert {:error, %Error{reason: :not_running}} = Kantoku.agents(:no_such_instance)
    assert Kantoku.whereis(:no_such_instance, "no") == nil
    assert_raise Error, ~r/start it with/, fn -> Kantoku.call!(instance, "no", :pid) end
  end

  test "a call never exits: time-outs and crashes are answers", %{instance: instance} do
    worker!(instance, "a")
    assert {:error, %Error{reason: :timeout, details: %{timeout: 10}}} = Kantoku.call(instance, "a", {:sleep, 100}, 10)
    assert {:error, %Error{reason: :crashed, details: %{exit: :oops}}} = Kantoku.call(instance, "a", {:exit, :oops})
    Process.sleep(150)
    assert {:messages, messages} = Process.info(self(), :messages)
    assert Enum.all?(messages, &(elem(&1, 0) in [:started, :terminated]))
  end

  test "a stopped agent is gone when stop_agent answers, and its name is free", %{instance: instance} do
    pid = worker!(instance, "a", trap: true)
    assert Kantoku.stop_agent(instance, "a") == :ok
    assert_received {:terminated, "a"}
    refute Process.alive?(pid)
    assert Kantoku.whereis(instance, "a") == nil
    assert worker!(instance, "a") != pid
  end

  test "restart_agent replaces the process without charging it", %{instance: instance} do
    pid = worker!(instance, "a")

    for _ <- 1..30, reduce: pid do
      old ->
        assert {:ok, pid} = Kantoku.restart_agent(instance, "a")
        assert pid != old and Kantoku.whereis(instance, "a") == pid
        pid
    end

    assert {:ok, [%{restarts: 0, status: :up}]} = Kantoku.agents(instance)
  end

  test "which_children of the partitions lists each agent once, as a worker", %{instance: instance} do
    pids = for n <- 1..10, do: worker!(instance, n)
    listed = for {:undefined, pid, :worker} <- processes(instance), pid in pids, do: pid
    assert Enum.sort(listed) == Enum.sort(pids)
  end

  test "entries are found by type, tags, capabilities and metadata", %{instance: instance} do
    pid = worker!(instance, "a", tags: [:gpu], capabilities: ["search"], metadata: %{tenant: 7})
    worker!(instance, "b", tags: [:cpu])
    assert Kantoku.find(instance, tag: :gpu) == [{"a", pid}]
    assert Kantoku.count(instance, type: TestWorker) == 2
    new = replaced!(instance, "a")
    assert eventually(fn -> Kantoku.find(instance, tag: :gpu) == [{"a", new}] end)
  end
end

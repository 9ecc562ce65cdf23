defmodule Kantoku.DrainTest do
  use Kantoku.InstanceCase, async: true

  alias Kantoku.Domain

  defp working(instance, id, ms) do
    parent = self()

    caller =
      spawn_link(fn ->
        send(
          parent,
          {:answer, id, Kantoku.call(instance, id, {:run, fn -> send(parent, {:at_work, id}) && Process.sleep(ms) end})}
        )
      end)

    assert_receive {:at_work, ^id}
    caller
  end

  test "work in flight is finished and answered, new work is refused, then all is stopped" do
    instance = start!()
    for id <- ["busy", "idle"], do: worker!(instance, id, trap: true)
    working(instance, "busy", 200)
    drain = Task.async(fn -> Kantoku.drain(instance, 5_000) end)

    assert eventually(fn -> match?({:error, %Error{reason: :draining}}, Kantoku.call(instance, "idle", :pid)) end)
    assert {:error, %Error{reason: :draining}} = Kantoku.cast(instance, "idle", :x)
    assert {:error, %Error{reason: :draining}} = Kantoku.start_agent(instance, {TestWorker, []}, id: "new")

    assert {:ok, %{agents: 2, stopped: 2, cut_off: []}} = Task.await(drain)
    assert_receive {:answer, "busy", {:ok, _}}
    assert_receive {:terminated, "busy"}
    assert_receive {:terminated, "idle"}
    assert {:ok, %{agents: 0, draining: true}} = Kantoku.status(instance)
  end

  test "what does not finish by the deadline is cut off, and reported" do
    instance = start!()
    worker!(instance, "endless", shutdown: 50)
    worker!(instance, "idle")
    working(instance, "endless", 60_000)
    assert {:ok, %{cut_off: ["endless"], stopped: 2}} = Kantoku.drain(instance, 100)
    assert_receive {:answer, "endless", {:error, %Error{reason: :crashed}}}
  end

  test "waiting messages count as work" do
    instance = start!()
    pid = worker!(instance, "a")
    parent = self()
    for n <- 1..5, do: GenServer.cast(pid, {:run, fn -> Process.sleep(20) && send(parent, {:done, n}) end})
    assert {:ok, %{cut_off: []}} = Kantoku.drain(instance, 5_000)
    for n <- 1..5, do: assert_receive({:done, ^n})
  end

  test "an agent of the instance may still ask another one, to finish its own work" do
    instance = start!()
    worker!(instance, "asked")
    worker!(instance, "asking")
    parent = self()

    work = fn ->
      send(parent, :begun)
      Process.sleep(150)
      Kantoku.call(instance, "asked", :pid)
    end

    call = Task.async(fn -> Kantoku.call(instance, "asking", {:run, work}) end)
    assert_receive :begun
    assert {:ok, %{cut_off: []}} = Kantoku.drain(instance, 5_000)
    assert {:ok, {:ok, _pid}} = Task.await(call)
  end

  test "domains stop in the reverse of their order, nested ones before what is declared around them" do
    agent = fn id -> [spec: {TestWorker, [id: id, tell: self(), trap: true]}, id: id] end
    inner = [name: :inner, agents: [agent.(:inner)]]
    outer = [name: :outer, agents: [agent.(:first), agent.(:second)], domains: [inner]]
    odd = [name: :odd, stop_order: :declared_first, agents: [agent.(:odd)]]
    instance = start!(domains: [outer, odd])
    worker!(instance, :outer_dynamic, domain: :outer, trap: true)
    worker!(instance, :odd_dynamic, domain: :odd, trap: true)
    assert {:ok, %{stopped: 6}} = Kantoku.drain(instance, 1_000)
    assert terminated() == [:odd, :odd_dynamic, :outer_dynamic, :inner, :second, :first]
  end

  defp terminated do
    receive do
      {:terminated, id} -> [id | terminated()]
    after
      0 -> []
    end
  end

  test "a domain can be drained alone, with those nested in it" do
    instance = start!(domains: [[name: :outer, domains: [[name: :inner]]], [name: :other]])
    worker!(instance, :i, domain: :inner)
    other = worker!(instance, :x, domain: :other)
    assert {:ok, %{stopped: 1}} = Domain.drain(instance, :outer, 1_000)
    assert {:error, %Error{reason: :draining}} = Kantoku.start_agent(instance, {TestWorker, []}, id: 1, domain: :inner)
    assert Kantoku.call(instance, :x, :pid) == {:ok, other}
    assert {:ok, %{draining: true}} = Domain.status(instance, :inner)
  end

  test "an orderly shutdown of the instance drains it" do
    instance = start!(drain: [timeout: 5_000])
    worker!(instance, "busy", trap: true)
    working(instance, "busy", 300)
    stop_supervised!(instance)
    assert_receive {:answer, "busy", {:ok, _}}
    assert_receive {:terminated, "busy"}
  end

  test "an agent that crashes during a drain is not brought back" do
    instance = start!()
    pid = worker!(instance, "busy")
    worker!(instance, "fragile")
    working(instance, "busy", 300)
    drain = Task.async(fn -> Kantoku.drain(instance, 5_000) end)
    eventually(fn -> match?({:ok, %{draining: true}}, Kantoku.status(instance)) end)
    kill(Kantoku.whereis(instance, "fragile"))
    assert {:ok, %{cut_off: []}} = Task.await(drain)
    refute Process.alive?(pid)
    assert {:error, %Error{reason: :not_found}} = Kantoku.fetch(instance, "fragile")
  end
end

defmodule Kantoku.Agents.DataTest do
  use Kantoku.InstanceCase, async: true

  alias Kantoku.TestTally

  test "an agent as data and an agent in a process give equal results" do
    instance = start!()
    {:ok, _} = Kantoku.start_agent(instance, {TestTally, count: 5}, id: "t")
    {tally, _} = TestTally.cmd(TestTally.new(count: 5), {:add, 2})
    assert Kantoku.call(instance, "t", {:add, 2}) == {:ok, 7}
    assert Kantoku.state(instance, "t") == {:ok, tally}
  end

  test "its state outlives a crash, a kill, its supervisor and its domain" do
    instance = start!()
    {:ok, _} = Kantoku.start_agent(instance, TestTally, id: "t")

    for {n, victim} <- [
          {1, fn -> Kantoku.whereis(instance, "t") end},
          {2, fn -> supervisor_of(instance, "t") end},
          {3,
           fn -> instance |> processes() |> Enum.find_value(&(elem(&1, 0) == {:domain, :default} && elem(&1, 1))) end}
        ] do
      old = Kantoku.whereis(instance, "t")
      assert Kantoku.call(instance, "t", {:add, 1}) == {:ok, n}
      kill(victim.())
      back!(instance, "t", old)
      assert Kantoku.call(instance, "t", :read) == {:ok, n}
    end
  end

  test "stopped and started again it goes on where it was, unless told not to" do
    instance = start!()
    {:ok, _} = Kantoku.start_agent(instance, TestTally, id: "t")
    assert Kantoku.call(instance, "t", {:add, 3}) == {:ok, 3}
    assert Kantoku.stop_agent(instance, "t") == :ok
    {:ok, _} = Kantoku.start_agent(instance, TestTally, id: "t")
    assert Kantoku.call(instance, "t", :read) == {:ok, 3}
    assert Kantoku.stop_agent(instance, "t") == :ok
    {:ok, _} = Kantoku.start_agent(instance, TestTally, id: "t", restore: false)
    assert Kantoku.call(instance, "t", :read) == {:ok, 0}
  end

  for restart <- [:permanent, :transient] do
    test "a #{restart} agent that cannot go on is parked with its reason, and tried again by unpark" do
      instance = start!(domains: [[name: :default, unpark: :never]], agents: [directive_attempts: 1])
      {:ok, ref} = Kantoku.subscribe(instance, events: [[:agent, :parked], [:agent, :unparked]])
      {:ok, _} = Kantoku.start_agent(instance, TestTally, id: "t", restart: unquote(restart))
      {:ok, :ok} = Kantoku.call(instance, "t", {:pay, 3})
      assert eventually_error(instance, "t", :parked).details.retry_in == :never
      assert_receive {:kantoku_event, ^ref, [:kantoku, :agent, :parked], _, %{reason: {:undeliverable, _, :broke}}}
      assert Kantoku.unpark(instance, "t") == :ok
      assert_receive {:kantoku_event, ^ref, [:kantoku, :agent, :unparked], %{parked_for: _}, %{by: :operator}}
      assert eventually_error(instance, "t", :parked)
    end
  end

  test "options that do not go together are refused where they meet" do
    message = "option :durability is :sync, which expects snapshot: :every_change, got: {:every, 2}"
    instance = start!(agents: [durability: :sync])

    assert_raise ArgumentError, message, fn ->
      Kantoku.start_agent(instance, TestTally, id: "t", snapshot: {:every, 2})
    end

    assert Kantoku.fetch(instance, "t") |> elem(1) |> Map.get(:reason) == :not_found

    assert_raise ArgumentError, message, fn ->
      declared = [spec: TestTally, id: "t", snapshot: {:every, 2}]
      Kantoku.start_link(name: :refused, agents: [durability: :sync], domains: [[name: :team, agents: [declared]]])
    end

    assert_raise ArgumentError, ~r/unknown option :snapshots/, fn ->
      Kantoku.start_link(name: :refused, agents: [snapshots: :manual])
    end

    assert_raise ArgumentError, ~r/option :restore: expected true or false, got: :never/, fn ->
      Kantoku.start_agent(instance, TestTally, id: "t", restore: :never)
    end
  end

  test "a drain lets directives on their way be delivered" do
    instance = start!()
    {:ok, _} = Kantoku.start_agent(instance, TestTally, id: {:slow, self()})
    {:ok, :ok} = Kantoku.call(instance, {:slow, self()}, {:pay, 3})
    assert_receive :paying
    assert {:ok, %{cut_off: []}} = Kantoku.drain(instance, 5_000)
    assert_received :paid
  end

  test "options of the agent are checked where it is started" do
    instance = start!()

    assert_raise ArgumentError, ~r/snapshot/, fn ->
      Kantoku.start_agent(instance, TestTally, id: 1, snapshot: :often)
    end

    assert_raise ArgumentError, ~r/colour/, fn -> Kantoku.start_agent(instance, TestTally, id: 1, colour: :red) end
  end

  test "an instance may keep no snapshots at all" do
    instance = start!(store: :none)
    {:ok, pid} = Kantoku.start_agent(instance, TestTally, id: "t")
    assert Kantoku.call(instance, "t", {:add, 3}) == {:ok, 3}
    kill(pid)
    back!(instance, "t", pid)
    assert Kantoku.call(instance, "t", :read) == {:ok, 0}
  end
end

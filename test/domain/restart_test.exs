defmodule Kantoku.Domain.RestartTest do
  use Kantoku.InstanceCase, async: true
  require Kantoku.Domain.Rows

  alias Kantoku.Domain

  # No waiting between restarts, so that budgets can be spent quickly.
  @hasty [backoff: [base: 1, cap: 1]]

  defp instance(opts), do: start!(domains: [[name: :default] ++ opts])

  defp kill_times(instance, id, times) do
    for _ <- 1..times do
      pid = eventually(fn -> Kantoku.whereis(instance, id) end)
      kill(pid)
    end
  end

  test "the first restart is at once" do
    instance = instance(backoff: [base: 60_000, cap: 60_000])
    pid = worker!(instance, "a")
    begun = System.monotonic_time(:millisecond)
    assert replaced!(instance, "a") != pid
    assert System.monotonic_time(:millisecond) - begun < 1_000
  end

  test "a later one waits, and says for how long" do
    instance = instance(backoff: [base: 50_000, cap: 50_000])
    worker!(instance, "a")
    kill_times(instance, "a", 2)
    # 1 ms is said until its supervisor has noted the crash.
    assert eventually(fn -> eventually_error(instance, "a", :restarting).details.retry_in in 2..50_000 end)
    assert {:error, %Error{reason: :restarting}} = Kantoku.call(instance, "a", :pid)
    assert {:error, %Error{reason: :restarting}} = Kantoku.start_agent(instance, {TestWorker, []}, id: "a")
    assert {:ok, [%{status: :restarting, pid: nil, restarts: 2}]} = Kantoku.agents(instance)
  end

  test "what waits comes back by itself when it is due" do
    instance = instance(backoff: [base: 30, cap: 30])
    worker!(instance, "a")
    kill_times(instance, "a", 6)
    assert eventually(fn -> Kantoku.whereis(instance, "a") end)
    {_rows, book} = tables(instance)

    children =
      for part <- 0..1, do: DynamicSupervisor.count_children(Domain.Book.supervisor(book, :default, part)).active

    assert Enum.sum(children) == 1
  end

  test "out of budget an agent is parked while its siblings live on, and the error says until when" do
    instance = instance(@hasty ++ [budget: [crashes: 3]])
    worker!(instance, "a")
    sibling = worker!(instance, "b")
    kill_times(instance, "a", 4)
    error = eventually_error(instance, "a", :parked)
    assert error.details.retry_in in 50_000..60_000
    assert {:error, %Error{reason: :parked}} = Kantoku.call(instance, "a", :pid)
    assert Kantoku.whereis(instance, "b") == sibling
  end

  test "a parked agent is brought back by unpark, with a clean record" do
    instance = instance(@hasty ++ [budget: [crashes: 2], unpark: :never])
    worker!(instance, "a")
    kill_times(instance, "a", 3)
    assert eventually_error(instance, "a", :parked).details.retry_in == :never
    assert Kantoku.unpark(instance, "a") == :ok
    kill_times(instance, "a", 3)
    assert eventually_error(instance, "a", :parked)
    assert Kantoku.unpark(instance, "a") == :ok
    assert eventually(fn -> Kantoku.whereis(instance, "a") end)
    assert {:error, %Error{reason: :not_parked}} = Kantoku.unpark(instance, "a")
  end

  test "who comes to rest while it is being restarted is started once, and not lost" do
    instance = instance(backoff: [base: 50_000, cap: 50_000])
    worker!(instance, "a")
    kill_times(instance, "a", 2)
    eventually_error(instance, "a", :restarting)

    # What a restart asks of the supervisor, had it last seen the agent up.
    {rows, _book} = tables(instance)
    row = eventually(fn -> Enum.find([Domain.Rows.get(rows, "a")], &(Domain.Rows.row(&1, :phase) == :resting)) end)
    sup = supervisor_of(instance, "a")
    gen = Domain.Rows.row(row, :gen)
    assert Domain.Start.aside(sup, 0, :excuse, [instance, "a", gen]) == :ignore
    DynamicSupervisor.start_child(sup, Domain.Start.child(row))

    assert pid = eventually(fn -> Kantoku.whereis(instance, "a") end)
    assert Kantoku.call(instance, "a", :pid) == {:ok, pid}
    assert eventually(fn -> Enum.map(DynamicSupervisor.which_children(sup), &elem(&1, 1)) == [pid] end)
  end

  test "a parked agent is tried again by its timer" do
    instance = instance(@hasty ++ [budget: [crashes: 1], unpark: [after: 50]])
    worker!(instance, "a")
    kill_times(instance, "a", 2)
    eventually_error(instance, "a", :parked)
    assert eventually(fn -> Kantoku.whereis(instance, "a") end)
  end

  test "a parked or waiting agent can be stopped, and started anew with a clean record" do
    instance = instance(@hasty ++ [budget: [crashes: 1]])
    worker!(instance, "a")
    kill_times(instance, "a", 2)
    eventually_error(instance, "a", :parked)
    assert Kantoku.stop_agent(instance, "a") == :ok
    assert {:error, %Error{reason: :not_found}} = Kantoku.fetch(instance, "a")
    worker!(instance, "a")
    assert replaced!(instance, "a")
  end

  test "a start that fails on a restart is charged and waits; the supervisor does not spin" do
    refuse = :atomics.new(1, [])
    instance = instance(backoff: [base: 5, cap: 5])
    worker!(instance, "a", refuse: refuse)
    sibling = worker!(instance, "b")
    :atomics.put(refuse, 1, 4)
    assert replaced!(instance, "a")
    assert {:ok, agents} = Kantoku.agents(instance)
    assert Enum.find(agents, &(&1.id == "a")).restarts == 5
    assert Kantoku.whereis(instance, "b") == sibling
  end

  test "a name that is taken meanwhile delays the restart until it is free" do
    instance = instance(@hasty ++ [budget: [crashes: :infinity]])
    pid = worker!(instance, "a")
    :sys.suspend(supervisor_of(instance, "a"))
    kill(pid)
    {:ok, _} = Kantoku.Registry.register(instance, "a", :mine)
    :sys.resume(supervisor_of(instance, "a"))
    assert eventually(fn -> match?({:ok, [%{restarts: n}]} when n > 3, Kantoku.agents(instance)) end)
    assert Kantoku.whereis(instance, "a") == self()
    Kantoku.Registry.unregister(instance, "a")
    assert eventually(fn -> Kantoku.whereis(instance, "a") end) != self()
  end

  test "temporary agents are never restarted, transient ones after a crash only, permanent ones always" do
    instance = instance(@hasty)

    for {restart, reason, back?} <- [
          {:temporary, :crash, false},
          {:temporary, :normal, false},
          {:transient, :crash, true},
          {:transient, :normal, false},
          {:transient, :shutdown, false},
          {:transient, {:shutdown, :done}, false},
          {:permanent, :normal, true},
          {:permanent, :crash, true}
        ] do
      id = {restart, reason}
      pid = worker!(instance, id, restart: restart)
      GenServer.cast(pid, {:stop, reason})
      if back?, do: assert(back!(instance, id, pid)), else: assert(eventually_error(instance, id, :not_found))
    end
  end

  test "the row of an agent that ended for good is swept, and its place in the limit is given back" do
    instance = instance(limits: [max_agents: 1])
    pid = worker!(instance, "a", restart: :transient)
    assert {:error, %Error{reason: :limit}} = Kantoku.start_agent(instance, {TestWorker, []}, id: "b")
    GenServer.cast(pid, {:stop, :normal})
    assert eventually(fn -> match?({:ok, _}, Kantoku.start_agent(instance, {TestWorker, []}, id: "b")) end)
  end

  test "the name of an agent that ended for good is free at once" do
    instance = instance(limits: [max_agents: 2])

    for _ <- 1..50 do
      pid = worker!(instance, "a", restart: :temporary)
      kill(pid)
    end

    assert {:ok, %{agents: 1}} = Kantoku.status(instance)
  end

  test "a storm is spread by the domain's token bucket" do
    instance = instance(storm: [rate: 100, burst: 10])
    pids = for n <- 1..40, do: worker!(instance, n)
    begun = System.monotonic_time(:millisecond)
    Enum.each(pids, &Process.exit(&1, :kill))
    for {pid, n} <- Enum.zip(pids, 1..40), do: back!(instance, n, pid)
    assert System.monotonic_time(:millisecond) - begun >= 290
  end

  test "every option is changed live, and the next crash obeys" do
    instance = instance(@hasty)
    worker!(instance, "a")
    assert Domain.update(instance, :default, budget: [crashes: 1], unpark: :never) == :ok
    kill_times(instance, "a", 2)
    assert eventually_error(instance, "a", :parked).details.retry_in == :never
    assert Domain.update(instance, :default, limits: [max_agents: 1]) == :ok
    assert {:error, %Error{reason: :limit}} = Kantoku.start_agent(instance, {TestWorker, []}, id: "b")
    assert Domain.update(instance, :default, limits: [max_agents: :infinity], restart: :temporary) == :ok
    worker!(instance, "b")
    assert {:ok, agents} = Kantoku.agents(instance)
    assert Enum.find(agents, &(&1.id == "b")).restart == :temporary
    assert {:ok, %{budget: %{crashes: 1, within: 60_000}, unpark: :never}} = Domain.options(instance, :default)
  end

  test "a bad live change is refused and changes nothing" do
    instance = instance([])
    {:ok, before} = Domain.options(instance, :default)
    message = ~r/domain :default, option :budget, option :crashes: expected .*got: 0/
    assert_raise ArgumentError, message, fn -> Domain.update(instance, :default, budget: [crashes: 0]) end
    assert_raise ArgumentError, ~r/unknown option :strategy/, fn -> Domain.update(instance, :default, strategy: :x) end
    assert {:error, %Error{reason: :not_found}} = Domain.update(instance, :nowhere, budget: [crashes: 1])
    assert Domain.options(instance, :default) == {:ok, before}
  end
end

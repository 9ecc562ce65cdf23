defmodule Kantoku.Domain.IsolationTest do
  use Kantoku.InstanceCase, async: true

  alias Kantoku.Domain

  @hasty [backoff: [base: 1, cap: 1], budget: [crashes: :infinity]]
  @escalating [backoff: [base: 1, cap: 1], on_exhausted: :escalate, max_restarts: 2, max_seconds: 60]

  defp crash(instance, id, times) do
    for _ <- 1..times, do: kill(eventually(fn -> Kantoku.whereis(instance, id) end))
  end

  defp trees(instance), do: for({{:domain, name}, pid, :supervisor} <- processes(instance), into: %{}, do: {name, pid})

  test "escalation stops the domain in order and starts it anew; no other domain notices" do
    instance = start!(domains: [[name: :a] ++ @escalating, [name: :b]])
    worker!(instance, "a1", domain: :a)
    mate = worker!(instance, "a2", domain: :a, trap: true)
    other = worker!(instance, "b", domain: :b)
    before = trees(instance)

    crash(instance, "a1", 3)
    assert_receive {:terminated, "a2"}
    assert back!(instance, "a2", mate)
    assert eventually(fn -> Kantoku.whereis(instance, "a1") end)
    assert Kantoku.whereis(instance, "b") == other
    assert trees(instance)[:b] == before[:b]
    assert trees(instance)[:a] != before[:a]
  end

  test "below max_restarts within max_seconds nothing escalates" do
    instance = start!(domains: [[name: :a] ++ @escalating])
    worker!(instance, "a", domain: :a)
    before = trees(instance)
    crash(instance, "a", 2)
    assert eventually(fn -> Kantoku.whereis(instance, "a") end)
    assert trees(instance) == before
  end

  test "a nested domain escalates one level up, and that level to the next when it has had enough" do
    inner = [name: :inner] ++ @escalating
    outer = [name: :outer, max_restarts: 1, max_seconds: 60, domains: [inner]]
    instance = start!(domains: [outer, [name: :aside]])
    worker!(instance, "i", domain: :inner)
    worker!(instance, "o", domain: :outer)
    worker!(instance, "x", domain: :aside)
    before = trees(instance)

    crash(instance, "i", 3)
    assert eventually(fn -> (now = trees(instance)[:inner]) && now != before[:inner] end)
    assert trees(instance)[:outer] == before[:outer]

    crash(instance, "i", 3)
    assert eventually(fn -> (now = trees(instance)[:outer]) && now != before[:outer] end)
    assert eventually(fn -> Kantoku.whereis(instance, "i") && Kantoku.whereis(instance, "o") end)
    assert trees(instance)[:aside] == before[:aside]
  end

  test "an instance that has had enough ends, for its own supervisor to decide" do
    instance = start!(max_restarts: 0, domains: [[name: :a] ++ @escalating])
    worker!(instance, "a", domain: :a)
    top = GenServer.whereis(Kantoku.Instance.address(instance))
    ref = Process.monitor(top)
    crash(instance, "a", 3)
    assert_receive {:DOWN, ^ref, :process, ^top, :shutdown}
    assert eventually(fn -> (new = GenServer.whereis(Kantoku.Instance.address(instance))) && new != top end)
  end

  test "a limit holds for the domain and all those above it" do
    inner = [name: :inner, limits: [max_agents: 2]]
    instance = start!(domains: [[name: :outer, limits: [max_agents: 3], domains: [inner]]])
    for n <- 1..2, do: worker!(instance, {:i, n}, domain: :inner)
    assert {:error, %Error{reason: :limit, details: %{domain: :inner}}} = try_start(instance, :inner)
    worker!(instance, :o, domain: :outer)
    assert {:error, %Error{reason: :limit, details: %{domain: :outer}}} = try_start(instance, :outer)
    Domain.update(instance, :inner, limits: [max_agents: 9])
    assert {:error, %Error{reason: :limit, details: %{domain: :outer}}} = try_start(instance, :inner)
    assert Kantoku.stop_agent(instance, {:i, 1}) == :ok
    assert {:ok, _} = try_start(instance, :inner)
    assert {:ok, %{places: 3, agents: %{up: 1}}} = Domain.status(instance, :outer)
  end

  defp try_start(instance, domain), do: Kantoku.start_agent(instance, {TestWorker, []}, id: :extra, domain: domain)

  # Answers of a thousand calls, and the time in µs within which 99 of 100 came.
  defp calls(instance) do
    timed = for _ <- 1..50, n <- 1..20, do: :timer.tc(fn -> Kantoku.call(instance, {:c, n}, :pid, 5_000) end)
    {Enum.map(timed, &elem(&1, 1)), timed |> Enum.map(&elem(&1, 0)) |> Enum.sort() |> Enum.at(989)}
  end

  test "a crash storm in one domain restarts nothing in another, nor makes it slow" do
    instance = start!(domains: [[name: :storm] ++ @hasty, [name: :calm]])
    for n <- 1..100, do: worker!(instance, {:s, n}, domain: :storm)
    calm = for n <- 1..20, do: worker!(instance, {:c, n}, domain: :calm)
    {_answers, quiet} = calls(instance)

    storm =
      spawn_link(fn ->
        Stream.repeatedly(fn -> Enum.random(1..100) end)
        |> Enum.each(fn n -> (pid = Kantoku.whereis(instance, {:s, n})) && Process.exit(pid, :kill) end)
      end)

    {answers, stormy} = calls(instance)
    Process.unlink(storm)
    kill(storm)

    # The storm takes processor time, but nobody waits for a process of the other domain: a restart's back-off would show.
    assert stormy < quiet + 100_000
    assert answers |> Enum.uniq() |> Enum.sort() == calm |> Enum.map(&{:ok, &1}) |> Enum.sort()
    {:ok, agents} = Kantoku.agents(instance)
    assert Enum.all?(agents, &(&1.domain == :storm or &1.restarts == 0))
    assert eventually(fn -> Enum.all?(1..100, &Kantoku.whereis(instance, {:s, &1})) end)
  end

  test "a domain whose whole tree is killed comes back with its agents; another does not notice" do
    instance = start!(domains: [[name: :a], [name: :b]])
    old = for n <- 1..20, do: worker!(instance, {:a, n}, domain: :a)
    other = worker!(instance, "b", domain: :b)
    kill(trees(instance)[:a])
    for {pid, n} <- Enum.zip(old, 1..20), do: assert(back!(instance, {:a, n}, pid))
    refute Enum.any?(old, &Process.alive?/1)
    assert Kantoku.whereis(instance, "b") == other
  end

  test "a killed top supervisor: its successor waits until nothing of it is left" do
    instance = start!(domains: [[name: :a]])
    pid = worker!(instance, "slow", domain: :a, trap: true, linger: 200)
    agents = supervisor_of(instance, "slow")
    kill(GenServer.whereis(Kantoku.Instance.address(instance)))
    assert eventually(fn -> Kantoku.agents(instance) == {:ok, []} end)
    assert eventually(fn -> match?({:ok, _}, Kantoku.start_agent(instance, {TestWorker, []}, id: "slow")) end)
    refute Process.alive?(pid)
    refute Process.alive?(agents)
  end

  test "a killed registry takes the agents along, and all come back under their names" do
    instance = start!()
    old = for n <- 1..10, do: worker!(instance, n)
    kill(Process.whereis(instance))
    for {pid, n} <- Enum.zip(old, 1..10), do: assert(back!(instance, n, pid))
    refute Enum.any?(old, &Process.alive?/1)
  end
end

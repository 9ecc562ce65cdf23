defmodule Kantoku.Chaos.RestartsTest do
  use Kantoku.InstanceCase, async: true

  alias Kantoku.Chaos

  @policy [backoff: [base: 10, cap: 80], budget: [crashes: :infinity]]
  @strategies [:one_for_one, :rest_for_one, :one_for_all]

  # Thirty dynamic agents, of which ten start slowly and deaf, three groups, a nested domain.
  defp instance(census) do
    groups =
      for strategy <- @strategies,
          do: [name: strategy, strategy: strategy, agents: members(census, strategy)] ++ @policy

    nested = [name: :outer, domains: [[name: :inner, partitions: 1] ++ @policy]] ++ @policy
    instance = start!(domains: [[name: :default] ++ @policy, nested | groups])
    dynamic = for n <- 1..30, do: start(instance, census, {:d, n}, :default, rem(n, 3))
    inner = for n <- 1..6, do: start(instance, census, {:i, n}, :inner, 0)
    {instance, dynamic ++ inner ++ for(strategy <- @strategies, n <- 1..3, do: {strategy, n})}
  end

  defp members(census, strategy), do: for(n <- 1..3, do: Chaos.agent(census, {strategy, n}, 5 * (n - 1)))

  defp start(instance, census, id, domain, slow) do
    spec = Chaos.agent(census, id, if(slow == 0, do: 15, else: 0))
    {:ok, _} = Kantoku.start_agent(instance, spec, domain: domain, shutdown: 200)
    id
  end

  # Clients that start and stop agents, their own or declared ones, and are killed at it.
  defp clients(instance, census) do
    own = for n <- 1..3, do: fn -> work(instance, census, {:c, n, Enum.random(1..5)}) end
    declared = fn -> work(instance, census, {Enum.random(@strategies), Enum.random(1..3)}) end
    for work <- [declared | own], do: spawn(fn -> client(work) end)
  end

  defp client(work) do
    worker = spawn(work)
    Process.sleep(Enum.random(0..10))
    Process.exit(worker, :kill)
    client(work)
  end

  defp work(instance, census, id) do
    Kantoku.start_agent(instance, Chaos.agent(census, id, 0), [])
    Kantoku.restart_agent(instance, id)
    Kantoku.stop_agent(instance, id)
  end

  @doc false
  def run(rounds) do
    census = Chaos.census()
    {instance, ids} = instance(census)
    clients = clients(instance, census)
    hits = Chaos.storm(instance, rounds)
    Enum.each(clients, &kill/1)
    for id <- ids, do: Kantoku.start_agent(instance, Chaos.agent(census, id, 0), [])

    assert Chaos.all_back(instance, ids)
    assert Chaos.doubles(census) == []
    assert Chaos.orphans(instance, census) == []

    assert eventually(fn ->
             {:ok, agents} = Kantoku.agents(instance)
             length(agents) == Chaos.children(instance)
           end)

    assert eventually(fn -> counts_agree?(instance) end)
    hits
  end

  defp counts_agree?(instance) do
    {:ok, agents} = Kantoku.agents(instance)
    {:ok, status} = Kantoku.status(instance)
    status.agents == length(agents)
  end

  test "no agent is lost, doubled or orphaned while supervisors, keepers and resting processes are killed" do
    hits = run(200)
    for kind <- [:agent, :supervisor, :keeper, :pair, :tree], do: assert(hits[kind] > 0)
  end
end

# Each is a module of its own, as they wait more than they work.
for n <- 1..3 do
  defmodule Module.concat(Kantoku.Chaos.RestartsTest, "Storm#{n}") do
    use ExUnit.Case, async: true

    @moduletag :chaos
    @moduletag timeout: :infinity

    test "nor in a thousand kills" do
      rounds = if System.get_env("KANTOKU_SOAK"), do: 10_000, else: 1000
      IO.puts("kills: #{inspect(Kantoku.Chaos.RestartsTest.run(rounds))}")
    end
  end
end

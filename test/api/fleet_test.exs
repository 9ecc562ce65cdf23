defmodule Kantoku.Api.FleetTest do
  # What is shown of many pools, domains and agents: what is cut is said, and the worst is never what is cut.
  use Kantoku.InstanceCase, async: true
  import Kantoku.Asking

  alias Kantoku.Pool

  defmodule Sits do
    use Kantoku.Agent

    defstruct []

    @impl true
    def new(_none), do: %__MODULE__{}

    @impl true
    def cmd(agent, :ping), do: {agent, [{:reply, :pong}]}

    def cmd(agent, {:sit, test}) do
      send(test, {:sitting, self()})
      receive(do: (:go_on -> {agent, []}))
    end
  end

  defp names(all), do: Enum.map(all, & &1["name"])
  defp query(instance, text), do: ask!("agents", instance: instance, q: text, limit: 200)
  defp ids(instance, text), do: Enum.map(query(instance, text)["agents"], & &1["id"])

  defp fixed(name, opts \\ []), do: [name: name, worker: {TestWorker, opts}, target: 1]

  describe "pools" do
    test "come with the worst first, and those that are not shown are counted" do
      cell = :atomics.new(1, [])
      :atomics.put(cell, 1, 1_000_000)
      broken = [name: :zz_broken, worker: {TestWorker, refuse: cell}, target: 2, warm_up: 0]
      instance = start!(pools: [broken | for(n <- 1..120, do: fixed(:"pool_#{n}"))])

      worst =
        eventually(fn ->
          %{"pools" => [%{"state" => "degraded"} = worst | _]} = ask!("pools", instance: instance)
          worst["reason"] && worst
        end)

      assert %{"name" => "zz_broken", "missing" => 2, "reason" => "refused"} = worst
      refute is_map_key(worst, "workers") or is_map_key(worst, "decisions")
      seen = ask!("pools", instance: instance, limit: 5)
      assert length(seen["pools"]) == 5 and seen["total"] == 121
      assert Enum.sum(Map.values(seen["states"])) == 121 and seen["states"]["degraded"] == 1
      overview = ask!("overview", instance: instance)
      assert length(overview["pools"]) == 100 and hd(overview["pools"])["name"] == "zz_broken"
      assert overview["pools_total"] == 121 and overview["pool_states"] == seen["states"]
    end

    test "tell of the workers of the one that is asked for, and how many those are" do
      instance = start!(pools: [fixed(:writers) |> Keyword.put(:target, 205), fixed(:readers)])

      pool =
        eventually(fn ->
          %{"pools" => [pool]} = ask!("pools", instance: instance, name: "writers")
          pool["workers_total"] == 205 && pool
        end)

      assert length(pool["workers"]) == 200
      assert {404, %{"error" => %{"reason" => "not_found"}}} = ask("pools", instance: instance, name: "nobody")
    end

    test "of which one waits come before those that have nothing to do" do
      instance = start!(pools: [fixed(:idle), fixed(:longs_for_workers)])
      eventually(fn -> ask!("pools", instance: instance)["states"]["ready"] == 2 end)
      pool = {instance, :longs_for_workers}
      tasks = for _ <- 1..3, do: Task.async(fn -> Pool.call(pool, {:sleep, 300}) end)
      eventually(fn -> names(ask!("pools", instance: instance)["pools"]) == ["longs_for_workers", "idle"] end)
      Task.await_many(tasks)
    end
  end

  describe "domains" do
    test "come as trees, those first in which somebody is worst off" do
      inner = [name: :inner, domains: [[name: :innermost]]]
      instance = start!(health: [period: 20], domains: [[name: :alone], [name: :outer, domains: [inner]]])
      :ok = Kantoku.Domain.update(instance, :innermost, budget: [crashes: 1])
      worker!(instance, "fine", domain: :alone)
      worker!(instance, "ada", domain: :innermost)

      order = fn ->
        for %{"name" => name} = domain <- ask!("overview", instance: instance)["domains"],
            name != "default",
            do: {name, domain["depth"]}
      end

      assert {"innermost", 2} in order.()
      for _ <- 1..2, do: kill(eventually(fn -> Kantoku.whereis(instance, "ada") end))
      eventually_error(instance, "ada", :parked)
      eventually(fn -> order.() == [{"outer", 0}, {"inner", 1}, {"innermost", 2}, {"alone", 0}] end)
      eventually(fn -> ask!("overview", instance: instance)["domain_states"]["unhealthy"] >= 1 end)
      eventually(fn -> order.() == [{"outer", 0}, {"inner", 1}, {"innermost", 2}, {"alone", 0}] end)
      overview = ask!("overview", instance: instance)
      assert overview["domains_total"] == 5
      assert %{"parked" => 1, "stuck" => 0} = Enum.find(overview["domains"], &(&1["name"] == "innermost"))
    end

    test "beyond a hundred are counted, and the one that is not well is there" do
      domains = for n <- 1..120, do: [name: :"domain_#{n}"]
      instance = start!(health: [period: 50], domains: [[name: :zz] | domains])
      :ok = Kantoku.Domain.update(instance, :zz, budget: [crashes: 1])
      worker!(instance, "ada", domain: :zz)
      for _ <- 1..2, do: kill(eventually(fn -> Kantoku.whereis(instance, "ada") end))
      eventually(fn -> hd(ask!("overview", instance: instance)["domains"])["name"] == "zz" end)
      overview = ask!("overview", instance: instance)
      assert length(overview["domains"]) == 100 and overview["domains_total"] == 122
    end
  end

  describe "what is counted" do
    test "of who is stuck is found" do
      instance = start!(health: [period: 30, restart: false], domains: [[name: :default], [name: :tools]])

      for {id, opts} <- [{"ada", [max_busy: 20]}, {"bob", []}],
          do: {:ok, _pid} = Kantoku.start_agent(instance, Sits, [id: id, domain: :tools] ++ opts)

      for id <- ["ada", "bob"] do
        eventually(fn -> match?({:ok, _}, Kantoku.Health.status(instance, {:agent, id})) end)
        # It has taken up its pulse once it was called.
        {:ok, :pong} = Kantoku.call(instance, id, :ping)
      end

      ada = Kantoku.whereis(instance, "ada")
      :ok = GenServer.cast(ada, {:sit, self()})
      assert_receive {:sitting, ^ada}
      overview = eventually(fn -> with(%{"stuck" => 0} <- ask!("overview", instance: instance), do: nil) end)
      assert overview["stuck"] == 1
      assert %{"stuck" => 1} = Enum.find(overview["domains"], &(&1["name"] == "tools"))
      assert %{"stuck" => 0} = Enum.find(overview["domains"], &(&1["name"] == "default"))
      assert ids(instance, "health:stuck") == ["ada"]
      assert ids(instance, "health:stuck domain:tools") == ["ada"]
      assert ids(instance, "health:stuck domain:default") == []
      assert ids(instance, "-health:stuck") == ["bob"]
      assert ids(instance, "health:unhealthy") == ["ada"]
      assert ids(instance, "health:healthy|stuck") == ["ada", "bob"]
      assert ids(instance, "-health:healthy") == ["ada"]
      assert ids(instance, "health:unhealthy tag:none") == []
      send(ada, :go_on)
      eventually(fn -> ids(instance, "health:stuck") == [] end)
    end

    test "of who is at risk is found" do
      limits = [memory: 50_000_000, mailbox: 100]
      instance = start!(health: [period: 20, at_risk: limits], domains: [[name: :default], [name: :tools]])
      for id <- ["ada", "bob"], do: worker!(instance, id, domain: :tools, tags: [:gpu])
      pid = Kantoku.whereis(instance, "ada")
      :sys.suspend(pid)

      grow = fn ->
        for _ <- 1..2, do: send(pid, :wait)
        match?(%{"at_risk" => 1}, ask!("overview", instance: instance)) and ids(instance, "risk:any") == ["ada"]
      end

      eventually(grow)
      assert ids(instance, "risk:any tag:gpu domain:tools") == ["ada"]
      assert ids(instance, "-risk:any") == ["bob"]
      assert ids(instance, "risk:memory|restarts") == []
      assert %{"at_risk" => 1} = Enum.find(ask!("overview", instance: instance)["domains"], &(&1["name"] == "tools"))
      :sys.resume(pid)
    end

    test "of nobody is known where health is off" do
      instance = start!(health: false)
      worker!(instance, "ada")

      assert ids(instance, "health:healthy") == [] and ids(instance, "health:stuck") == [] and
               ids(instance, "risk:any") == []

      assert ids(instance, "-health:unhealthy") == ["ada"]
      assert %{"stuck" => 0, "at_risk" => 0} = ask!("overview", instance: instance)
    end
  end

  # Some thousands of agents, of which few are like what is looked for.
  describe "thousands of agents" do
    setup do
      instance = start!(health: [period: 100], domains: [[name: :default], [name: :tools]], store: :none)
      agents = for n <- 1..3_000, do: id(n)
      agents |> Task.async_stream(&worker!(instance, &1)) |> Stream.run()
      %{instance: instance}
    end

    defp id(number), do: "agent #{String.pad_leading("#{number}", 4, "0")}"

    test "are in the order of what they use where that is known of all, and told where it is not", %{instance: instance} do
      pid = Kantoku.whereis(instance, id(2_500))
      :sys.suspend(pid)
      for _ <- 1..9, do: send(pid, :wait)
      asked = [instance: instance, sort: "mailbox", limit: 3]

      top =
        eventually(fn -> with(%{"agents" => [_ | _]} = top <- ask!("agents", asked), do: top, else: (_none -> nil)) end)

      assert %{"agents" => [%{"mailbox" => 9}], "total" => 3_000, "of" => "the 1 that use most"} = top

      # None of the first is parked, but as few are, all of those are looked at.
      assert %{"agents" => [], "total" => 0, "of" => nil} = ask!("agents", asked ++ [q: "phase:parked"])
      # It is not among those with most memory, perhaps; and yet it is found.
      found = ask!("agents", instance: instance, sort: "memory", q: ~s("#{id(2_500)}"))
      assert %{"agents" => [%{"mailbox" => 9}], "total" => 1, "of" => nil} = found
      # So many can not all be looked at: none of the first is like that, and 1,999 others are.
      others = ask!("agents", asked ++ [q: "1|2|3|4 -2500"])
      assert %{"agents" => [], "of" => "the 1 that use most"} = others
      assert others["total"] > 1_000
      :sys.resume(pid)
    end

    test "are all told, page by page, in the order of what they use", %{instance: instance} do
      asked = [instance: instance, sort: "memory", q: ~s("agent 1"), limit: 200]
      pages = Stream.unfold(ask!("agents", asked), &page(&1, asked)) |> Enum.to_list()
      assert length(pages) >= 5
      found = List.flatten(pages)
      # What one uses may change between two pages, as others do not.
      assert length(Enum.uniq(found)) >= 990
      assert hd(Enum.map(pages, &length/1)) == 200
    end

    defp page(nil, _asked), do: nil

    defp page(%{"agents" => agents, "next" => next}, asked),
      do: {Enum.map(agents, & &1["id"]), next && ask!("agents", asked ++ [after: next])}

    test "are found by how they fare", %{instance: instance} do
      eventually(fn -> query(instance, "health:healthy")["total"] == 3_000 end)
      :ok = Kantoku.Domain.update(instance, :default, budget: [crashes: 1])
      for _ <- 1..2, do: kill(eventually(fn -> Kantoku.whereis(instance, id(7)) end))
      eventually(fn -> ids(instance, "health:unhealthy") == [id(7)] end)
      assert ids(instance, "phase:parked") == [id(7)]
      assert %{"total" => 2_999, "more" => false} = query(instance, "-health:unhealthy")
    end
  end
end

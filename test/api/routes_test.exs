defmodule Kantoku.Api.RoutesTest do
  use Kantoku.InstanceCase, async: true
  import Kantoku.Asking
  import Kantoku.EachEngine

  alias Kantoku.{Alert, Api, Breaker, OpenAPI, Pool}
  alias Kantoku.Api.Shown

  each_engine Kantoku.Api.RoutesTest do
    use Kantoku.InstanceCase, async: true
    import Kantoku.Asking

    setup %{engine: engine} do
      instance = start!([engine: engine] ++ everything())
      worker!(instance, "ada", domain: :tools, tags: [:gpu, "quick"], metadata: %{tenant: 7})
      worker!(instance, {:odd, [1.5]})
      %{instance: instance}
    end

    test "tell of instances", %{instance: instance, engine: engine} do
      name = Atom.to_string(instance)

      assert %{"agents" => 4, "phase" => "serving"} =
               told = Enum.find(ask!("instances")["instances"], &(&1["name"] == name))

      assert told["engine"] == Atom.to_string(engine)
      assert told["traces"] == false
      assert_in_delta told["started_at"], System.os_time(:second), 60
    end

    test "tell of an instance at a glance", %{instance: instance} do
      ask!("overview", instance: instance)
      for _ <- 1..64, do: {:ok, _pid} = Pool.call({instance, :writers}, :pid)
      seen = ask!("overview", instance: instance)
      assert seen["instance"] == Atom.to_string(instance)
      assert [%{"name" => "writers", "size" => 2, "min" => 1, "max" => 4, "state" => "ready"} = pool] = seen["pools"]
      assert pool["p99"] > 0 and seen["latency"]["p50"] <= seen["latency"]["p99"]
      assert seen["breakers"] == %{"open" => 0, "half_open" => 0, "closed" => 1}
      assert [%{"name" => "answers", "target" => 0.999, "kept" => 1.0, "firing" => false}] = seen["objectives"]
      domains = Map.new(seen["domains"], &{&1["name"], &1})
      assert domains["tools"]["budget"] == %{"used" => 1, "limit" => 50}
      assert domains["inner"]["parent"] == "tools"
    end

    test "count what went on since they were asked before", %{instance: instance} do
      assert %{"throughput" => %{"per_second" => nil}} = ask!("overview", instance: instance)
      for _ <- 1..10, do: {:ok, _pid} = Pool.call({instance, :writers}, :pid)
      assert ask!("overview", instance: instance)["throughput"]["per_second"] > 0
    end

    test "say nothing of late to whoever asks first, however much went on before", %{instance: instance} do
      for _ <- 1..64, do: {:ok, _pid} = Pool.call({instance, :writers}, :pid)
      first = ask!("overview", instance: instance)
      assert %{"p50" => nil, "p95" => nil, "p99" => nil} = first["latency"]
      assert %{"seconds" => nil, "restarts" => %{"last_minute" => nil}, "pools" => [%{"p99" => nil}]} = first
      {:ok, _pid} = Pool.call({instance, :writers}, :pid)
      second = ask!("overview", instance: instance)
      assert second["seconds"] > 0 and second["seconds"] < 60 and second["latency"]["p99"] > 0
    end

    test "tell of pools, their workers and what was decided of them", %{instance: instance} do
      asked = [instance: instance, name: "writers"]
      eventually(fn -> match?([%{"decisions" => [_ | _]}], ask!("pools", asked)["pools"]) end)
      %{"pools" => [pool], "total" => 1} = ask!("pools", asked)
      assert [%{"id" => "{:pool, :writers, 0}"}, %{"id" => "{:pool, :writers, 1}"}] = pool["workers"]
      assert pool["workers_total"] == 2
      assert [%{"from" => 2, "to" => 2, "reasons" => [_ | _]} | _] = pool["decisions"]
    end

    test "tell of breakers, with those first that are open", %{instance: instance} do
      {:ok, _} = Breaker.install(instance, {:tenant, 7})
      :ok = Breaker.record({instance, :model}, :error)

      assert [%{"name" => "model", "state" => "open"} = open, %{"name" => "{:tenant, 7}"}] =
               ask!("breakers", instance: instance)["breakers"]

      assert open["open_for"] >= 0
      eventually(fn -> match?([%{"trips" => 1} | _], ask!("breakers", instance: instance)["breakers"]) end)
    end

    test "tell of objectives", %{instance: instance} do
      {:ok, _} = Pool.call({instance, :writers}, :pid)

      assert [%{"of" => "{:pool, :writers}", "good" => 1, "bad" => 0, "since" => since, "burn" => burn}] =
               ask!("objectives", instance: instance)["objectives"]

      assert_in_delta since, System.os_time(:second), 60

      assert [%{"window" => 3600.0, "limit" => 14.4, "severity" => "page"} | _] = burn
    end

    test "tell of alerts", %{instance: instance} do
      :ok = Breaker.set({instance, :model}, :forced_open)
      :ok = Alert.put(instance, name: :down, condition: {:breaker, :model, :forced_open}, for: 0)

      [alert] =
        eventually(fn ->
          found =
            Enum.filter(
              ask!("alerts", instance: instance)["alerts"],
              &(&1["name"] == "down" and &1["state"] == "firing")
            )

          found != [] && found
        end)

      assert alert["labels"]["alertname"] == "down"
      assert ask!("overview", instance: instance)["alerts"] >= 1
    end

    test "tell of what is being moved", %{instance: instance} do
      assert ask!("migration", instance: instance) == %{"flags" => [], "total" => 0}
      :ok = Kantoku.Migration.set(instance, :registry, :default, {:canary, 10})

      assert [%{"mode" => "canary", "percent" => 10, "mismatches" => 0}] =
               ask!("migration", instance: instance)["flags"]
    end

    test "tell who uses most", %{instance: instance} do
      top =
        eventually(fn ->
          top = ask!("top", instance: instance, by: :memory, limit: 3)
          length(top["agents"]) == 3 && top
        end)

      values = Enum.map(top["agents"], & &1["value"])
      assert values == Enum.sort(values, :desc)
      assert top["sampled_at"] <= System.os_time(:second) + 1

      for kind <- Kantoku.Resources.Census.kinds(),
          do: assert(ask!("top", instance: instance, by: kind)["by"] == Atom.to_string(kind))
    end

    test "tell all of one agent", %{instance: instance} do
      assert %{"agent" => agent, "why" => [], "resources" => %{"memory" => _}} =
               ask!("agent", instance: instance, key: Shown.key("ada"))

      assert %{
               "id" => "ada",
               "domain" => "tools",
               "phase" => "up",
               "tags" => ["gpu", "quick"],
               "metadata" => %{"tenant" => "7"}
             } = agent

      assert %{"agent" => %{"id" => "{:odd, [1.5]}"}} = ask!("agent", instance: instance, key: Shown.key({:odd, [1.5]}))
    end

    test "tell why an agent does not serve", %{instance: instance} do
      :ok = Kantoku.Domain.update(instance, :tools, budget: [crashes: 1])
      for _ <- 1..2, do: kill(eventually(fn -> Kantoku.whereis(instance, "ada") end))
      eventually_error(instance, "ada", :parked)

      assert %{"agent" => %{"phase" => "parked", "load" => nil}, "resources" => nil, "why" => [reason]} =
               ask!("agent", instance: instance, key: Shown.key("ada"))

      assert %{"reason" => "parked", "lift" => "Kantoku.unpark(" <> _, "evidence" => %{"crashes" => _}} = reason
      assert %{"parked" => 1} = Enum.find(ask!("overview", instance: instance)["domains"], &(&1["name"] == "tools"))
    end

    test "do without what is turned off", %{engine: engine} do
      instance = start!(engine: engine, health: false, alerts: false, resources: false)
      worker!(instance, 1)
      assert %{"agents" => [%{"health" => nil}]} = ask!("agents", instance: instance)
      assert ask!("alerts", instance: instance)["alerts"] == []
      assert ask!("top", instance: instance)["agents"] == []
      for path <- ~w(overview pools breakers objectives migration), do: ask!(path, instance: instance)
    end
  end

  test "are those of the description" do
    by_the_library = ["/api/v1/history", "/api/v1/history/series", "/events"]
    paths = OpenAPI.document()["paths"]
    asked = for {path, %{"get" => _}} <- paths, do: path
    assert Enum.sort(asked) == Enum.sort(by_the_library ++ Api.paths())
    done = for {path, %{"post" => _}} <- paths, do: path
    assert Enum.sort(done) == Enum.sort(for name <- Api.Admin.actions(), do: "/api/v1/admin/" <> name)
    assert {200, "application/json", body} = Api.get(["api", "v1", "openapi.json"])
    assert Kantoku.JSONReader.read!(body) == OpenAPI.document()
  end

  test "say what is wrong with a question" do
    instance = start!()
    worker!(instance, "ada")

    for {path, query, expected} <- [
          {"agents", [limit: "0"], "limit: expected a number from 1 to 200"},
          {"agents", [limit: "ten"], "limit: expected a number"},
          {"agents", [sort: "beauty"], "sort: expected one of id, mailbox"},
          {"agents", [after: "no key"], "after: expected a key"},
          {"agents", [q: "colour:red"], "q: expected one of capability, domain"},
          {"top", [by: "beauty"], "by: expected one of binaries"},
          {"agent", [], "key: expected the key of an agent"},
          {"agent", [key: "a!"], "key: expected a key"}
        ] do
      assert {400, %{"error" => %{"message" => message}}} = ask(path, [instance: instance] ++ query)
      assert message =~ expected
    end

    assert {404, %{"error" => %{"reason" => "not_found"}}} = ask("agent", instance: instance, key: Shown.key("bob"))
    assert {404, %{"error" => %{"reason" => "not_running"}}} = ask("agents", instance: "nobody of that name")
    assert {404, %{"error" => %{"reason" => "not_found"}}} = ask("nothing")

    assert {400, _, _} =
             Api.get(["api", "v1", "agents"], %{"instance" => Shown.text(instance), "q" => %{"nested" => "map"}})

    for path <- [[], ["api"], ["api", "v1"], ["api", "v2", "agents"], ["api", "v1", "agents", ""]],
        do: assert({404, _, _} = Api.get(path))
  end

  test "show no data of why something ended" do
    secret = "a secret of the state"
    reason = {%KeyError{key: :a, term: %{secret: secret}}, [{__MODULE__, :f, [secret], []}]}

    for reason <- [reason, {:badmatch, secret}, {:shutdown, {:odd, secret}}, {secret, secret}, %{secret => 1}],
        do: refute(Shown.texts(%{reason: reason})["reason"] =~ secret)

    assert Shown.texts(%{reason: :killed, id: {:a, 1}}) == %{"reason" => "killed", "id" => "{:a, 1}"}
    assert Shown.reason(reason) == "KeyError"
  end

  test "take keys back, but no others" do
    for term <- [1, "ada", {:pool, :writers, 3}, %{a: [1.5]}, self()],
        do: assert(term |> Shown.key() |> Shown.term() == {:ok, term})

    assert Shown.key(String.duplicate("x", 2_000)) == nil
    atom = <<131, 100, 0, 21, "an_atom_nobody_has_yet">>
    bomb = :erlang.term_to_binary(String.duplicate("x", 1_000_000), [:compressed])
    fun = :erlang.term_to_binary(fn -> 1 end)
    more = :erlang.term_to_binary(1) <> "x"

    for bytes <- [atom, bomb, more, "", <<131>>, <<131, 104, 255>>, "abc"],
        do: assert(Shown.term(Base.url_encode64(bytes, padding: false)) == :error)

    assert byte_size(fun) > 1_024 or match?({:ok, _}, Shown.term(Base.url_encode64(fun, padding: false)))
  end
end

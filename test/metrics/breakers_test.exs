require Kantoku.EachEngine

Kantoku.EachEngine.each_engine Kantoku.Metrics.BreakersTest do
  alias Kantoku.{Breaker, Metrics}

  # By the one label that is not the breaker's and the instance's.
  defp read(instance, name, breaker) do
    {:ok, families} = Metrics.snapshot(instance)

    for %{name: ^name, series: series} <- families,
        %{labels: %{"breaker" => ^breaker} = labels, value: value} <- series,
        into: %{} do
      {labels |> Map.drop(["instance", "breaker", "pool"]) |> Map.values() |> List.first(), value}
    end
  end

  defp run(breaker, times, fun), do: for(_ <- 1..times, do: Breaker.run(breaker, fun))

  test "calls are counted by how they ended, however many the window holds, and refusals" do
    breaker = [name: "api", sliding_window_size: 2, minimum_number_of_calls: 2]
    instance = Kantoku.InstanceCase.start!(engine: @engine, breakers: [breaker])
    run({instance, "api"}, 5, fn -> {:ok, 1} end)
    assert read(instance, "kantoku_breaker_calls", "api") == %{"ok" => 5.0, "error" => 0.0, "refused" => 0.0}
    assert %{"closed" => 1.0, "open" => 0.0} = read(instance, "kantoku_breaker_state", "api")

    run({instance, "api"}, 4, fn -> {:error, :no} end)
    %{"ok" => 5.0, "error" => failed, "refused" => refused} = read(instance, "kantoku_breaker_calls", "api")
    assert failed >= 1.0 and failed + refused == 4.0
    assert %{"closed" => 0.0, "open" => 1.0, "half_open" => 0.0} = read(instance, "kantoku_breaker_state", "api")
    assert read(instance, "kantoku_breaker_changes", "api") == %{"open" => 1.0}
  end

  test "a breaker that is gone is left out, and one that comes again is told of anew" do
    instance = Kantoku.InstanceCase.start!(engine: @engine, breakers: [[name: :api]])
    run({instance, :api}, 3, fn -> {:ok, 1} end)
    assert %{"ok" => 3.0} = read(instance, "kantoku_breaker_calls", "api")
    :ok = Breaker.remove({instance, :api})
    assert read(instance, "kantoku_breaker_calls", "api") == %{}
    {:ok, _breaker} = Breaker.install(instance, :api, [])
    assert %{"ok" => 0.0} = read(instance, "kantoku_breaker_calls", "api")
  end

  test "whose breaker it is is told of a pool's; an agent's has no series, as its id is no label" do
    pools = [[name: :writers, worker: {Kantoku.TestWorker, []}, target: 1, breaker: []]]
    instance = Kantoku.InstanceCase.start!(engine: @engine, pools: pools, breakers: [[name: {:agent, "secret"}]])
    for breaker <- [{:pool, :writers}, {:agent, "secret"}], do: :ok = Breaker.set({instance, breaker}, :forced_open)
    {:ok, families} = Metrics.snapshot(instance)
    refute inspect(families) =~ "secret"
    of = fn name -> Enum.find(families, &(&1.name == name)).series |> Enum.map(&Map.delete(&1.labels, "instance")) end
    changes = for breaker <- [{"agent", ""}, {"{:pool, :writers}", "writers"}], do: breaker

    assert of.("kantoku_breaker_changes") |> Enum.map(&{&1["breaker"], &1["pool"]}) |> Enum.sort() == changes
    assert of.("kantoku_breaker_calls") |> Enum.map(& &1["pool"]) |> Enum.uniq() == ["writers"]
  end
end

defmodule Kantoku.Metrics.ShippedTest do
  # There is one listener for the VM.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Metrics, RawHTTP, Shipped}

  setup_all do
    %{rules: File.read!(Shipped.rules()), rules_test: File.read!(Shipped.rules_test())}
  end

  @tag :exporters
  test "the rules and the dashboard name only what is exported", %{rules: rules} do
    exported = MapSet.new(written_out(Metrics.Own.all()) ++ on_the_page())
    board = File.read!("ops/grafana/kantoku.json")
    assert Shipped.metrics(rules) |> Enum.reject(&(&1 in exported)) == []
    assert Shipped.metrics(board) |> Enum.reject(&(&1 in exported)) == []
  end

  test "each rule has a test", %{rules: rules, rules_test: tests} do
    alerts = ~r/- alert: (\w+)/ |> Regex.scan(rules, capture: :all_but_first) |> List.flatten()
    assert length(alerts) > 10

    for alert <- alerts,
        do: assert(tests =~ ~r/alertname: #{alert}\n +exp_alerts:\n +- exp_labels/, "#{alert} has none")
  end

  test "panels of the dashboard have numbers of their own and do not overlap" do
    panels = Shipped.dashboard()["panels"]
    ids = Enum.map(panels, & &1["id"])
    assert ids == Enum.uniq(ids)

    fields =
      for %{"gridPos" => at} <- panels,
          x <- at["x"]..(at["x"] + at["w"] - 1),
          y <- at["y"]..(at["y"] + at["h"] - 1),
          do: {x, y}

    assert fields == Enum.uniq(fields)
    assert Enum.all?(fields, fn {x, _y} -> x in 0..23 end)
  end

  defp written_out(families) do
    Enum.flat_map(families, fn
      {name, :counter, _help} -> [name <> "_total"]
      {name, :gauge, _help} -> [name]
      {name, :histogram, _help} -> Enum.map(~w(_bucket _sum _count), &(name <> &1))
    end)
  end

  # The families of exporters, and of what was folded, which no list has.
  defp on_the_page do
    instance = start!(http: RawHTTP.options(), exporters: [statsd: [interval: 10]], metrics: [max_series: 1])
    :ok = Metrics.counter(instance, "visits", labels: [:who])
    for who <- 1..3, do: Metrics.add(instance, "visits", 1, who: who)
    port = RawHTTP.port()
    {404, _, _} = RawHTTP.get(port, "/nothing")
    {200, _, page} = RawHTTP.get(port, "/metrics")

    for [_line, name] <- Regex.scan(~r/^# TYPE (kantoku_(?:exporter|metrics)_\w+) (?:counter|gauge)$/m, page), do: name
  end
end

defmodule Kantoku.Metrics.ShippedTest do
  # There is one listener for the VM.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Metrics, RawHTTP, Resources, Shipped, Telemetry}

  # Families that the dashboard leaves out.
  @not_on_the_dashboard %{
    "erlang_vm_memory_dets_tables" => "hardly anybody has one, and how many are open is nothing to act on",
    "kantoku_exporter_history_bytes" => "kantoku_native_bytes has it as owner history"
  }

  setup_all do
    %{rules: File.read!(Shipped.rules()), rules_test: File.read!(Shipped.rules_test())}
  end

  @tag :exporters
  test "the rules and the dashboard name only what is exported, with its test", %{rules: rules, rules_test: tests} do
    exported = exported() |> Enum.flat_map(&written_out/1) |> MapSet.new()

    for shipped <- [rules, tests, File.read!("ops/grafana/kantoku.json")],
        do: assert(Shipped.metrics(shipped) |> Enum.reject(&(&1 in exported)) == [])
  end

  @tag :exporters
  test "the dashboard shows each family that is exported, but for a few" do
    shown = "ops/grafana/kantoku.json" |> File.read!() |> Shipped.metrics() |> MapSet.new()
    unseen = for {name, _kind} = family <- exported(), not Enum.any?(written_out(family), &(&1 in shown)), do: name
    assert Enum.sort(unseen) == Enum.sort(Map.keys(@not_on_the_dashboard))
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

  defp written_out({name, :counter}), do: [name <> "_total"]
  defp written_out({name, :gauge}), do: [name]
  defp written_out({name, :histogram}), do: Enum.map(~w(_bucket _sum _count), &(name <> &1))

  # All families there are, with their kinds.
  defp exported do
    own = for {name, kind, _help} <- Metrics.Own.all() ++ Metrics.Standing.all(), do: {name, kind}
    Enum.uniq(own ++ used() ++ handlers() ++ on_the_page())
  end

  defp used do
    {:ok, sums} = Resources.sums(start!())
    told = Resources.Families.of_vm(Resources.vm()) ++ Resources.Families.of_instance(:any, sums)
    # Told where it is measured.
    [{"kantoku_vm_scheduler_utilization_ratio", :gauge} | for(%{name: name, kind: kind} <- told, do: {name, kind})]
  end

  defp handlers do
    :ok = Telemetry.attach("shipped", [[:agent, :spawned]], fn _, _, _, _ -> :ok end, queue: 1)
    families = Telemetry.Families.of(:all)
    :ok = Telemetry.detach("shipped")
    for %{name: name, kind: kind} <- families, do: {name, kind}
  end

  # The families of exporters, and of what was folded, which no list has.
  defp on_the_page do
    instance = start!(http: RawHTTP.options(), exporters: [statsd: [interval: 10]], metrics: [max_series: 1])
    :ok = Metrics.counter(instance, "visits", labels: [:who])
    for who <- 1..3, do: Metrics.add(instance, "visits", 1, who: who)
    port = RawHTTP.port()
    {404, _, _} = RawHTTP.get(port, "/nothing")
    {200, _, page} = RawHTTP.get(port, "/metrics")

    for [_line, name, kind] <- Regex.scan(~r/^# TYPE (kantoku_(?:exporter|metrics)_\w+) (counter|gauge)$/m, page),
        do: {String.replace_suffix(name, "_total", ""), String.to_existing_atom(kind)}
  end
end

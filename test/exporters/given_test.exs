defmodule Kantoku.Exporters.GivenTest do
  # Exporters are the VM's.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Metrics, RawHTTP}

  # Of the VM, so the same whichever instance is asked.
  @memory "erlang_vm_memory_bytes"

  defp names(families), do: for(%{name: name} <- families, do: name)

  test "resources are among an instance's metrics, unless it does not look at them" do
    for engine <- Kantoku.EachEngine.engines() do
      {:ok, families} = Metrics.snapshot(start!(engine: engine))
      assert %{kind: :gauge, unit: "bytes", series: series} = Enum.find(families, &(&1.name == @memory))
      assert Enum.any?(series, &(&1.labels == %{"kind" => "processes"} and &1.value > 0))
      assert "kantoku_agents_memory_bytes" in names(families)
      assert Enum.uniq(names(families)) == names(families)
      {:ok, families} = Metrics.snapshot(start!(engine: engine, resources: false))
      refute @memory in names(families)
    end
  end

  test "/metrics has them once for the VM and once for each instance, of whatever engine" do
    instances =
      for engine <- Kantoku.EachEngine.engines(),
          do: start!(engine: engine, http: RawHTTP.options(), health: [period: 1_000])

    for instance <- instances do
      worker!(instance, :ada)
      :ok = Metrics.counter(instance, "asked", labels: [:of])
      :ok = Metrics.add(instance, "asked", 3, of: "ada")
      :ok = Metrics.histogram(instance, "took_seconds", unit: :seconds)
      :ok = Metrics.observe(instance, "took_seconds", 0.5)
    end

    eventually(fn ->
      {200, _, page} = RawHTTP.get(RawHTTP.port(), "/metrics")
      assert [_] = Regex.scan(~r/^# TYPE #{@memory} gauge$/m, page)
      assert RawHTTP.value(page, ~s(#{@memory}{kind="processes"})) > 0
      Enum.all?(instances, &told?(page, &1))
    end)
  end

  defp told?(page, instance) do
    page =~ ~s(asked_total{instance="#{instance}",of="ada"} 3) and
      page =~ ~s(took_seconds_count{instance="#{instance}"} 1) and
      page =~ ~s(kantoku_agents_observed{instance="#{instance}",domain="default",pool=""} 1)
  end

  test "native bytes are told of traces and exporters" do
    instance = start!(engine: :native, http: RawHTTP.options(), trace: [sampler: :always_on])
    {200, _, page} = RawHTTP.get(RawHTTP.port(), "/metrics")
    none = RawHTTP.value(page, ~s(kantoku_native_bytes{instance="#{instance}",owner="traces"}))
    Kantoku.Trace.span(instance, "step", [], fn -> :ok end)
    {200, _, page} = RawHTTP.get(RawHTTP.port(), "/metrics")
    assert RawHTTP.value(page, ~s(kantoku_native_bytes{instance="#{instance}",owner="traces"})) > none
    assert RawHTTP.value(page, ~s(kantoku_native_bytes{owner="exporters"})) > 1_000
    assert [_] = Regex.scan(~r/^# TYPE kantoku_native_bytes gauge$/m, page)
  end

  test "more than may be given is refused with the limit, and ends what was given before" do
    start!(http: RawHTTP.options())
    series = for n <- 1..200_000, do: {[{"n", "#{n}"}], 1.0}
    assert {:error, error} = Kantoku.Exporters.Native.give([{"too_many", "", nil, :gauge, series}])
    assert %Error{reason: :unavailable, details: %{cause: :limit}} = error
    assert Exception.message(error) =~ "16777216 bytes"
    :ok = Kantoku.Exporters.Native.give([{"few", "", nil, :gauge, Enum.take(series, 2)}])
  end
end

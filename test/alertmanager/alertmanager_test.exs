defmodule Kantoku.AlertmanagerTest do
  # What a real Alertmanager makes of what it is told, by what it tells a webhook of the test.
  use ExUnit.Case, async: true
  import Kantoku.InstanceCase, only: [start!: 1]
  import Kantoku.TestOwner, only: [eventually: 1, eventually: 2]

  alias Kantoku.{Alert, Breaker, Pool, PoolCase, TestAlertmanager, TestHTTPSink}

  @moduletag :alertmanager
  @moduletag :tmp_dir
  @moduletag timeout: 300_000

  # For how long it is down, in ms.
  @down if System.get_env("KANTOKU_SOAK"), do: 60_000, else: 3_000

  # For what Alertmanager does at its own pace.
  @patience 20_000

  setup do
    if TestAlertmanager.program() == nil,
      do: flunk("there is no prometheus-alertmanager; install it, or name it in KANTOKU_ALERTMANAGER")

    receiver = TestHTTPSink.start()
    {:ok, receiver: receiver, port: TestHTTPSink.closed_port()}
  end

  defp instance!(port) do
    sink = {:alertmanager, url: "http://localhost:#{port}", resend: 300, retry: [base: 10, cap: 200]}
    rules = [[name: :down, condition: {:breakers, :forced_open}, labels: %{team: "ops"}, summary: "it is down"]]
    alerts = [interval: 20, defaults: false, rules: rules, sinks: [sink]]
    start!(alerts: alerts, breakers: [[name: :b], [name: :c]], pools: [PoolCase.options()])
  end

  defp break(instance, breaker), do: :ok = Breaker.set({instance, breaker}, :forced_open)
  defp mend(instance, breaker), do: :ok = Breaker.reset({instance, breaker})

  # The next that Alertmanager tells of a breaker.
  defp told(status, breaker) do
    assert_receive {:posted, _url, "/", _headers, body}, @patience
    assert body =~ ~s("breaker":"#{breaker}") and body =~ ~s("status":"#{status}")
    assert length(Regex.scan(~r/"fingerprint"/, body)) == 1
    body
  end

  defp figures(instance) do
    {:ok, %{sinks: [figures]}} = Alert.status(instance)
    figures
  end

  # Told of again and again, it tells no more.
  defp quiet(instance, times) do
    %{delivered: before} = figures(instance)
    assert eventually(fn -> figures(instance).delivered >= before + times end, 3_000)
    refute_received {:posted, _, _, _, _}
  end

  test "an alert that fires and one that is resolved arrive, once each", %{tmp_dir: dir} = context do
    TestAlertmanager.start(dir, context.port, context.receiver.url)
    instance = instance!(context.port)
    break(instance, :b)
    body = told(:firing, :b)
    assert body =~ ~s("alertname":"down") and body =~ ~s("team":"ops") and body =~ ~s("summary":"it is down")
    quiet(instance, 6)
    mend(instance, :b)
    told(:resolved, :b)
    break(instance, :c)
    told(:firing, :c)
    quiet(instance, 6)
    assert %{retried: 0, dropped: 0} = figures(instance)
  end

  test "while it is down nothing waits for it, and it is told when it is back", %{tmp_dir: dir} = context do
    instance = instance!(context.port)
    pool = {instance, :workers}
    PoolCase.settled(pool, 1)
    break(instance, :b)
    slowest = work_until(pool, instance, System.monotonic_time(:millisecond) + @down, 0)
    assert slowest < 1_000
    assert %{queued: 1, delivered: 0, dropped: 0, retried: retried} = figures(instance)
    assert retried >= div(@down, 400)
    TestAlertmanager.start(dir, context.port, context.receiver.url)
    told(:firing, :b)
    quiet(instance, 3)
    mend(instance, :b)
    told(:resolved, :b)
  end

  # Calls, rules and looks go on; the longest that any of them took, in ms.
  defp work_until(pool, instance, deadline, slowest) do
    begun = System.monotonic_time(:millisecond)
    {:ok, :done} = Pool.call(pool, {:run, fn -> :done end})
    :ok = Alert.put(instance, name: :other, condition: {:breaker, :c, :open})
    {:ok, [%{state: :firing}]} = eventually(fn -> firing(instance) end)
    now = System.monotonic_time(:millisecond)
    slowest = max(slowest, now - begun)
    if now < deadline, do: work_until(pool, instance, deadline, slowest), else: slowest
  end

  defp firing(instance) do
    answer = Alert.list(instance)
    match?({:ok, [_ | _]}, answer) && answer
  end
end

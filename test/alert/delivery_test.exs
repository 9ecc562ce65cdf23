defmodule Kantoku.Alert.DeliveryTest do
  use ExUnit.Case, async: true
  import ExUnit.CaptureLog
  import Kantoku.InstanceCase, only: [start!: 1, processes: 1]
  import Kantoku.TestOwner, only: [eventually: 1, kill: 1]

  alias Kantoku.{Alert, Breaker, Telemetry, TestHTTPSink}

  @moduletag :tmp_dir

  # Quick, and patient enough for a busy machine.
  @quick [timeout: 5_000, retry: [base: 1, cap: 10]]

  defp instance!(sinks) do
    rules = [[name: :down, condition: {:breakers, :forced_open}, summary: ~s(it "is" down), labels: %{team: "ops"}]]
    start!(alerts: [interval: 10, defaults: false, rules: rules, sinks: sinks], breakers: [[name: :b], [name: :c]])
  end

  defp break(instance, breaker \\ :b), do: :ok = Breaker.set({instance, breaker}, :forced_open)
  defp mend(instance, breaker \\ :b), do: :ok = Breaker.reset({instance, breaker})

  defp webhook(sink, opts \\ []), do: {:webhook, Keyword.merge([url: sink.url] ++ @quick, opts)}

  defp figures(instance) do
    {:ok, %{sinks: [figures | _]}} = Alert.status(instance)
    figures
  end

  defp undelivered(instance) do
    {:ok, ref} = Telemetry.subscribe(instance, events: [[:alert, :undelivered], [:alert, :dropped]])
    ref
  end

  defp reason(ref) do
    [{_, _, _, _measurements, %{reason: reason}}] = Telemetry.take(ref, 1, 5_000)
    reason
  end

  test "a webhook is posted JSON of what fires and what is resolved, with the headers that were asked for" do
    %{url: url} = sink = TestHTTPSink.start()
    instance = instance!([webhook(sink, url: url <> "/hook/", headers: [{"Authorization", "Bearer token"}])])
    break(instance)
    assert_receive {:posted, ^url, "/hook", headers, body}

    assert %{"content-type" => "application/json", "authorization" => "Bearer token", "host" => "localhost:" <> _} =
             headers

    assert body =~ ~s("instance":"#{instance}","version":1})
    assert body =~ ~s("status":"firing"}) and body =~ ~s("endsAt":null,)

    assert body =~
             ~s("labels":{"alertname":"down","breaker":"b","kantoku_instance":"#{instance}","severity":"warning","team":"ops"})

    assert body =~ ~S("annotations":{"summary":"it \"is\" down","value":"forced_open"})
    assert body =~ ~r/"startsAt":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"/
    mend(instance)
    assert_receive {:posted, ^url, "/hook", _headers, body}
    assert body =~ ~s("status":"resolved"}) and body =~ ~r/"endsAt":"\d{4}/
    refute_received {:posted, _, _, _, _}
    assert eventually(fn -> match?(%{delivered: 2, queued: 0, retried: 0}, figures(instance)) end)
  end

  test "Alertmanager's API is posted a list, until when it holds, and again" do
    %{url: url} = sink = TestHTTPSink.start()
    options = [url: sink.url, resend: 30, generator_url: "http://here/x"] ++ @quick
    instance = instance!([{:alertmanager, options}])
    break(instance)
    assert_receive {:posted, ^url, "/api/v2/alerts", _headers, ~s([{"annotations":) <> _ = body}
    assert body =~ ~s("generatorURL":"http://here/x") and body =~ ~s("startsAt":") and body =~ ~s("endsAt":")
    assert_receive {:posted, ^url, "/api/v2/alerts", _headers, again}
    [one, other] = for text <- [body, again], do: Regex.run(~r/"startsAt":"[^"]+"/, text)
    assert one == other
    mend(instance)
    assert eventually(fn -> match?([%{state: :resolved}], elem(Alert.list(instance), 1)) end)
  end

  test "after errors of a server, closed connections and slow answers it is told all the same, in order and nothing left out" do
    script = %{1 => 500, 2 => 503, 3 => :close, 4 => 429, 5 => 408, 6 => {:slow, 50, 200}, 7 => 500}
    %{url: url} = sink = TestHTTPSink.start(answer: &Map.get(script, &1, 200))
    instance = instance!([webhook(sink)])
    ref = undelivered(instance)
    break(instance)
    for _ <- 1..6, do: assert_receive({:posted, ^url, "/", _headers, _body})
    mend(instance)
    assert_receive {:posted, ^url, "/", _headers, _body}
    assert_receive {:posted, ^url, "/", _headers, body}
    assert body =~ "resolved"

    assert [{:status, 500}, {:status, 503}, closed, {:status, 429}, {:status, 408}, {:status, 500}] =
             for(_ <- 1..6, do: reason(ref))

    assert closed == :socket_closed_remotely
    assert eventually(fn -> match?(%{delivered: 2, retried: 6, dropped: 0, failing_since: nil}, figures(instance)) end)
  end

  test "what a server refuses for good is dropped and counted, not tried again" do
    %{url: url} = sink = TestHTTPSink.start(answer: fn number -> if number == 1, do: 400, else: 200 end)
    instance = instance!([webhook(sink)])
    ref = undelivered(instance)
    break(instance)
    assert reason(ref) == {:refused, 400}
    mend(instance)
    for _ <- 1..2, do: assert_receive({:posted, ^url, _, _, _body})
    assert eventually(fn -> match?(%{delivered: 1, retried: 0, dropped: 1}, figures(instance)) end)
    refute_received {:posted, _, _, _, _}
  end

  test "a server that hangs, and a port on which nobody listens, hold up neither rules nor other sinks" do
    %{url: hanging} = sink = TestHTTPSink.start(answer: fn number -> if number < 3, do: :hang, else: 200 end)
    %{url: fine} = other = TestHTTPSink.start()
    nobody = "http://127.0.0.1:#{TestHTTPSink.closed_port()}"
    instance = instance!([webhook(sink, timeout: 500), webhook(other), {:webhook, [url: nobody] ++ @quick}])
    break(instance)
    for _ <- 1..3, do: assert_receive({:posted, ^hanging, _, _, _})
    assert_receive {:posted, ^fine, _, _, _}
    mend(instance)
    for url <- [hanging, fine], do: assert_receive({:posted, ^url, _, _, _})

    assert eventually(fn ->
             {:ok, %{sinks: [hung, fine, dead]}} = Alert.status(instance)
             hung.retried >= 2 and hung.delivered == 2 and fine.retried == 0 and dead.queued == 2 and dead.failing_since
           end)
  end

  test "a sink that is down is told when it is back: everything, once each" do
    port = TestHTTPSink.closed_port()
    url = "http://localhost:#{port}"
    instance = instance!([{:webhook, [url: url] ++ @quick}])
    break(instance)
    assert eventually(fn -> figures(instance).retried > 5 end)
    mend(instance)
    assert eventually(fn -> figures(instance).queued == 2 end)
    TestHTTPSink.start(port: port)
    assert_receive {:posted, ^url, _, _, first}
    assert_receive {:posted, ^url, _, _, second}
    assert first =~ "firing" and second =~ "resolved"
    assert eventually(fn -> match?(%{queued: 0, delivered: 2}, figures(instance)) end)
    refute_received {:posted, _, _, _, _}
  end

  test "many alerts are told at once" do
    %{url: url} = sink = TestHTTPSink.start(answer: fn number -> if number == 1, do: {:slow, 100, 200}, else: 200 end)
    instance = instance!([webhook(sink)])
    break(instance)
    assert_receive {:posted, ^url, _, _, _}
    for n <- 1..70, do: {:ok, _} = Breaker.install(instance, {:more, n})
    for n <- 1..70, do: break(instance, {:more, n})
    assert eventually(fn -> match?(%{delivered: 71}, figures(instance)) end)

    bodies =
      Stream.repeatedly(fn -> receive(do: ({:posted, _, _, _, body} -> body), after: (0 -> nil)) end)
      |> Enum.take_while(& &1)

    assert length(bodies) < 70
    assert Enum.max(for body <- bodies, do: length(Regex.scan(~r"status", body))) in 2..64
  end

  # TLS --------------------------------------------------------------------------------------------------------------------

  defp trusting(pem, dir) do
    path = Path.join(dir, "ca.pem")
    File.write!(path, pem)
    [cacertfile: path]
  end

  test "a certificate that the given authority signed, for that name, is accepted", %{tmp_dir: dir} do
    {tls, pem} = TestHTTPSink.certificate("localhost")
    %{url: "https:" <> _ = url} = sink = TestHTTPSink.start(tls: tls)
    instance = instance!([webhook(sink, trusting(pem, dir))])
    break(instance)
    assert_receive {:posted, ^url, _, _, _}
  end

  test "one that nobody whom the system trusts has signed is refused, and nothing is sent" do
    {tls, _pem} = TestHTTPSink.certificate("localhost")
    instance = instance!([webhook(TestHTTPSink.start(tls: tls))])
    ref = undelivered(instance)
    break(instance)
    assert reason(ref) == {:tls_alert, :unknown_ca}
    refute_received {:posted, _, _, _, _}
  end

  test "one for another name is refused, whoever signed it", %{tmp_dir: dir} do
    {tls, pem} = TestHTTPSink.certificate("elsewhere.example")
    instance = instance!([webhook(TestHTTPSink.start(tls: tls), trusting(pem, dir))])
    ref = undelivered(instance)
    break(instance)
    # OTP 27 has a word of its own for it.
    assert reason(ref) in [{:tls_alert, :handshake_failure}, {:tls_alert, :bad_certificate}]
    refute_received {:posted, _, _, _, _}
  end

  test "an attempt ends with the courier that made it, however that ends, and is made again" do
    test = self()
    hang = fn _alert -> send(test, {:asked, self()}) && receive(do: (:never -> :ok)) end
    instance = instance!([{:function, run: hang, timeout: 60_000}])
    break(instance)
    assert_receive {:asked, attempt}
    monitor = Process.monitor(attempt)
    {:links, [courier]} = Process.info(attempt, :links)
    Process.exit(courier, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^attempt, :killed}
    assert_receive {:asked, other} when other != attempt
  end

  # Secrets ----------------------------------------------------------------------------------------------------------------

  test "tokens and addresses are in no log, no state and no supervisor" do
    port = TestHTTPSink.closed_port()
    headers = [{"authorization", "Bearer s3cr3t"}]
    url = "http://localhost:#{port}/s3cr3t"

    log =
      capture_log(fn ->
        instance =
          instance!([
            {:webhook, [url: url, headers: headers] ++ @quick},
            {:alertmanager, [url: url, headers: fn -> raise "s3cr3t" end] ++ @quick}
          ])

        break(instance)

        assert eventually(fn ->
                 match?({:ok, %{sinks: [%{retried: n}, %{retried: m}]}} when n > 1 and m > 1, Alert.status(instance))
               end)

        for {_id, pid, :worker} <- processes(instance), alerts?(pid) do
          refute inspect(:sys.get_state(pid), limit: :infinity, printable_limit: :infinity, structs: false) =~ "s3cr3t"
          refute inspect(:sys.get_status(pid), limit: :infinity, printable_limit: :infinity, structs: false) =~ "s3cr3t"
          kill(pid)
        end

        assert eventually(fn -> match?({:ok, %{sinks: [%{retried: n} | _]}} when n > 5, Alert.status(instance)) end)
        {:ok, status} = Alert.status(instance)
        refute inspect(status) =~ "s3cr3t"
        stop_supervised!(instance)
      end)

    refute log =~ "s3cr3t"
    assert log =~ "webhook at localhost cannot be told of alerts (:econnrefused); trying again"
  end

  defp alerts?(pid) do
    {:dictionary, dictionary} = Process.info(pid, :dictionary)

    match?({Alert.Courier, _, _}, dictionary[:"$initial_call"]) or
      match?({Alert.Evaluator, _, _}, dictionary[:"$initial_call"])
  end
end

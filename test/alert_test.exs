import Kantoku.EachEngine

each_engine Kantoku.AlertTest do
  import Kantoku.InstanceCase,
    only: [start!: 1, worker!: 2, worker!: 3, replaced!: 2, eventually_error: 3, processes: 1]

  import Kantoku.TestOwner, only: [eventually: 1, kill: 1]

  alias Kantoku.{Alert, Breaker, Error, PoolCase, SLO, Telemetry}

  # Who crashes twice in it is parked.
  @shaky [name: :shaky, budget: [crashes: 1], backoff: [base: 1, cap: 1]]

  # Rules on a breaker are so as a test wills it.
  @rule [name: :down, condition: {:breaker, :b, :forced_open}, summary: "b is down"]

  defp instance!(alerts, opts \\ []) do
    alerts = Keyword.merge([interval: 10, defaults: false, sinks: []], alerts)
    start!([engine: @engine, alerts: alerts, breakers: [[name: :b], [name: :c]]] ++ opts)
  end

  defp break(instance, breaker \\ :b), do: :ok = Breaker.set({instance, breaker}, :forced_open)
  defp mend(instance, breaker \\ :b), do: :ok = Breaker.reset({instance, breaker})

  defp list(instance) do
    {:ok, alerts} = Alert.list(instance)
    alerts
  end

  defp until(instance, state), do: eventually(fn -> Enum.find(list(instance), &(&1.state == state)) end)
  defp tell(test \\ self()), do: {:function, fn alert -> send(test, {alert.name, alert.state, alert.labels}) end}

  test "a rule fires and is resolved, in the list, as events and to a function" do
    instance = instance!(rules: [@rule ++ [labels: %{team: :ops}, severity: :critical]], sinks: [tell()])
    {:ok, ref} = Telemetry.subscribe(instance, events: [[:alert]])
    assert list(instance) == []
    break(instance)

    labels = %{
      "alertname" => "down",
      "severity" => "critical",
      "kantoku_instance" => "#{instance}",
      "breaker" => "b",
      "team" => "ops"
    }

    assert_receive {:down, :firing, ^labels}

    assert %{name: :down, severity: "critical", summary: "b is down", value: :forced_open} =
             alert = until(instance, :firing)

    assert alert.since <= alert.fired_at and alert.resolved_at == nil
    mend(instance)
    assert_receive {:down, :resolved, ^labels}
    assert %{resolved_at: at} = until(instance, :resolved)
    assert at >= alert.fired_at

    assert [{_, _, _, _, %{from: :inactive, to: :firing, alert: :down}}, {_, _, _, _, %{from: :firing, to: :resolved}}] =
             Telemetry.take(ref, 2, 1_000)

    refute_received {:down, _, _}
    figures = %{kind: :function, delivered: 2, queued: 0, dropped: 0, retried: 0, failing_since: nil, sink: "function"}
    assert eventually(fn -> Alert.status(instance) == {:ok, %{rules: [:down], sinks: [figures]}} end)
  end

  test "it is pending before it fires, and what ends before that is never told" do
    instance = instance!(rules: [@rule ++ [for: 60_000]], sinks: [tell()])
    break(instance)
    assert %{state: :pending, fired_at: nil} = until(instance, :pending)
    mend(instance)
    assert eventually(fn -> list(instance) == [] end)
    refute_received {:down, _, _}
  end

  test "time in which the VM stood still fires nothing" do
    instance = instance!(rules: [@rule ++ [for: 60_000]])
    break(instance)
    %{since: since} = until(instance, :pending)
    evaluator = process(instance, Alert.Evaluator)
    :sys.replace_state(evaluator, &%{&1 | last: &1.last - 3_600_000})
    time = :sys.get_state(evaluator).time
    assert eventually(fn -> :sys.get_state(evaluator).time > time + 20 end)
    assert [%{state: :pending, since: ^since}] = list(instance)
  end

  test "one rule is an alert for each that it is so of" do
    instance = instance!(rules: [[name: :any, condition: {:breakers, [:forced_open, :open]}]], sinks: [tell()])
    break(instance)
    break(instance, :c)
    for breaker <- ~w(b c), do: assert_receive({:any, :firing, %{"breaker" => ^breaker}})
    mend(instance, :c)
    assert_receive {:any, :resolved, %{"breaker" => "c"}}
    assert [%{state: :firing, labels: %{"breaker" => "b"}}, %{state: :resolved}] = list(instance)
  end

  test "rules come and go while it runs; what they said is resolved" do
    instance = instance!(sinks: [tell()])
    break(instance)
    :ok = Alert.put(instance, @rule)
    assert_receive {:down, :firing, _}
    :ok = Alert.put(instance, @rule ++ [severity: :info])
    assert_receive {:down, :resolved, %{"severity" => "warning"}}
    assert_receive {:down, :firing, %{"severity" => "info"}}
    :ok = Alert.delete(instance, :down)
    assert_receive {:down, :resolved, %{"severity" => "info"}}
    assert list(instance) == []
    assert {:error, %Error{reason: :not_found} = error} = Alert.delete(instance, :down)
    assert Exception.message(error) =~ "add it with Kantoku.Alert.put/2"
    assert_raise ArgumentError, ~r/option :condition/, fn -> Alert.put(instance, name: :x, condition: 7) end
  end

  test "an error budget that burns is an alert with the severity of its burn rate" do
    rates = [[rate: 2, long: 60_000, short: 6_000, severity: :page]]
    objectives = [[name: :pay, operation: :pay, target: 90, window: 60_000, burn_rates: rates]]

    instance =
      instance!([defaults: true, sinks: [tell()], rules: [[name: :low, condition: {:budgets, 25}]]],
        objectives: objectives
      )

    for _ <- 1..5, do: SLO.record(instance, :pay, :ok)
    for _ <- 1..5, do: SLO.record(instance, :pay, :error)
    assert_receive {:error_budget_burn, :firing, %{"objective" => "pay", "severity" => "page"}}
    assert_receive {:low, :firing, %{"objective" => "pay", "severity" => "warning"}}
    for _ <- 1..500, do: SLO.record(instance, :pay, :ok)
    assert_receive {:error_budget_burn, :resolved, %{"objective" => "pay"}}
    assert_receive {:low, :resolved, _}
  end

  test "figures of a pool are conditions" do
    rule = [name: :waiting, condition: {:pools, :queue, :above, 1}]
    instance = instance!([rules: [rule], sinks: [tell()]], pools: [PoolCase.options()])
    pool = {instance, :workers}
    PoolCase.settled(pool, 1)
    {ref, request} = PoolCase.hold()
    first = PoolCase.call_async(pool, request)
    worker = PoolCase.begun(ref)
    others = for _ <- 1..2, do: PoolCase.call_async(pool, {:run, fn -> :done end})
    assert_receive {:waiting, :firing, %{"pool" => "workers"}}
    PoolCase.release(worker, ref)
    Task.await_many([first | others])
    assert_receive {:waiting, :resolved, _}
  end

  if Kantoku.Native.loaded?() do
    @tag :tmp_dir
    test "a store whose file was set aside is an alert by default, for a while", %{tmp_dir: dir} do
      path = Path.join(dir, "agents.redb")
      File.write!(path, String.duplicate("this is no database ", 1_000))
      store = {Kantoku.Store.Disk, path: path, on_corrupt: :set_aside}
      instance = instance!([sinks: [tell()], defaults: true], store: store)
      assert_receive {:store_set_aside, :firing, %{"severity" => "critical"}}, 5_000
      {:ok, %{rules: rules}} = Alert.status(instance)
      assert [:store_failing, :store_set_aside, :exporter_refused, :exporter_drops] -- rules == []
      :ok = Alert.put(instance, name: :store_set_aside, condition: {:store, :set_aside, 1})
      assert_receive {:store_set_aside, :resolved, _}, 5_000
      refute_received {:store_set_aside, :firing, _}
    end

    @tag :tmp_dir
    test "a store that fails is a condition until it writes again", %{tmp_dir: dir} do
      path = Path.join(dir, "agents.redb")
      rule = [name: :fails, condition: {:store, :failing}]
      instance = instance!([sinks: [tell()], rules: [rule]], store: {Kantoku.Store.Disk, path: path, cache_bytes: 1})
      {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
      store = Kantoku.Domain.Book.agent_options(book).store
      assert write(store) == :ok
      whole = File.read!(path)
      File.write!(path, String.duplicate(<<0xA5>>, byte_size(whole)), [:read])
      assert {:error, _damaged} = Kantoku.Store.get(store, "a")
      assert {:error, _damaged} = write(store)
      assert_receive {:fails, :firing, _}, 5_000
      File.write!(path, whole, [:read])
      # Reads are well again when none has failed for a second.
      eventually(fn -> write(store) == :ok and Kantoku.Store.standing(store).failing_for == nil end)
      assert_receive {:fails, :resolved, _}, 5_000
    end

    defp write(store) do
      ref = make_ref()
      :pending = Kantoku.Store.put(store, "a", {1, System.unique_integer([:positive])}, "state", ref)
      assert_receive {:kantoku_store, ^ref, result}, 10_000
      result
    end
  end

  test "parked agents are an alert of their domain until none is, also of those parked before the rule" do
    instance = instance!([sinks: [tell()], defaults: true], domains: [@shaky])
    for id <- [:one, :two], do: park(instance, id)
    assert_receive {:agents_parked, :firing, %{"domain" => "shaky"}}
    assert eventually(fn -> match?(%{value: 2}, Enum.find(list(instance), &(&1.name == :agents_parked))) end)
    :ok = Alert.put(instance, name: :again, condition: :agents_parked)
    assert_receive {:again, :firing, %{"domain" => "shaky"}}
    for id <- [:one, :two], do: :ok = Kantoku.stop_agent(instance, id)
    assert_receive {:agents_parked, :resolved, %{"domain" => "shaky"}}
  end

  defp park(instance, id) do
    worker!(instance, id, domain: :shaky)
    replaced!(instance, id)
    kill(Kantoku.whereis(instance, id))
    eventually_error(instance, id, :parked)
  end

  test "an event is an alert for as long as the rule says" do
    rule = [name: :crash, condition: {:event, [:kantoku, :agent, :crashed], 300}]
    instance = instance!(rules: [rule], sinks: [tell()])
    worker!(instance, :a)
    assert eventually(fn -> Telemetry.listening?([:agent, :crashed]) end)
    kill(Kantoku.whereis(instance, :a))
    assert_receive {:crash, :firing, %{"domain" => "default"}}
    assert_receive {:crash, :resolved, %{"domain" => "default"}}
  end

  test "an unhealthy domain is an alert" do
    rule = [name: :sick, condition: {:health, :domains, [:unhealthy, :degraded]}]
    instance = instance!([rules: [rule], sinks: [tell()]], health: [period: 20], domains: [@shaky])
    park(instance, :a)
    assert_receive {:sick, :firing, %{"domain" => "shaky"}}
  end

  test "a function that raises, hangs or kills itself is run again, and holds up nobody else" do
    test = self()
    tries = :counters.new(1, [])

    moody = fn alert ->
      :counters.add(tries, 1, 1)

      case :counters.get(tries, 1) do
        1 -> raise "no"
        2 -> Process.sleep(:infinity)
        3 -> Process.exit(self(), :kill)
        4 -> throw(:no)
        _then -> send(test, {:at_last, alert.state})
      end
    end

    sinks = [{:function, run: moody, timeout: 500, retry: [base: 1, cap: 5]}, tell()]
    instance = instance!(rules: [@rule], sinks: sinks)
    {:ok, ref} = Telemetry.subscribe(instance, events: [[:alert, :undelivered]])
    break(instance)
    assert_receive {:down, :firing, _}
    assert_receive {:at_last, :firing}
    mend(instance)
    assert_receive {:down, :resolved, _}
    assert_receive {:at_last, :resolved}

    reasons =
      for {_, _, _, %{retry_in: ms}, %{sink: "function", reason: why}} <- Telemetry.take(ref, 4, 1_000),
          ms in 1..5,
          do: why

    assert reasons == [{:crashed, RuntimeError}, :timeout, :timeout, :throw]
    figures = &match?({:ok, %{sinks: [%{retried: 4, delivered: 2, failing_since: nil}, %{retried: 0}]}}, &1)
    assert eventually(fn -> figures.(Alert.status(instance)) end)
  end

  test "a line has a bound: the oldest are dropped, counted and told of" do
    test = self()
    hang = fn alert -> send(test, {:asked, self(), alert}) && receive(do: (:go_on -> :ok)) end
    instance = instance!(rules: [@rule], sinks: [{:function, run: hang, max_queue: 3, timeout: 60_000}])
    {:ok, ref} = Telemetry.subscribe(instance, events: [[:alert, :dropped]])

    for _ <- 1..4 do
      break(instance)
      until(instance, :firing)
      mend(instance)
      until(instance, :resolved)
    end

    assert {:ok, %{sinks: [%{queued: 3, dropped: 5}]}} = Alert.status(instance)
    assert [{_, _, _, %{alerts: 1}, %{reason: :queue_full}} | _] = Telemetry.take(ref, 5, 1_000)
    go_on = fn -> receive(do: ({:asked, pid, alert} -> send(pid, :go_on) && alert.state)) end
    assert [go_on.(), go_on.(), go_on.(), go_on.()] == [:firing, :resolved, :firing, :resolved]
    assert eventually(fn -> match?({:ok, %{sinks: [%{queued: 0}]}}, Alert.status(instance)) end)
  end

  test "whoever of its processes is killed, what fires goes on firing, and nothing is lost" do
    instance = instance!(rules: [@rule], sinks: [tell()])
    break(instance)
    assert_receive {:down, :firing, _}
    %{since: since} = until(instance, :firing)
    # A courier that is killed before it knows that it was delivered delivers it again.
    assert eventually(fn -> match?({:ok, %{sinks: [%{queued: 0}]}}, Alert.status(instance)) end)
    for module <- [Alert.Evaluator, Alert.Courier], do: kill(process(instance, module))
    assert %{since: ^since} = until(instance, :firing)
    mend(instance)
    assert_receive {:down, :resolved, _}
    refute_received {:down, _, _}
  end

  defp process(instance, module) do
    Enum.find_value(processes(instance), fn {id, pid, _type} -> id in [module, {module, 0}] && pid end)
  end

  test "where alerts are off, it says so" do
    instance = start!(engine: @engine, alerts: false)
    assert {:error, %Error{reason: :not_found} = error} = Alert.list(instance)
    assert Exception.message(error) =~ "its option :alerts is false"
    assert {:error, %Error{reason: :not_found}} = Alert.put(instance, @rule)
    assert {:error, %Error{reason: :not_running}} = Alert.list(:nobody)
  end

  test "bad options of sinks are told, without what they hold" do
    for {sink, message} <- [
          {:pager, ~r/option :sinks: expected :logger, or {kind, options} with one of .*, got: :pager/},
          {{:webhook, [url: "ftp://secret@x"]}, ~r/sink :webhook, option :url: expected the address of an HTTP server/},
          {{:webhook, [headers: []]}, ~r/option :url is required/},
          {{:webhook, [url: "http://x", headers: [{"token", :secret}]]},
           ~r/option :headers: expected strings in pairs/},
          {{:webhook, [url: "http://x", headers: [{"a", "secret\r\nb: c"}]]}, ~r/option :headers/},
          {{:webhook, [url: "http://x", timeout: 0]}, ~r/option :timeout: expected a positive integer, got: 0/},
          {{:function, &+/2}, ~r/option :run: expected a function of one alert/}
        ] do
      error = assert_raise ArgumentError, message, fn -> Kantoku.Config.new!(name: :x, alerts: [sinks: [sink]]) end
      refute Exception.message(error) =~ "secret"
    end

    assert_raise ArgumentError, ~r/expected each rule once, got twice: :down/, fn ->
      Kantoku.Config.new!(name: :x, alerts: [rules: [@rule, @rule]])
    end
  end
end

import Kantoku.PoolCase, only: [pools_on_each_engine: 2]

pools_on_each_engine Kantoku.Pool.EjectionTest do
  alias Kantoku.{Telemetry, Why}
  alias Kantoku.Pool.Config

  # So many requests of a worker end so.
  defp ended(pool, outcome, count) do
    for _ <- 1..count do
      {:ok, lease} = Pool.checkout(pool, timeout: 5_000)
      :ok = Pool.checkin(lease, outcome)
    end
  end

  defp worker(pool, member) do
    {:ok, workers} = Pool.workers(pool)
    Enum.find(workers, &(&1.member == member))
  end

  defp lifo!(opts), do: pool!(@engine, Keyword.merge([strategy: :lifo, target: 3], opts))

  defp subscribe({instance, _name}, events) do
    {:ok, subscription} = Telemetry.subscribe(instance, events: events)
    subscription
  end

  defp heard(subscription, event) do
    assert_receive {:kantoku_event, ^subscription, [:kantoku, :pool, ^event], measurements, metadata}
    {measurements, metadata}
  end

  test "a worker that fails in a row is ejected, told and explained, and readmitted by the call that is named" do
    {instance, name} = pool = lifo!(slow_start: false)
    events = subscribe(pool, [[:pool, :worker_ejected], [:pool, :worker_returned]])
    ended(pool, :error, 5)

    {%{times: 1}, %{pool: ^name, member: member, cause: :consecutive_failures, left: left} = told} =
      heard(events, :worker_ejected)

    assert left in 1..30_000
    assert %{evidence: %{failures: 5}, enforced: true, pid: pid} = told
    assert %{pid: ^pid, state: :ejected, share: 100, ejection: ejection} = worker(pool, member)
    assert %{cause: :consecutive_failures, evidence: %{failures: 5}, enforced: true, times: 1, left: left} = ejection
    assert left in 1..30_000
    assert %{ejected: 1, ready: 2, panic: false, workers: 3} = status(pool)

    id = {:pool, name, member}

    assert {:ok, [%Why{reason: :ejected, evidence: %{failures: 5, left: _}, lift: {module, fun, args}} = why]} =
             Kantoku.why(instance, id)

    assert why.text =~ "5 failures in a row" and why.text =~ "Kantoku.Pool.readmit/2"

    assert {:ok, [%Why{reason: :workers, evidence: %{workers: %{^id => [%Why{reason: :ejected}]}}}]} =
             Kantoku.why(instance, {:pool, name})

    :ok = apply(module, fun, args)
    assert {%{}, %{member: ^member}} = heard(events, :worker_returned)
    assert %{state: :ready, ejection: nil} = worker(pool, member)
    assert Kantoku.why(instance, id) == {:ok, []}
  end

  test "what a call comes to counts: time-outs and deaths, not refusals and not what an answer says" do
    pool = pool!(@engine, target: 2, ejection: [consecutive_failures: 2], max_queue: 0, strategy: :lifo)
    for _ <- 1..9, do: {:ok, {:error, :no}} = Pool.call(pool, {:run, fn -> {:error, :no} end})
    assert status(pool).ejected == 0

    for _ <- 1..2 do
      {ref, request} = hold()
      assert {:error, %Error{reason: :timeout}} = Pool.call(pool, request, timeout: 10)
      release(begun(ref), ref)
      until(pool, ongoing: 0)
    end

    # Two at one worker, or one at each: then the next failure of any is its second.
    catch_exit(Pool.run(pool, fn _pid -> exit(:failed) end))
    until(pool, ongoing: 0)
    assert status(pool).ejected == 1
  end

  test "a worker that is killed by its calls is ejected when it is back" do
    pool = pool!(@engine, target: 2, ejection: [consecutive_failures: 1])
    assert {:error, %Error{reason: :crashed}} = Pool.call(pool, {:run, fn -> Process.exit(self(), :kill) end})
    until(pool, workers: 2, ejected: 1)
    {:ok, workers} = Pool.workers(pool)
    assert [%{ejection: %{cause: :consecutive_failures}}] = Enum.filter(workers, & &1.ejection)
  end

  test "by hand: for a time or until readmitted, by number, id or pid" do
    {_instance, name} =
      pool = pool!(@engine, target: 3, slow_start: [slow_start_window: 3_600_000], healthy_panic_threshold: 30)

    assert :ok = Pool.eject(pool, 0, for: 60_000)
    assert :ok = Pool.eject(pool, {:pool, name, 1})
    assert %{state: :ejected, ejection: %{cause: :by_hand, left: left, times: 0}} = worker(pool, 0)
    assert left in 1..60_000
    assert %{ejection: %{left: :infinity}} = worker(pool, 1)
    assert %{ejected: 2, ready: 1, panic: false} = status(pool)
    assert :ok = Pool.readmit(pool, worker(pool, 1).pid)
    assert :ok = Pool.readmit(pool, 1)
    assert %{state: :ready, share: 10} = worker(pool, 1)
    assert :ok = Pool.readmit(pool, :all)
    assert %{ejected: 0, growing: 2} = status(pool)

    assert {:error, %Error{reason: :not_found}} = Pool.eject(pool, 99)
    assert {:error, %Error{reason: :not_found}} = Pool.eject(pool, self())
    assert {:error, %Error{reason: :not_found}} = Pool.eject({elem(pool, 0), :none}, 0)
    assert_raise ArgumentError, ~r/for: a positive number of ms/, fn -> Pool.eject(pool, 0, for: 0) end
    assert_raise ArgumentError, ~r/a worker's number, id or pid/, fn -> Pool.readmit(pool, "0") end
  end

  test "what is only observed is told and shown, and the worker works" do
    pool = lifo!(ejection: :observe)
    events = subscribe(pool, [[:pool, :worker_ejected]])
    ended(pool, :error, 5)
    assert {_, %{enforced: false, member: member}} = heard(events, :worker_ejected)
    assert %{state: :ready, ejection: %{enforced: false}} = worker(pool, member)
    assert %{ejected: 0, ready: 3} = status(pool)
  end

  test "all of it can be changed while it runs" do
    pool = lifo!(ejection: false)
    ended(pool, :error, 20)
    assert status(pool).ejected == 0
    :ok = Pool.update(pool, ejection: [consecutive_failures: 2])
    ended(pool, :error, 2)
    assert status(pool).ejected == 1
    :ok = Pool.update(pool, ejection: [max_ejection_percent: 100])
    ended(pool, :error, 2)
    assert %{ejected: 2, panic: true, ready: 3} = status(pool)
    :ok = Pool.update(pool, healthy_panic_threshold: 20)
    assert %{ejected: 2, panic: false, ready: 1} = status(pool)
    :ok = Pool.update(pool, ejection: false)
    assert %{ejected: 0, ready: 3} = status(pool)
  end

  test "a worker that its probe finds unready is given nothing, unless too many are; nothing is lost by that" do
    {instance, :workers} = pool = pool!(@engine, target: 2)
    events = subscribe(pool, [[:pool, :panic_entered], [:pool, :panic_left]])
    [one, other] = pids(pool)
    for pid <- [one, other], do: :ok = Engine.Pools.pool_shut(instance, :workers, pid)
    assert {%{workers: 2, not_ready: 2, ejected: 0}, _} = heard(events, :panic_entered)
    assert {:ok, [%Why{reason: :panic}]} = Kantoku.why(instance, {:pool, :workers})
    assert {:ok, pid} = Pool.call(pool, :pid)
    assert pid in [one, other]
    :ok = Engine.Pools.pool_join(instance, :workers, one, 0)
    assert {%{not_ready: 1}, _} = heard(events, :panic_left)
    for _ <- 1..5, do: assert({:ok, ^one} = Pool.call(pool, :pid))
    assert worker(pool, 1).state == :not_ready
  end

  test "options are checked, each with its name" do
    new = fn opts -> Config.new!([name: :w, worker: {TestWorker, []}] ++ opts) end

    assert %{
             ejection: %{enforcing: true, consecutive_failures: 5},
             slow_start: %{min_weight_percent: 10},
             healthy_panic_threshold: 50
           } = new.([])

    assert %{ejection: %{enforcing: false, base_ejection_time: 30_000}} = new.(ejection: :observe)
    assert %{ejection: nil, slow_start: nil} = new.(ejection: false, slow_start: false)
    changed = Config.change!(new.(ejection: [interval: 7]), ejection: :observe, slow_start: [fresh: true])

    assert %{ejection: %{interval: 7, enforcing: false}, slow_start: %{fresh: true, slow_start_window: 10_000}} =
             changed

    assert Config.change!(new.(ejection: false), ejection: true).ejection.max_ejection_percent == 10

    for {opts, text} <- [
          {[ejection: :maybe], ~r/:ejection: expected a keyword list/},
          {[ejection: [consecutive_failures: 0]],
           ~r/:consecutive_failures: expected a positive integer or one of \[false\]/},
          {[ejection: [max_ejection_percent: 101]], ~r/:max_ejection_percent: expected 1 to 100, got: 101/},
          {[ejection: [interval: 5_000_000_000]], ~r/:interval: expected at most 4294967295/},
          {[ejection: [consecutive_5xx: 5]], ~r/unknown option :consecutive_5xx/},
          {[slow_start: [min_weight_percent: 0]], ~r/:min_weight_percent: expected 1 to 100/},
          {[slow_start: [slow_start_window: 5_000_000_000]], ~r/:slow_start_window: expected at most/},
          {[healthy_panic_threshold: 101], ~r/:healthy_panic_threshold: expected 0 to 100/}
        ] do
      assert_raise ArgumentError, text, fn -> new.(opts) end
      assert_raise ArgumentError, text, fn -> Config.change!(new.([]), opts) end
    end
  end
end

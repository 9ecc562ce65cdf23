import Kantoku.EachEngine

defmodule Kantoku.SLOTest.Agent do
  use Kantoku.Agent
  def new(args), do: args
  def cmd(agent, {:sleep, ms}), do: {agent, [{:reply, Process.sleep(ms)}]}
  def cmd(agent, :ping), do: {agent, [{:reply, :pong}]}
end

each_engine Kantoku.SLOTest do
  import Kantoku.InstanceCase, only: [start!: 1, processes: 1]
  import Kantoku.TestOwner, only: [eventually: 1, kill: 1]

  alias Kantoku.{Error, Pool, PoolCase, SLO}
  alias Kantoku.SLOTest.Agent

  defp instance!(objectives, opts \\ []), do: start!([engine: @engine, objectives: objectives] ++ opts)

  defp counts(instance, name) do
    {:ok, %{good: good, bad: bad}} = SLO.report(instance, name)
    {good, bad}
  end

  test "operations are counted by what is said of them" do
    instance = instance!([[name: :any, operation: {:pay, 1}], [name: :quick, operation: {:pay, 1}, latency: 100]])
    :ok = SLO.record(instance, {:pay, 1}, :ok, 100)
    :ok = SLO.record(instance, {:pay, 1}, :ok, 101)
    :ok = SLO.record(instance, {:pay, 1}, :error, 1)
    :ok = SLO.record(instance, {:pay, 1}, :ignore, 1)
    :ok = SLO.record(instance, {:pay, 1.0}, :error)
    assert counts(instance, :any) == {2, 1}
    assert counts(instance, :quick) == {1, 2}

    assert {:ok, %{kind: :latency, of: {:operation, {:pay, 1}}, ratio: ratio, burn_rates: [%{burning: true} | _]}} =
             SLO.report(instance, :quick)

    assert_in_delta ratio, 33.33, 0.01
    assert {:error, %Error{reason: :not_running}} = SLO.record(:nobody, :pay, :ok)
  end

  test "what is measured is recorded, however it ends, and ends as it would" do
    instance = instance!([[name: :m, operation: :m]])
    assert SLO.measure(instance, :m, fn -> :fine end) == :fine
    assert SLO.measure(instance, :m, fn -> {:error, :no} end) == {:error, :no}
    assert SLO.measure(instance, :m, fn -> {:error, :no} end, failure?: fn _ -> false end) == {:error, :no}
    assert_raise RuntimeError, fn -> SLO.measure(instance, :m, fn -> raise "oops" end) end
    assert catch_throw(SLO.measure(instance, :m, fn -> throw(:ball) end)) == :ball
    assert counts(instance, :m) == {2, 3}
  end

  test "calls through a pool are counted, good and bad, by whoever had something of them" do
    instance = instance!([[name: :p, pool: :workers]], pools: [PoolCase.options(target: 2)])
    pool = {instance, :workers}
    PoolCase.settled(pool, 2)
    assert {:ok, :fine} = Pool.call(pool, {:run, fn -> :fine end})
    assert {:ok, :fine} = Pool.run(pool, fn _worker -> :fine end)
    assert {:error, %Error{reason: :crashed}} = Pool.call(pool, {:run, fn -> Process.exit(self(), :kill) end})
    {ref, held} = PoolCase.hold()
    assert {:error, %Error{reason: :timeout}} = Pool.call(pool, held, timeout: 1)
    PoolCase.release(PoolCase.begun(ref), ref)
    assert catch_throw(Pool.run(pool, fn _worker -> throw(:ball) end)) == :ball
    assert counts(instance, :p) == {2, 3}
    assert_raise ArgumentError, fn -> Pool.call(pool, :any, timeout: -1) end
    assert counts(instance, :p) == {2, 3}
    PoolCase.settled(pool, 2)
    {:ok, lease} = Pool.checkout(pool)
    assert counts(instance, :p) == {2, 3}
    :ok = Pool.checkin(lease, :error)
    {:error, %Error{reason: :not_held}} = Pool.checkin(lease)
    {:ok, lease} = Pool.checkout(pool)
    :ok = Pool.checkin(lease)
    assert counts(instance, :p) == {3, 4}
  end

  test "who takes a worker by a pool's short way is counted from when it has an objective until it has none" do
    instance = instance!([], pools: [PoolCase.options(target: 1)])
    pool = {instance, :workers}
    PoolCase.settled(pool, 1)
    assert {:ok, :fine} = Pool.run(pool, fn _worker -> :fine end)
    :ok = SLO.put(instance, name: :p, pool: :workers)
    assert {:ok, :fine} = Pool.run(pool, fn _worker -> :fine end)
    {:ok, lease} = Pool.checkout(pool)
    :ok = Pool.checkin(lease, :error)
    assert counts(instance, :p) == {1, 1}
    :ok = SLO.delete(instance, :p)
    assert {:ok, %{begun: nil} = lease} = Pool.checkout(pool)
    :ok = Pool.checkin(lease)
  end

  test "a pool with a breaker is still guarded by it, and its refusals are bad" do
    breaker = [sliding_window_size: 1, minimum_number_of_calls: 1]
    instance = instance!([[name: :p, pool: :workers]], pools: [PoolCase.options(breaker: breaker)])
    pool = {instance, :workers}
    PoolCase.settled(pool, 1)
    {:ok, lease} = Pool.checkout(pool)
    :ok = Pool.checkin(lease, :error)

    for refused <- [Pool.call(pool, :any), Pool.cast(pool, :any), Pool.checkout(pool), Pool.run(pool, & &1)],
        do: assert({:error, %Error{reason: :breaker_open}} = refused)

    # A cast is not counted.
    assert counts(instance, :p) == {0, 4}
  end

  test "calls to agents are counted by their module" do
    instance = instance!([[name: :quick, type: Agent, latency: 1_000], [name: :all, type: Agent]])
    {:ok, _} = Kantoku.start_agent(instance, Agent, id: 1)
    {:ok, :pong} = Kantoku.call(instance, 1, :ping)
    {:error, %Error{reason: :timeout}} = Kantoku.call(instance, 1, {:sleep, 50}, 1)
    {:error, %Error{reason: :not_found}} = Kantoku.call(instance, 2, :ping)
    assert counts(instance, :quick) == {1, 1}
    assert counts(instance, :all) == {1, 1}
  end

  test "objectives come, change and go while it runs" do
    instance = instance!([])
    assert SLO.names(instance) == {:ok, []}
    assert SLO.record(instance, :o, :error) == :ok
    assert {:error, %Error{reason: :not_found} = error} = SLO.report(instance, :o)
    assert Exception.message(error) =~ "add it with Kantoku.SLO.put/2"
    :ok = SLO.put(instance, name: :o, operation: :o, target: 99)
    :ok = SLO.record(instance, :o, :ok)
    :ok = SLO.put(instance, name: :o, operation: :o, target: 50, window: 7_200_000)
    assert counts(instance, :o) == {1, 0}
    # What counts otherwise begins anew, and what counted before counts no more.
    :ok = SLO.put(instance, name: :o, operation: :o, latency: 10)
    assert counts(instance, :o) == {0, 0}
    :ok = SLO.put(instance, name: :o, operation: :other)
    :ok = SLO.record(instance, :o, :ok)
    assert counts(instance, :o) == {0, 0}
    assert SLO.delete(instance, :o) == :ok
    assert {:error, %Error{reason: :not_found}} = SLO.delete(instance, :o)
    assert SLO.names(instance) == {:ok, []}
  end

  test "no call is counted twice or lost when the clerk is killed" do
    instance =
      instance!([[name: :o, operation: :o, window: 3_600_000], [name: :p, pool: :workers]], pools: [PoolCase.options()])

    PoolCase.settled({instance, :workers}, 1)
    callers = for _ <- 1..4, do: Task.async(fn -> for _ <- 1..500, do: :ok = SLO.record(instance, :o, :ok) end)

    for _ <- 1..5 do
      kill(eventually(fn -> clerk(instance) end))
      {:ok, :fine} = Pool.call({instance, :workers}, {:run, fn -> :fine end})
    end

    Task.await_many(callers)
    assert eventually(fn -> counts(instance, :o) == {2_000, 0} end)
    assert eventually(fn -> is_pid(clerk(instance)) and SLO.put(instance, name: :more, operation: :o) == :ok end)
    assert counts(instance, :o) == {2_000, 0}
    assert counts(instance, :p) == {5, 0}
  end

  defp clerk(instance), do: Enum.find_value(processes(instance), &(match?({SLO.Clerk, _, :worker}, &1) && elem(&1, 1)))

  test "a table and a picture tell of all objectives, and of one" do
    instance = instance!([[name: :o, operation: :o], [name: "<quick>", operation: :o, latency: 1_500, target: 95]])
    :ok = SLO.record(instance, :o, :ok, 2_000)
    :ok = SLO.record(instance, :o, :error)
    {:ok, table} = SLO.table(instance)
    assert table =~ ~r/objective +of +target +window +calls +good +budget left +burning/
    assert table =~ ~r/:o +{:operation, :o} +99.9 % +30 d +2 +50.000 % +-49900.000 % +page \(14.4 in 1 h\), page/
    assert table =~ ~r/"<quick>" .* 95 % in 1.5 s/
    {:ok, svg} = SLO.svg(instance, "<quick>")
    assert svg =~ "&lt;quick&gt;"
    assert svg =~ ~s(<polyline class="left") and svg =~ ~s(<rect class="rate")
    refute svg =~ "NaN"
    {:ok, _empty} = SLO.svg(instance, :o)
  end

  test "it costs nothing to have none: the clerk sleeps" do
    instance = instance!([])
    pid = clerk(instance)
    assert %{timer: nil} = :sys.get_state(pid)
  end
end

if Kantoku.Native.loaded?() do
  defmodule Kantoku.SLOKeptTest do
    use ExUnit.Case, async: true
    alias Kantoku.{Fleet, MortalVM, SLO}

    @moduletag :tmp_dir
    @name Kantoku.SLOKeptTest.Instance

    setup %{tmp_dir: dir},
      do:
        {:ok,
         options: [
           name: @name,
           store: {Kantoku.Store.Disk, path: Path.join(dir, "slo.redb")},
           objectives: objectives(99)
         ]}

    defp objectives(target), do: [[name: :o, operation: :o, target: target], [name: :quick, operation: :o, latency: 10]]

    defp counts(name) do
      {:ok, %{good: good, bad: bad, since: since}} = SLO.report(@name, name)
      {good, bad, since}
    end

    test "histories outlive an orderly stop, with another target as well, but not another limit", %{options: options} do
      start_supervised!({Kantoku, options})
      for _ <- 1..3, do: SLO.record(@name, :o, :ok, 20)
      {3, 0, since} = counts(:o)
      stop_supervised!({Kantoku, @name})

      objectives = [
        [name: :o, operation: :o, target: 90, window: 3_600_000],
        [name: :quick, operation: :o, latency: 20]
      ]

      start_supervised!({Kantoku, Keyword.put(options, :objectives, objectives)})
      assert counts(:o) == {3, 0, since}
      assert {0, 0, _now} = counts(:quick)
      :ok = SLO.delete(@name, :o)
      stop_supervised!({Kantoku, @name})
      start_supervised!({Kantoku, options})
      assert {0, 0, _now} = counts(:o)
    end

    test "what was kept before a kill -9 is there after it, and nothing that came since", %{options: options} do
      vm = MortalVM.start()
      :ok = MortalVM.run(vm, {Fleet, :launch, [Keyword.delete(options, :name), [], nil]})
      for _ <- 1..5, do: :ok = MortalVM.run(vm, {SLO, :record, [Fleet.instance(), :o, :ok]})
      :ok = MortalVM.run(vm, {SLO, :flush, [Fleet.instance()]})
      :ok = MortalVM.run(vm, {SLO, :record, [Fleet.instance(), :o, :ok]})
      MortalVM.kill(vm)
      start_supervised!({Kantoku, options})
      assert {5, 0, _since} = counts(:o)
    end
  end
end

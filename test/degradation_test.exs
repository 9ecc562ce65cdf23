import Kantoku.EachEngine

each_engine Kantoku.DegradationTest do
  use Kantoku.InstanceCase
  alias Kantoku.{Degradation, Migration, Pool, Telemetry, Why}
  alias Kantoku.Degradation.Notes

  @gib 0x40000000

  setup do
    table = :ets.new(:reading, [:public])
    say(table, 50, 0.0)
    %{table: table}
  end

  defp say(table, percent, queue),
    do: :ets.insert(table, {:reading, %{memory: {ceil(@gib * percent / 100), @gib, :cgroup}, run_queue: queue}})

  defp instance!(table, opts \\ []) do
    {degradation, opts} = Keyword.pop(opts, :degradation, [])
    reading = fn -> :ets.lookup_element(table, :reading, 2) end
    start!([engine: @engine, degradation: [period: 5, reading: reading] ++ degradation] ++ opts)
  end

  defp level!(instance, level) do
    assert eventually(fn -> match?({:ok, %{level: ^level}}, Degradation.status(instance)) end)
  end

  defp told(ref, count) do
    for _ <- 1..count//1 do
      [{:kantoku_event, ^ref, [:kantoku, :degradation, verb], %{level: level}, %{level: level, sheds: sheds}}] =
        Telemetry.take(ref, 1, 5_000)

      {verb, level, sheds}
    end
  end

  for {level, percent, queue, sheds} <- [
        {1, 70, 2.0, :sampling},
        {2, 80, 4.0, :background},
        {3, 90, 8.0, :low_priority}
      ] do
    test "level #{level} is entered by memory and by run queues, left a tenth lower, and told of", %{table: table} do
      {level, percent} = {unquote(level), unquote(percent)}
      {queue, sheds} = {unquote(queue), unquote(sheds)}
      instance = instance!(table)
      level!(instance, 0)
      {:ok, ref} = Kantoku.subscribe(instance, events: [[:degradation]])
      below = level - 1

      for {enter, hold, leave} <- [
            {{percent, 0.0}, {ceil(percent * 0.9), 0.0}, {floor(percent * 0.9) - 1, 0.0}},
            {{10, queue}, {10, queue * 0.9}, {10, queue * 0.9 - 0.01}}
          ] do
        say(table, elem(enter, 0), elem(enter, 1))
        level!(instance, level)
        assert {:entered, ^level, ^sheds} = ref |> told(level) |> List.last()
        say(table, elem(hold, 0), elem(hold, 1))
        {:ok, %{since: since}} = Degradation.status(instance)

        assert eventually(fn ->
                 match?({:ok, %{level: ^level, since: now}} when now > since + 30, Degradation.status(instance))
               end)

        say(table, elem(leave, 0), elem(leave, 1))
        level!(instance, below)
        assert [{:left, ^level, ^sheds}] = told(ref, 1)
        say(table, 10, 0.0)
        level!(instance, 0)
        told(ref, below)
      end
    end
  end

  test "the status says what was read, what it comes to and what is shed", %{table: table} do
    say(table, 85, 2.5)
    instance = instance!(table)
    level!(instance, 2)
    assert {:ok, status} = Degradation.status(instance)
    assert %{sheds: [:sampling, :background], run_queue: %{per_scheduler: 2.5, level: 1}} = status
    assert %{limit: @gib, source: :cgroup, level: 2, share: share} = status.memory
    assert_in_delta share, 85, 0.1
  end

  test "options change while it runs; 0 as the highest level turns it off", %{table: table} do
    say(table, 95, 0.0)
    instance = instance!(table)
    level!(instance, 3)
    :ok = Degradation.configure(instance, max_level: 0)
    assert {:ok, %{level: 0, memory: %{level: 3}}} = Degradation.status(instance)
    :ok = Degradation.configure(instance, max_level: 3, memory: [110, 120, 130], period: 10)
    level!(instance, 0)

    assert_raise ArgumentError, ~r/memory.*three rising numbers/, fn ->
      Degradation.configure(instance, memory: [3, 2, 1])
    end
  end

  test "turned off at the start there is nothing to ask" do
    instance = start!(engine: @engine, degradation: false)
    assert {:error, %Error{reason: :not_found} = error} = Degradation.status(instance)
    assert Exception.message(error) =~ "is off"
    assert {:error, %Error{reason: :not_found}} = Degradation.configure(instance, max_level: 1)
    refute Degradation.sheds?(instance, :sampling)
    assert {:error, %Error{reason: :not_running}} = Degradation.status(:nobody)
  end

  test "a level outlives who came to it", %{table: table} do
    say(table, 95, 0.0)
    instance = instance!(table)
    level!(instance, 3)
    {_rows, book} = tables(instance)
    watch = Notes.watch(book)
    # Between nine tenths and the mark: only who knows that it held stays there.
    say(table, 85, 0.0)
    kill(watch)
    assert eventually(fn -> Notes.watch(book) != watch end)
    assert {:ok, %{level: 3}} = Degradation.status(instance)
    assert :ok = Degradation.configure(instance, readings: 1)
    assert {:ok, %{level: 3}} = Degradation.status(instance)
  end

  test "a reading that raises or says nonsense sheds nothing", %{table: table} do
    instance = instance!(table)

    for reading <- [fn -> raise "no" end, fn -> :nonsense end, fn -> %{memory: {1, 0, :host}, run_queue: 9} end] do
      say(table, 95, 0.0)
      :ok = Degradation.configure(instance, reading: fn -> :ets.lookup_element(table, :reading, 2) end)
      level!(instance, 3)
      :ok = Degradation.configure(instance, reading: reading)
      assert {:ok, %{level: 0, memory: :unknown, run_queue: :unknown}} = Degradation.status(instance)
    end
  end

  # What is shed -----------------------------------------------------------------------------------------------------------

  test "level 1: who passes a probe is asked more seldom", %{table: table} do
    test = self()

    probe = [
      name: :p,
      kind: :custom,
      for: {:agent, "a"},
      period: 40,
      check: fn _pid -> send(test, {:asked, now()}) && true end
    ]

    say(table, 75, 0.0)
    instance = instance!(table, health: [period: 20, probes: [probe]])
    level!(instance, 1)
    worker!(instance, "a")
    [first | _] = times = for(_ <- 1..4, do: asked())
    # Three gaps of four periods, less a tenth of one.
    assert List.last(times) - first >= 3 * 130
  end

  defp asked do
    receive do: ({:asked, at} -> at), after: (5_000 -> flunk("nobody was asked"))
  end

  defp now, do: System.monotonic_time(:millisecond)

  test "level 2: shadows are not compared", %{table: table} do
    instance = instance!(table)
    :ok = Migration.set(instance, :registry, Some, :shadow, by: :test)
    assert Migration.Settings.gate_of_request(instance, :registry, Some) == :shadow
    say(table, 85, 0.0)
    level!(instance, 2)
    assert Migration.Settings.gate_of_request(instance, :registry, Some) == :off
    # Nobody's mode was changed by that.
    assert Migration.Settings.gate(instance, :registry, Some) == :shadow
    say(table, 10, 0.0)
    level!(instance, 0)
    assert Migration.Settings.gate_of_request(instance, :registry, Some) == :shadow
  end

  test "level 2: no forecast is reviewed", %{table: table} do
    say(table, 85, 0.0)
    pool = [name: :w, worker: {TestWorker, []}, scaling: [max: 3, forecast: [season: 60_000, bucket: 1_000]]]
    instance = instance!(table, pools: [pool])
    level!(instance, 2)
    {_rows, book} = tables(instance)
    assert Notes.sheds?(book, :background)
    assert {:ok, %{forecast: nil}} = Pool.explain({instance, :w})
    say(table, 10, 0.0)
    assert eventually(fn -> match?({:ok, %{forecast: %{}}}, Pool.explain({instance, :w})) end)
  end

  test "level 3: a pool that asked for it refuses low priorities at its door, and says why", %{table: table} do
    pools = [
      [name: :sheds, worker: {TestWorker, []}, target: 1, shed: :low],
      [name: :more, worker: {TestWorker, []}, target: 1, shed: :normal, breaker: []],
      [name: :not, worker: {TestWorker, []}, target: 1]
    ]

    instance = instance!(table, pools: pools)
    served? = fn pool, opts -> match?({:ok, _}, Pool.run({instance, pool}, fn _pid -> :ran end, opts)) end
    for pool <- [:sheds, :more, :not], do: assert(served?.(pool, priority: :low))
    say(table, 95, 0.0)
    level!(instance, 3)

    assert for(
             pool <- [:sheds, :more, :not],
             priority <- [:low, :normal, :high],
             do: served?.(pool, priority: priority)
           ) ==
             [false, true, true, false, false, true, true, true, true]

    refute served?.(:more, [])
    pool = {instance, :sheds}
    low = [priority: :low]

    for refused <- [Pool.call(pool, :x, low), Pool.cast(pool, :x, low), Pool.checkout(pool, low)] do
      assert {:error, %Error{reason: :overloaded, details: %{pool: ^pool, level: 3, retry_in: 10}} = error} = refused
      assert Exception.message(error) =~ "level 3"
      assert {:ok, [%Why{reason: :overloaded} | now]} = Kantoku.why(instance, error)
      assert [%Why{evidence: %{level: 3, memory: %{share: share}}, lift: {m, f, a}}] = now
      assert share > 90
      assert {m, f, a} == {Degradation, :configure, [instance, [max_level: 2]]}
    end

    assert {:ok, [%Why{reason: :overloaded}]} = Kantoku.why(instance, {:pool, :sheds})
    assert {:ok, []} = Kantoku.why(instance, {:pool, :not})
    :ok = Pool.update(pool, shed: :none)
    assert eventually(fn -> served?.(:sheds, low) end)
    say(table, 10, 0.0)
    level!(instance, 0)
    assert served?.(:more, low)
  end
end

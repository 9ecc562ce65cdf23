Code.require_file("../../demo/load.exs", __DIR__)

defmodule Demo.PoolsTest do
  use ExUnit.Case, async: true

  alias Demo.{Errand, Fleet, Gauges, Operator, Options, Peaks, Schedule, Tally}
  alias Kantoku.Pool

  describe "a schedule" do
    test "has a surge in the middle, of 15 s or half of the time" do
      assert Schedule.new(%Options{seconds: 30}, 100) == %Schedule{began: 100, deadline: 30_100, surge: nil}
      assert Schedule.new(%Options{seconds: 60, surge: true}, 0).surge == {22_500, 37_500}
      assert Schedule.new(%Options{seconds: 20, surge: true}, -5_000).surge == {0, 10_000}
    end

    test "lets more files be worked on at once while it surges" do
      schedule = Schedule.new(%Options{seconds: 30, surge: true}, 0)

      assert for(now <- [0, 7_499, 7_500, 22_499, 22_500], do: Schedule.window(schedule, now)) == [
               32,
               32,
               1_024,
               1_024,
               32
             ]

      assert Schedule.window(Schedule.new(%Options{seconds: 30}, 0), 15_000) == 32
    end
  end

  for engine <- Kantoku.EachEngine.engines() do
    describe "a fleet (#{engine})" do
      setup do: %{fleet: fleet(unquote(engine))}

      test "lends workers under ids that outlive their processes", %{fleet: %{instance: instance} = fleet} do
        assert {:ok, {{:pool, :index, 0} = id, pid}} =
                 Fleet.lend(fleet, :index, [], fn id -> {id, Kantoku.whereis(instance, id)} end)

        {:ok, _ref, _now} = Kantoku.watch(instance, capability: :index)
        Process.exit(pid, :kill)
        assert_receive {:kantoku_watch, _ref, :join, _entry}
        assert Fleet.lend(fleet, :index, [], & &1) == {:ok, id}
        assert Kantoku.whereis(instance, id) not in [nil, pid]
      end

      @tag :tmp_dir
      test "is asked again by whoever is refused, and merges once", %{fleet: fleet, tmp_dir: dir} do
        for kind <- Fleet.kinds(), do: :ok = Pool.update({fleet.instance, kind}, max_queue: 1, max_overflow: 0)
        text = Enum.map_join(1..20_000, " ", &"word#{rem(&1, 7)}x")
        for n <- 1..20, do: File.write!("#{dir}/#{n}", text)

        1..20
        |> Task.async_stream(&Errand.run(fleet, 1, {&1, "#{dir}/#{&1}"}, fn -> true end),
          max_concurrency: 20,
          timeout: 60_000
        )
        |> Enum.each(&assert {:ok, {:text, _parts, _bytes}} = &1)

        assert Operator.gather(fleet) == Tally.times(Tally.of(text), 20)
        gauges = Gauges.all(fleet.instance)
        assert gauges.queue_full > 0
        assert gauges.repeated == Enum.sum(for kind <- Fleet.kinds(), do: gauges[{:again, kind}])
      end

      test "is seen by its peaks", %{fleet: fleet} do
        {:ok, peaks} = Peaks.start_link(fleet, Schedule.new(%Options{seconds: 1}, 0))
        assert {:ok, {:skip, :unreadable}} = Pool.call({fleet.instance, :read}, {:read, "/no/such/file"})
        assert %{surge: nil, pools: pools} = Peaks.stop(peaks)
        # While its one agent is at work the pool may have found that two would be right.
        assert %{most: most, least: 1, queue: 0, served: 1, refused: 0} = pools.read
        assert most in 1..2
        assert Enum.sort(Map.keys(pools)) == Enum.sort(Fleet.kinds())
      end
    end
  end

  # One agent of each kind. Its instance ends with the test, to which it is linked.
  defp fleet(engine) do
    fleet = Fleet.start(:"pools#{System.unique_integer([:positive])}", %Options{agents: 3, engine: engine})
    Gauges.put(fleet.instance, :floor, 1)
    fleet
  end
end

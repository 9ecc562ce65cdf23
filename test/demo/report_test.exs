Code.require_file("../../demo/load.exs", __DIR__)

defmodule Demo.ReportTest do
  use ExUnit.Case, async: true

  alias Demo.{Figures, Gauges, Options, Reference, Report, Tally, Walk}

  test "identical is what has every term, figure and file of the plain computation, times the passes" do
    report = report(Tally.of("one two 3 one two 3"), files: 2, binary: 0)
    assert Report.identical?(report)
    assert List.last(Report.lines(report)) == "identical: nothing lost, nothing counted twice"
    assert Report.json(report) =~ ~r/^{"identical":true,"lost":0,"counted_twice":0,/
  end

  test "what is lost and what is counted twice is told" do
    report = report(Tally.of("one one one two 3 3"), files: 2, binary: 0)
    refute Report.identical?(report)
    assert List.last(Report.lines(report)) =~ "NOT identical: 1 lost, 1 counted twice"
    assert Report.json(report) =~ ~r/^{"identical":false,"lost":1,"counted_twice":1,/
  end

  test "a sum that differs, or a file that was read in one computation only, is no identity" do
    refute Report.identical?(report(Tally.of("one two 3 one two 4"), files: 2, binary: 0))
    refute Report.identical?(report(Tally.of("one two 3 one two 3"), files: 2, binary: 1))
  end

  test "numbers are told as people read them" do
    assert Enum.map([0, 999, 1_000, 1_234_567], &Figures.count/1) == ["0", "999", "1,000", "1,234,567"]
    assert Enum.map([850, 12_400, 3_200_000], &Figures.duration/1) == ["0.85 ms", "12 ms", "3.2 s"]
    assert Figures.per_second(52_000_000, 4_000) == "13.0 MB/s"
    assert Figures.spread(%{p50: 850, p99: 12_400}) == "p50 0.85 ms p99 12 ms"
  end

  test "what the pools did is told, and what there was of a surge" do
    report = report(Tally.of("one two 3 one two 3"), [{:files, 3}, {{:again, :read}, 2}, {:overloaded, 3}])
    lines = Enum.join(Report.lines(report), "\n")

    assert lines =~
             "read       a pool of 4 to 5 ready, up to 1,200 waiting, mean wait up to 2.5 ms; 9 served, 3 refused, 2 asked again; scaled 4 -> 8 -> 5"

    assert lines =~ "surge      500 ms with 32 times as many files at once: 2 files/s, 4 without"
    assert Report.json(report) =~ ~s("surge":true,"died":0,"late":0,"queue_full":0,"overloaded":3,"pool_closed":0,)
    assert Report.json(report) =~ ~s("pool_read_ready_most":5,"pool_read_ready_least":4,"pool_read_queue_most":1200,)
  end

  test "who was restarted though it was well, and who hung and was not found, are told and are no success" do
    index = Tally.of("one two 3 one two 3")
    faults = [{:hangs, 5}, {:slowdowns, 4}, {:leaks, 3}, {:stuck_found, 3}, {:hung_killed, 2}]
    report = faulty(report(index, [{:files, 2} | faults]))
    assert Report.well_looked_after?(report)
    lines = Enum.join(Report.lines(report), "\n")
    assert lines =~ "faults     5 hangs, 4 slowdowns, 3 leaks; breakers refused 0"

    assert lines =~
             "health     3 agents found stuck and restarted, 2 killed before that, 0 not found; healthy agents restarted: 0"

    assert Report.json(report) =~
             ~s("faults":true,"breaker_open":0,"hangs":5,"slowdowns":4,"leaks":3,"stuck_found":3,"hung_killed":2,"hung_left":0,"healthy_restarted":0,)

    for wrong <- [:healthy_restarted, :hung_left],
        do: refute(Report.well_looked_after?(report(index, [{:files, 2}, {wrong, 1}])))
  end

  defp faulty(report), do: %{report | options: %{report.options | faults: true}}

  # Two passes over one file of text.
  defp report(index, gauges) do
    instance = :"report#{System.unique_integer([:positive])}"
    :ok = Gauges.new(instance)
    for {name, count} <- gauges, do: Gauges.add(instance, name, count)

    %Report{
      gauges: Gauges.all(instance),
      spreads: Gauges.spreads(instance),
      options: %Options{},
      dir: "/texts",
      walk: %Walk{files: ["/texts/one"]},
      passes: 2,
      index: index,
      reference: %Reference{tally: Tally.of("one two 3"), outcomes: %{text: 1}},
      took: %{fleet: 1_000_000, plain: 1_000},
      missed: 0,
      peaks: %{
        pools: %{read: %{most: 5, least: 4, queue: 1_200, wait: 2_500, served: 9, refused: 3, moves: [{4, 8}, {8, 5}]}},
        surge: %{files: 1, took: 500}
      }
    }
  end
end

for name <- ~w(harness/statistics harness/latencies harness/callers harness/schedulers harness/arrivals overload/tally),
    do: Code.require_file("../../bench/elixir/#{name}.ex", __DIR__)

defmodule Bench.OpenLoopTest do
  use ExUnit.Case, async: true

  alias Bench.{Arrivals, Callers}
  alias Bench.Overload.Tally

  test "as many requests begin as were asked for, none before its time, whatever became of those before" do
    test = self()
    start = Callers.now()

    assert 200 ==
             Arrivals.run(4_000, 50, fn meant ->
               send(test, {:began, meant, Callers.now()})
               Process.sleep(20)
             end)

    began = for _ <- 1..200, do: assert_received({:began, _meant, _now})
    meant = for {:began, meant, _now} <- began, do: meant
    assert Enum.all?(began, fn {:began, meant, now} -> start <= meant and meant <= now end)
    assert Enum.max(meant) - Enum.min(meant) > 20_000_000
    assert Enum.sort(meant) == Enum.uniq(Enum.sort(meant))
  end

  test "they come at the same times in each run" do
    assert gaps() == gaps()
  end

  test "what became of requests is told by stretch, and when the last trouble was over" do
    tally = Tally.new(1_000, 5, [{0, 400}, {400, 1_000}])
    long_ago = Callers.now() - 10_000_000
    :ok = Tally.waited(tally, long_ago)
    :ok = Tally.served(tally)
    :ok = Tally.refused(tally, :overloaded)
    :ok = Tally.refused(tally, :unheard_of)
    assert Tally.count(tally, {0, 400}) == 1
    assert Tally.count(tally, {400, 1_000}) == 0
    assert Tally.refusals(tally, {0, 400}) == [overloaded: 1, queue_full: 0, other: 1]
    assert [{"p50", wait} | _] = Tally.waits(tally, {0, 400})
    assert wait >= 10_000
    assert Tally.calm_after(tally, {0, 400}) in [100, 200, 300, 400]
    assert Tally.calm_after(tally, {400, 1_000}) == 0
  end

  defp gaps do
    test = self()
    Arrivals.run(50_000, 2, &send(test, {:meant, &1}))
    meant = Enum.sort(for _ <- 1..100, do: elem(assert_received({:meant, _}), 1))
    Enum.map(meant, &(&1 - hd(meant)))
  end
end

defmodule Kantoku.Chaos.PoolsTest do
  import Kantoku.PoolCase

  pools_on_each_engine Kantoku.Chaos.PoolsTest do
    alias Kantoku.PoolChaos

    @workers 6
    @domain [partitions: 4, backoff: [base: 1, cap: 5], budget: [crashes: :infinity]]

    for {max_ongoing, on_abandon} <- [{1, :wait}, {3, :wait}, {1, :replace}] do
      @max_ongoing max_ongoing
      @on_abandon on_abandon

      test "whoever is killed or resized, every permit is there in the end (#{max_ongoing}, #{on_abandon})" do
        storm(@max_ongoing, @on_abandon, 300)
      end

      @tag :chaos
      @tag timeout: :infinity
      test "nor in many thousand kills (#{max_ongoing}, #{on_abandon})" do
        kills = if System.get_env("KANTOKU_SOAK"), do: 100_000, else: 8_000
        %{hits: hits, answers: answers} = storm(@max_ongoing, @on_abandon, kills)
        IO.puts("pool, #{@max_ongoing} permits, #{@on_abandon}: #{inspect(hits)}, answers: #{inspect(answers)}")
      end
    end

    defp storm(max_ongoing, on_abandon, kills) do
      opts = [target: @workers, max_ongoing: max_ongoing, on_abandon: on_abandon, domain: @domain, codel: false]
      pool = pool!(@engine, opts)
      # Nobody gives up a cast, but a worker that was at one may be taken for one that was given up by a new manager.
      told = %{workers: @workers, max_ongoing: max_ongoing, casts: on_abandon == :wait}
      seen = PoolChaos.run(pool, kills, told)
      settled(pool, @workers, max_ongoing)
      # Neither an orphan nor a double.
      eventually(fn -> living_workers() == @workers end)
      assert seen.doubles == []
      assert seen.answers[:ok] > 0
      assert Map.keys(seen.answers) -- [:ok, :crashed, :timeout, :deadline, :restarting] == []
      all_can_be_had_and_no_more(pool, max_ongoing)
      seen
    end

    defp all_can_be_had_and_no_more(pool, max_ongoing) do
      leases = for _ <- 1..(@workers * max_ongoing), do: elem(Pool.checkout(pool), 1)
      assert leases |> Enum.frequencies_by(& &1.pid) |> Map.values() == List.duplicate(max_ongoing, @workers)
      assert {:error, %Error{}} = Pool.checkout(pool, timeout: 5)
      Enum.each(leases, &Pool.checkin/1)
      settled(pool, @workers, max_ongoing)
    end
  end
end

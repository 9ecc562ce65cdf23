defmodule Kantoku.Chaos.PoolsTest do
  import Kantoku.PoolCase

  pools_on_each_engine Kantoku.Chaos.PoolsTest do
    alias Kantoku.PoolChaos

    @workers 6
    @domain [partitions: 4, backoff: [base: 1, cap: 5], budget: [crashes: :infinity]]

    # Nobody is out for long, so all are in at the end.
    @ejection [
      ejection: [
        consecutive_failures: 2,
        base_ejection_time: 20,
        max_ejection_time: 100,
        interval: 50,
        max_ejection_percent: 50
      ],
      slow_start: [slow_start_window: 50, fresh: true]
    ]

    # One that has its own mind about its size, beside those who resize it.
    @scaling [
      look_back: 200,
      scale_up: [policies: [{:percent, 300, period: 500}]],
      scale_down: [stabilization: 200, policies: [{:percent, 100, period: 500}]]
    ]

    for {max_ongoing, on_abandon, scaling, pulls} <- [
          {1, :wait, false, false},
          {3, :wait, false, false},
          {1, :replace, false, false},
          {1, :wait, true, false},
          {1, :wait, false, true},
          {3, :replace, false, true}
        ] do
      @kind [max_ongoing: max_ongoing, on_abandon: on_abandon] ++
              if(scaling, do: [scaling: @scaling, min: 1, max: 12], else: [])
      @worker [pulls: pulls]
      @title "#{max_ongoing}, #{on_abandon}#{if scaling, do: ", scaled"}#{if pulls, do: ", pulling"}"

      test "whoever is killed or resized, every permit is there in the end (#{@title})" do
        storm(@kind, @worker, {:times, 300})
      end

      # A minute for all six of an engine, and ten in the long run.
      @tag :chaos
      @tag timeout: :infinity
      test "nor in many thousand kills (#{@title})" do
        ms = if System.get_env("KANTOKU_SOAK"), do: 100_000, else: 10_000
        %{hits: hits, answers: answers, moves: moves, status: status} = storm(@kind, @worker, {:ms, ms})
        if @kind[:scaling], do: assert(moves > 0)
        times = hits |> Map.values() |> Enum.sum()

        IO.puts(
          "pool on the #{@engine} engine (#{@title}), #{div(ms, 1_000)} s: #{times} hits #{inspect(hits)}, " <>
            "answers: #{inspect(answers)}, kept moves of its scaler: #{moves}; requests: #{status.arrived}, " <>
            "permits taken: #{status.served}, not given back: #{status.ongoing}, refused: #{status.refused}, " <>
            "too late: #{status.expired}, given up: #{status.cancelled}"
        )
      end
    end

    defp storm(kind, worker, how_long) do
      pool = pool!(@engine, [target: @workers, domain: @domain, codel: false] ++ @ejection ++ kind, worker)
      max_ongoing = kind[:max_ongoing]
      # Nobody gives up a cast, but a worker that was at one may be taken for one that was given up by a new foreman.
      told = %{workers: @workers, max_ongoing: max_ongoing, casts: kind[:on_abandon] == :wait}
      seen = PoolChaos.run(pool, how_long, told)
      {:ok, %{decisions: decisions}} = Pool.explain(pool)
      :ok = Pool.update(pool, scaling: false, target: @workers)
      settled(pool, @workers, max_ongoing)
      # Neither an orphan nor a double.
      eventually(fn -> living_workers() == @workers end)
      assert seen.doubles == []
      assert seen.answers[:ok] > 0
      assert Map.keys(seen.answers) -- [:ok, :crashed, :timeout, :deadline, :restarting] == []
      all_can_be_had_and_no_more(pool, max_ongoing)
      status = status(pool)
      assert status.arrived == status.served + status.refused + status.expired + status.cancelled
      Map.merge(seen, %{moves: Enum.count(decisions, &(&1.move != :none)), status: status})
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

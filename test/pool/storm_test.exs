defmodule Kantoku.Pool.StormTest do
  import Kantoku.PoolCase

  pools_on_each_engine Kantoku.Pool.StormTest do
    @workers 6
    @domain [partitions: 4, backoff: [base: 1, cap: 5], budget: [crashes: :infinity]]

    for {max_ongoing, on_abandon} <- [{1, :wait}, {3, :wait}, {1, :replace}] do
      @max_ongoing max_ongoing
      @on_abandon on_abandon

      test "callers, holders, workers and the manager are killed, and every permit is there in the end (#{max_ongoing}, #{on_abandon})" do
        opts = [target: @workers, max_ongoing: @max_ongoing, on_abandon: @on_abandon, domain: @domain, codel: false]
        pool = pool!(@engine, opts)
        test = self()
        victims = for _ <- 1..12, do: start_client(pool, test, @on_abandon)
        steady = for _ <- 1..4, do: Task.async(fn -> steady(pool, %{}) end)
        storm(pool, victims, test, @on_abandon, 250)
        for %{pid: pid} <- steady, do: send(pid, :enough)
        answers = steady |> Task.await_many(60_000) |> Enum.reduce(&Map.merge(&1, &2, fn _, a, b -> a + b end))
        stop_clients()
        settled(pool, @workers, @max_ongoing)

        assert answers[:ok] > 0
        assert Map.keys(answers) -- [:ok, :crashed, :timeout, :deadline, :restarting] == []
        # Each permit can be had, and not one more.
        leases = for _ <- 1..(@workers * @max_ongoing), do: elem(Pool.checkout(pool), 1)
        assert leases |> Enum.frequencies_by(& &1.pid) |> Map.values() |> Enum.uniq() == [@max_ongoing]
        assert {:error, %Error{}} = Pool.checkout(pool, timeout: 5)
        Enum.each(leases, &Pool.checkin/1)
        settled(pool, @workers, @max_ongoing)
      end
    end

    # Somebody of each kind dies; who called is followed by another.
    defp storm(_pool, _victims, _test, _on_abandon, 0), do: :ok

    defp storm(pool, victims, test, on_abandon, left) do
      Process.sleep(Enum.random(0..2))

      case Enum.random([:client, :client, :client, :worker, :manager]) do
        :client ->
          victim = Enum.random(victims)
          Process.exit(victim, :kill)
          storm(pool, [start_client(pool, test, on_abandon) | List.delete(victims, victim)], test, on_abandon, left - 1)

        :worker ->
          with [_ | _] = pids <- pids(pool), do: Process.exit(Enum.random(pids), :kill)
          storm(pool, victims, test, on_abandon, left - 1)

        :manager ->
          Process.exit(manager(pool), :kill)
          storm(pool, victims, test, on_abandon, left - 1)
      end
    end

    # Known to the test by a message, so that none outlives it.
    defp start_client(pool, test, on_abandon) do
      pid = spawn(fn -> client(pool, on_abandon) end)
      send(test, {:client, pid})
      pid
    end

    defp stop_clients do
      receive do
        {:client, pid} -> kill(pid) && stop_clients()
      after
        0 -> :ok
      end
    end

    defp client(pool, on_abandon) do
      # Nobody gives up a cast, so a worker that is at one must not be replaced for it.
      case :rand.uniform(if(on_abandon == :wait, do: 7, else: 6)) do
        1 ->
          Pool.call(pool, {:sleep, 1}, timeout: 2)

        2 ->
          Pool.call(pool, :pid, timeout: 1, replies: :fast)

        3 ->
          Pool.run(pool, fn _ -> Process.sleep(1) end)

        4 ->
          try(do: Pool.run(pool, fn pid -> GenServer.call(pid, {:sleep, 2}, 1) end), catch: (_, _ -> :ok))

        5 ->
          with(
            {:ok, lease} <- Pool.checkout(pool, timeout: 3),
            do: for(_ <- 1..2, do: Pool.checkin(lease, Enum.random([:ok, :abandoned])))
          )

        6 ->
          Pool.call(pool, {:run, fn -> :ok end}, tenant: :rand.uniform(3), priority: Enum.random([:high, :low]))

        7 ->
          Pool.cast(pool, {:run, fn -> :erlang.yield() end})
      end

      client(pool, on_abandon)
    end

    # Is never killed, and counts what it was answered.
    defp steady(pool, answers) do
      receive do
        :enough -> answers
      after
        0 ->
          answer = with {:ok, _} <- Pool.call(pool, {:sleep, 1}, timeout: 10_000), do: :ok
          key = with {:error, error} <- answer, do: error.reason
          steady(pool, Map.update(answers, key, 1, &(&1 + 1)))
      end
    end
  end
end

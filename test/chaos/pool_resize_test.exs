defmodule Kantoku.Chaos.PoolResizeTest do
  import Kantoku.PoolCase

  pools_on_each_engine Kantoku.Chaos.PoolResizeTest do
    @moduletag :chaos
    @moduletag timeout: :infinity

    @callers 64

    test "2 -> 256 -> 2 workers under load, and no call fails" do
      rounds = if System.get_env("KANTOKU_SOAK"), do: 400, else: 20
      pool = pool!(@engine, target: 2, codel: false, domain: [partitions: 16])
      callers = for n <- 1..@callers, do: Task.async(fn -> ask(n, pool, %{}) end)

      for _ <- 1..rounds, size <- [256, 2] do
        :ok = Pool.update(pool, target: size)
        until(pool, ready: size, leaving: 0, workers: size)
      end

      for %{pid: pid} <- callers, do: send(pid, :enough)
      answers = callers |> Task.await_many(60_000) |> Enum.reduce(&Map.merge(&1, &2, fn _answer, a, b -> a + b end))
      assert Map.keys(answers) == [:ok]
      settled(pool, 2)
      IO.puts("pool on the #{@engine} engine, #{rounds} times 2 -> 256 -> 2: #{answers.ok} calls, none failed")
    end

    # In each of the ways that wait for an answer.
    defp ask(n, pool, answers) do
      receive do
        :enough -> answers
      after
        0 -> ask(n, pool, Map.update(answers, answer(rem(n, 3), pool), 1, &(&1 + 1)))
      end
    end

    defp answer(way, pool) do
      case one(way, pool) do
        {:ok, _} -> :ok
        {:error, %Error{reason: reason}} -> reason
      end
    end

    defp one(0, pool), do: Pool.call(pool, {:sleep, 1}, timeout: :infinity)
    defp one(1, pool), do: Pool.call(pool, :pid, timeout: :infinity, replies: :fast)
    defp one(2, pool), do: Pool.run(pool, &GenServer.call(&1, {:sleep, 1}), timeout: :infinity)
  end
end

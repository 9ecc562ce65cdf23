defmodule Bench.Pool.ClosedLoop do
  @moduledoc false
  # Callers that ask again as soon as they were served: how much goes through, how long each took, and how evenly it was shared.

  alias Bench.{Callers, Latencies}

  @typedoc "What a caller does once; it may be told the caller's number, from 0."
  @type work :: (() -> term) | (non_neg_integer -> term)

  @doc "Runs `count` callers for `millis`: throughput in 1/s, latencies in µs, and the most any caller did by the least."
  @spec run(pos_integer, pos_integer, work) :: [{String.t(), number}]
  def run(count, millis, work) do
    latencies = Latencies.new()
    done = :counters.new(count, [:write_concurrency])

    rate =
      Callers.rate_timed(
        count,
        millis,
        fn index, nanoseconds ->
          Latencies.record(latencies, nanoseconds)
          :counters.add(done, index + 1, 1)
        end,
        work
      )

    [{"p50", p50}, {"p99", p99}, {"p99.9", p999}] = Latencies.summary(latencies)
    [{"throughput", rate}, {"p50", p50}, {"p99", p99}, {"p999", p999}, {"spread", spread(done, count)}]
  end

  defp spread(done, count) do
    each = for index <- 1..count, do: :counters.get(done, index)
    Enum.max(each) / max(Enum.min(each), 1)
  end
end

defmodule Bench.Overload do
  @moduledoc false
  # What a pool does with ten times as much as it can do. There is no peer: poolboy refuses nobody, and its queue would be the whole
  # of it.
  @behaviour Bench.Suite

  alias Bench.{Check, Measurement, Stage}
  alias Bench.Overload.{Storm, Tally}

  @impl true
  def name, do: "overload"

  @impl true
  def stages(options) do
    figures = [
      measurement("overload.rate", "1/s", &rates/1),
      measurement("overload.share", "of one", &shares/1),
      measurement("overload.wait", "ms", &waits/1),
      measurement("overload.refused", "requests", &refusals/1),
      measurement("overload.memory", "bytes", &memory/1)
    ]

    [%Stage{build: fn -> Storm.run(options) end, items: figures ++ [check()]}]
  end

  defp measurement(name, unit, figures) do
    does =
      "an open loop at #{Storm.times()} times what #{Storm.size()} workers can do, then at half of that; holders sleep " <>
        "#{Storm.hold()} ms; the pool's limits are its defaults"

    %Measurement{name: name, unit: unit, does: does, rounds: 1, run: figures}
  end

  defp rates(storm) do
    %{overload: overload} = Storm.stretches(storm.millis)

    [
      {"capacity", storm.capacity},
      {"asked", storm.begun * 1_000 / storm.millis},
      {"served", served(storm)},
      {"served_in_worst_second", Tally.worst_second(storm.tally, overload)}
    ]
  end

  defp served(storm) do
    %{overload: {from, until} = overload} = Storm.stretches(storm.millis)
    Tally.count(storm.tally, overload) * 1_000 / (until - from)
  end

  defp shares(storm) do
    [
      {"goodput", served(storm) / storm.capacity},
      {"generator_cpu", storm.generator},
      {"all_cpu", storm.busy}
    ]
  end

  defp waits(storm) do
    stretches = Storm.stretches(storm.millis)

    waits =
      for stretch <- [:onset, :overload, :relief], {label, wait} <- Tally.waits(storm.tally, stretches[stretch]) do
        {"#{stretch}.#{label}", wait / 1_000}
      end

    waits ++ [{"calm_after", calm_after(storm)}]
  end

  defp calm_after(storm), do: Tally.calm_after(storm.tally, Storm.stretches(storm.millis).relief)

  defp refusals(storm) do
    for {stretch, ms} <- Storm.stretches(storm.millis), {reason, count} <- Tally.refusals(storm.tally, ms) do
      {"#{stretch}.#{reason}", count}
    end
  end

  defp memory(storm), do: for(at <- [:early, :late, :relieved], do: {"#{at}", storm.memory[at]})

  defp check do
    labels = ["goodput below 90 %", "p99 wait above twice the target", "memory grown by a tenth", "trouble 2 s after"]

    %Check{
      name: "overload.holds",
      does:
        "whether goodput fell below 90 % of capacity, the p99 wait of the served rose above twice :queue_target after the first " <>
          "two :queue_interval, memory grew by more than a tenth from the second quarter to the last, or somebody was " <>
          "refused, or waited longer than :queue_target, later than 2 s after it",
      zero: labels,
      run: fn storm -> Enum.zip(labels, Enum.map(broken(storm), &if(&1, do: 1, else: 0))) end
    }
  end

  defp broken(storm) do
    [{"p50", _}, {"p99", p99} | _] = Tally.waits(storm.tally, Storm.stretches(storm.millis).overload)

    [
      served(storm) < 0.9 * storm.capacity,
      p99 > 2_000 * Storm.target(),
      storm.memory.late > 1.1 * storm.memory.early,
      calm_after(storm) > 2_000
    ]
  end
end

defmodule Kantoku.Engine.Elixir.Pool.Ejection do
  # Which worker does so much worse than the others that it is given nothing new for a while, and for how long: the arithmetic of
  # Envoy's outlier detection, and of latency besides. Knows no pool. `native/core/src/pool/ejection.rs` is the same, to the last digit.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.Toll

  @typedoc "As `Kantoku.Engine.Pools` has it in a configuration."
  @type rules :: Kantoku.Engine.Pools.Standing.ejection()

  @type verdict :: {pid, Kantoku.Engine.Pools.Standing.cause()}

  @doc "For how many ms one is out that was ejected so often, without jitter."
  @spec length(rules, pos_integer) :: pos_integer
  def length(rules, times),
    do: min(rules.base_ejection_time * times, max(rules.max_ejection_time, rules.base_ejection_time))

  @doc "How many of so many workers may be out; one always, but of one."
  @spec most(rules, non_neg_integer) :: non_neg_integer
  def most(_rules, workers) when workers < 2, do: 0
  def most(rules, workers), do: max(div(workers * rules.max_ejection_percent, 100), 1)

  @doc "Who is ejected for its rate of successes: below the mean by more than so many standard deviations. In the order given."
  @spec by_success_rate(rules, [{pid, Toll.t()}]) :: [verdict]
  def by_success_rate(rules, tolls) do
    rates =
      for {pid, toll} <- tolls, toll.requests >= rules.success_rate_request_volume, do: {pid, Toll.success_rate(toll)}

    if rules.success_rate_stdev_factor > 0 and length(rates) >= rules.success_rate_minimum_hosts,
      do: low(rates, threshold(rules, rates)),
      else: []
  end

  defp low(rates, threshold) do
    for {pid, rate} <- rates, rate < threshold do
      {pid, {:success_rate, millionths(rate), millionths(threshold), length(rates)}}
    end
  end

  defp threshold(rules, rates) do
    mean = Enum.reduce(rates, 0.0, fn {_pid, rate}, sum -> sum + rate end) / length(rates)
    squares = Enum.reduce(rates, 0.0, fn {_pid, rate}, sum -> sum + (rate - mean) * (rate - mean) end)
    mean - :math.sqrt(squares / length(rates)) * (rules.success_rate_stdev_factor / 1_000.0)
  end

  defp millionths(percent), do: round(max(percent, 0.0) * 10_000.0)

  @doc "Who is ejected for being slow: its mean is beyond a multiple of the median of all, and beyond the floor. In the order given."
  @spec by_latency(rules, [{pid, Toll.t()}]) :: [verdict]
  def by_latency(rules, tolls) do
    means = for {pid, toll} <- tolls, toll.timed >= rules.latency_request_volume, do: {pid, Toll.mean(toll)}

    if rules.latency_multiple > 0 and length(means) >= rules.latency_minimum_hosts,
      do: slow(means, median(means), rules),
      else: []
  end

  defp slow(means, median, rules) do
    most = max(median * rules.latency_multiple, rules.latency_floor * 1_000)
    for {pid, mean} <- means, mean > most, do: {pid, {:latency, mean, median, length(means)}}
  end

  defp median(means) do
    sorted = means |> Enum.map(&elem(&1, 1)) |> Enum.sort()
    Enum.at(sorted, div(length(sorted) - 1, 2))
  end
end

defmodule Kantoku.Api.Decided do
  # What a pool's scaler saw and why it decided so, for people who never read its formulas: an entry of `Kantoku.Pool.explain/1` in sentences.
  # Times stay ms since 1970, which whoever shows them writes in their own zone. Knows no pool.
  @moduledoc false

  @readings %{
    ongoing: "requests in work or waiting",
    arrival_rate: "requests that come in a second",
    utilization: "share of the workers that is busy",
    queue_wait: "ms that requests wait",
    memory: "bytes that a worker has"
  }

  @doc "A line for each metric, one for a forecast, and one for each rule that changed what these ask for."
  @spec words(map) :: [String.t()]
  def words(%{metrics: metrics, forecast: forecast, steps: steps}) do
    changed = for step <- steps, step.rule != :metrics and step.from != step.to, do: step(step)
    Enum.map(metrics, &metric/1) ++ forecast(forecast) ++ Enum.reject(changed, &is_nil/1)
  end

  defp metric(%{verdict: :missing} = wish), do: "#{reading(wish)}: not known"

  defp metric(wish) do
    "#{reading(wish)}: #{number(wish.reading)} now, meant to be #{number(wish.target)}#{each(wish)}; " <>
      "of late that needs #{workers(wish.needs)}" <> verdict(wish)
  end

  defp reading(%{metric: metric}), do: Map.get(@readings, metric, "#{metric}")

  defp each(%{kind: :total}), do: " for each worker"
  defp each(%{kind: :mean}), do: ""

  defp verdict(%{verdict: :moves, wish: wish}), do: ", so #{wish}"
  defp verdict(%{verdict: :within_tolerance, wish: wish}), do: ", near enough to #{wish}"
  defp verdict(%{verdict: :reversed}), do: ", or the opposite, if workers that said nothing were counted: no change"

  defp forecast(nil), do: []

  defp forecast(%{mode: :shadow} = forecast),
    do: ["soon #{workers(forecast.needs)} are expected to be needed, which is not heeded yet"]

  defp forecast(%{mode: :active} = forecast), do: ["soon #{workers(forecast.needs)} are expected to be needed"]

  # Of a forecast there is a line already.
  defp step(%{rule: :forecast}), do: nil
  defp step(%{rule: :missing, to: to}), do: "not fewer than #{to}: something that counts is not known"

  defp step(%{rule: :stabilization, to: to, why: why}),
    do: "#{to}, as was needed at #{why.at}: for #{seconds(why.window)} that counts too"

  defp step(%{rule: :policies, to: to, why: %{policy: :disabled}}), do: "#{to}: moves that way are turned off"
  defp step(%{rule: :policies, why: why}), do: "#{limit(why)} for now: #{pace(why.policy)} is as fast as it may go"

  defp step(%{rule: :cooldown, to: to, why: why}),
    do: "#{to}: it changed at #{why.last}, and rests for #{seconds(why.rest)} then"

  defp step(%{rule: :quota, to: to, why: why}),
    do: "#{to}: by #{String.replace("#{why.limited_by}", "_", " ")} only #{why.headroom} more may come"

  defp step(%{rule: :bounds, to: to, why: %{min: to}}), do: "#{to}, which is the least it may have"
  defp step(%{rule: :bounds, to: to}), do: "#{to}, which is the most it may have"

  defp limit(%{bound: "at most", limit: limit}), do: "not more than #{limit}"
  defp limit(%{limit: limit}), do: "not fewer than #{limit}"

  defp pace(%{kind: :percent, value: value, period: period}), do: "#{number(value)} % in #{seconds(period)}"
  defp pace(%{value: value, period: period}), do: "#{number(value)} in #{seconds(period)}"

  defp workers(needs) when needs == 1, do: "1 worker"
  defp workers(needs), do: "#{number(needs)} workers"

  defp seconds(ms), do: "#{number(ms / 1_000)} s"

  defp number(value) when is_integer(value), do: Integer.to_string(value)
  defp number(value) when value == trunc(value) and abs(value) < 1.0e15, do: Integer.to_string(trunc(value))

  defp number(value),
    do: :erlang.float_to_binary(value * 1.0, [:compact, decimals: if(abs(value) < 1, do: 2, else: 1)])
end

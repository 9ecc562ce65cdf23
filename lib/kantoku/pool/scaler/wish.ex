defmodule Kantoku.Pool.Scaler.Wish do
  # Knows no other metric, no limit and no history but the metric's own.
  @moduledoc """
  How many workers one metric asks for: HPA's formula, its tolerance and its rule for missing readings.
  """

  alias Kantoku.Pool.Scaler.{LookBack, Policy}

  # A ratio that is whole but for the rounding of floats must not cost a worker more.
  @grain 1.0e-9

  @typedoc """
  Whether it asks for a change; that it does not, as the `ratio` is `:within_tolerance`; that it would have asked for the opposite
  but for workers without a reading (`:reversed`); or that it could not be read (`:missing`).
  """
  @type verdict :: :moves | :within_tolerance | :reversed | :missing

  @typedoc """
  What one metric says: its `reading`, a `:total` or the `:mean` of as many workers as `reported`; its `target` for each worker; what
  it `needs`, in workers; the `ratio` of that to what is there; the `wish`, in whole workers.
  """
  @type t :: %{
          metric: atom,
          kind: :total | :mean,
          reading: number | nil,
          reported: non_neg_integer | nil,
          target: number,
          needs: number | nil,
          ratio: number | nil,
          wish: non_neg_integer | nil,
          verdict: verdict
        }

  @doc false
  @spec of(Policy.metric(), map, LookBack.t(), integer, Policy.t()) :: {t, LookBack.t()}
  def of(metric, observation, past, now, policy) do
    case reading(metric, observation) do
      nil -> {wish(metric, nil, nil, nil), past}
      {value, reported} -> moved(metric, value, reported, observation, past, now, policy)
    end
  end

  @doc false
  @spec sized(number, non_neg_integer, Policy.t()) :: {non_neg_integer, number, verdict}
  def sized(needs, size, policy) do
    ratio = needs / max(size, 1)

    if abs(ratio - 1.0) <= tolerance(ratio, policy) + @grain,
      do: {size, ratio, :within_tolerance},
      else: {ceil(needs - @grain), ratio, :moves}
  end

  defp tolerance(ratio, %{scale_up: %{tolerance: own}} = policy) when ratio > 1, do: own || policy.tolerance
  defp tolerance(_ratio, %{scale_down: %{tolerance: own}} = policy), do: own || policy.tolerance

  defp moved(metric, value, reported, observation, past, now, policy) do
    {needed, first} = needs(metric, value, reported, observation)
    {needs, past} = LookBack.add(past, now, needed, policy.look_back)
    {size, ratio, second} = sized(needs, observation.size, policy)
    verdict = if first == :reversed, do: :reversed, else: second
    {%{wish(metric, value, reported, needs) | wish: size, ratio: ratio, verdict: verdict}, past}
  end

  defp wish(metric, value, reported, needs) do
    %{
      metric: metric.name,
      kind: metric.kind,
      reading: value,
      reported: reported,
      target: metric.target,
      needs: needs,
      ratio: nil,
      wish: nil,
      verdict: :missing
    }
  end

  # The mean of workers of which none is ready is the mean of nothing.
  defp reading(%{kind: :mean}, %{ready: 0}), do: nil

  defp reading(metric, observation) do
    case observation.metrics[metric.name] do
      {_value, 0} -> nil
      {value, reported} when is_number(value) -> {value, min(reported, observation.ready)}
      value when is_number(value) -> {value, observation.ready}
      _missing -> nil
    end
  end

  # Of the whole pool: workers that are not ready yet are part of the size, and are seen as using nothing.
  defp needs(%{kind: :total, target: target}, value, _reported, _observation), do: {value / target, :moves}

  # Workers without a reading use what is meant for them when the rest says fewer, and nothing when it says more. Nor do workers
  # that are not ready yet use anything when it says more. If that turns the wish round, nothing is done.
  defp needs(%{kind: :mean, target: target}, value, reported, %{size: size, ready: ready}) do
    ratio = value / target

    cond do
      ratio < 1 -> {ratio * reported + (ready - reported), :moves}
      ratio > 1 and ratio * reported < size -> {size, :reversed}
      true -> {ratio * reported, :moves}
    end
  end
end

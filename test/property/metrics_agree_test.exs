Code.require_file("terms.exs", __DIR__)

# Records the same numbers, the largest, the least and what no series takes among them, at metrics of each engine, and compares every answer and
# all that is read afterwards.
if Kantoku.Native.loaded?() do
  defmodule Kantoku.MetricsAgreeTest do
    use ExUnit.Case, async: true
    import Kantoku.Terms, only: [check: 3]
    alias Kantoku.Engine.Metrics

    @moduletag :property
    @moduletag timeout: 300_000

    @kinds [:counter, :gauge, :histogram]
    @shares [0, 0.0, 1.0e-9, 0.5, 0.99, 1, 1.0, -1, -0.5, 2, 1.0e308]

    # Where words and floats end, and where a float has no longer every whole number.
    @ends [2 ** 53, 2 ** 59, 2 ** 63, 2 ** 64, 10 ** 400]
    @whole for(edge <- @ends, by <- [-1, 0, 1], sign <- [1, -1], do: sign * (edge + by)) ++ [0, 1, -1]
    @floats for(
              size <- [1.797_693_134_862_315_7e308, 1.0e308, 2.225e-308, 5.0e-324, 9.2e18, 9.1e15, 0.5, 1.0e-9],
              sign <- [1, -1],
              do: sign * size
            ) ++ [0.0, -0.0]

    test "metrics of both engines take the same numbers, and come to the same" do
      check({ticks(), :proper_types.list(record())}, &agree?/1, 1_000)
    end

    test "what was recorded is a number that is finite, and no counter falls" do
      check({ticks(), :proper_types.list(record())}, &sound?/1, 300)
    end

    # Of the scales that a definition can have, the ends as well.
    defp ticks, do: :proper_types.elements([1.0e9, 1_024.0, 1_024_000.0, 1_024 / 1.0e-280, 1_024 / 1.0e280, 1.0])

    defp record do
      :proper_types.frequency([
        {5, {:add, kind(), number()}},
        {3, {:set, kind(), number()}},
        {5, {:observe, kind(), number()}},
        {1, {:add, :counter, :proper_types.elements([2 ** 53, 2 ** 53 + 1])}}
      ])
    end

    defp kind, do: :proper_types.elements(@kinds)

    defp number do
      :proper_types.frequency([
        {4, :proper_types.elements(@whole)},
        {4, :proper_types.elements(@floats)},
        {2, :proper_types.integer()},
        {2, :proper_types.float()}
      ])
    end

    defp agree?({ticks, records}) do
      [native, other] = for engine <- [:native, :elixir], do: recorded(engine, ticks, records)
      if native != other, do: raise("the native engine says #{inspect(native)}, the other one #{inspect(other)}")
      true
    end

    defp recorded(engine, ticks, records) do
      {metrics, series} = open(engine, ticks)
      answers = for record <- records, do: record(series, record)
      quantiles = for share <- @shares, do: Metrics.quantile(series.histogram, share)
      {answers, quantiles, Metrics.snapshot(metrics)}
    end

    defp open(engine, ticks) do
      metrics = Metrics.open(engine, [{"instance", "Mine"}], 10, 1_000_000)

      series =
        Map.new(@kinds, fn kind ->
          :ok = Metrics.declare(metrics, "#{kind}", "Some.", {kind, nil, ticks}, [])
          {:ok, series} = Metrics.series(metrics, "#{kind}", [])
          {kind, series}
        end)

      {metrics, series}
    end

    defp record(series, {does, kind, number}), do: apply(Metrics, does, [series[kind], number])

    defp sound?({ticks, records}) do
      for engine <- [:native, :elixir] do
        {metrics, series} = open(engine, ticks)

        Enum.reduce(records, 0.0, fn record, before ->
          record(series, record)
          %{"counter" => counted, "gauge" => _any, "histogram" => {_, _, sum, _}} = now = read(metrics)
          if counted < before or sum < 0, do: raise("#{engine}: #{inspect(now)} after #{inspect(record)}")
          counted
        end)
      end

      true
    end

    # A float is finite, or it could not be a term.
    defp read(metrics),
      do: Map.new(Metrics.snapshot(metrics), fn {name, _, _, _, [{_labels, value}]} -> {name, value} end)
  end
end

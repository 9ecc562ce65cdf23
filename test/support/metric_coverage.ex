defmodule Kantoku.MetricCoverage do
  @moduledoc """
  Scenarios in which metrics are seen to say something: each is a test that says which, and fails if one of them stays at nothing.

      measured "a breaker is set", ["kantoku_breaker_changes"] do
        instance = start!(breakers: [[name: :b]])
        :ok = Kantoku.Breaker.set({instance, :b}, :forced_open)
        instance
      end
  """
  import ExUnit.Assertions

  alias Kantoku.{Metrics, TestOwner}

  @doc "A scenario, which answers the instance whose metrics are looked at. `context` is a pattern for that of the test."
  defmacro measured(title, names, context \\ Macro.var(:_context, nil), do: block) do
    quote do
      @covered unquote(names)

      test unquote(title), unquote(context) do
        instance = unquote(block)
        for name <- unquote(names), do: Kantoku.MetricCoverage.assert_measured(instance, name)
      end
    end
  end

  @doc "Some series of a metric is above 0; of a histogram, has observations."
  def assert_measured(instance, name) do
    TestOwner.eventually(fn -> Enum.any?(values(instance, name), &something?/1) end)
  rescue
    _in_vain in RuntimeError ->
      flunk("#{name} of #{inspect(instance)} says nothing: #{inspect(values(instance, name))}")
  end

  defp values(instance, name) do
    {:ok, families} = Metrics.snapshot(instance)
    for %{name: ^name, series: series} <- families, %{value: value} <- series, do: value
  end

  defp something?(%{count: count}), do: count > 0
  defp something?(value), do: value > 0
end

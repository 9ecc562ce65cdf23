defmodule Kantoku.Pool.Scaler.PolicyTest do
  use ExUnit.Case, async: true

  alias Kantoku.Pool.Scaler.Policy

  doctest Policy

  @bad [
    {[], ~r/scaling: option :max is required/},
    {[max: 0], ~r/option :max: expected a positive integer, got: 0/},
    {[max: 5, min: 0], ~r/option :min: expected a positive integer, got: 0/},
    {[max: 5, min: 6], ~r/option :max: expected at least :min \(6\), got: 5/},
    {[max: 5, metrics: []], ~r/option :metrics: expected a keyword list of targets/},
    {[max: 5, metrics: [ongoing: 0]], ~r/option :metrics: .* got: \[ongoing: 0\]/},
    {[max: 5, metrics: [gpu: 0.5]], ~r/option :metrics: .* got: \[gpu: 0.5\]/},
    {[max: 5, metrics: [ongoing: 1, ongoing: 2]], ~r/option :metrics/},
    {[max: 5, tolerance: 1], ~r/option :tolerance: expected a number from 0 to below 1, got: 1/},
    {[max: 5, scale_up: [stabilization: -1]], ~r/option :scale_up, option :stabilization: expected an integer of 0/},
    {[max: 5, scale_up: [policies: [{:percent, 10}]]], ~r/option :scale_up, option :policies: expected a list of/},
    {[max: 5, scale_down: [select: :least]],
     ~r/option :select: expected one of \[:max, :min, :disabled\], got: :least/},
    {[max: 5, cooldown: [sideways: 1]], ~r/unknown option :sideways/},
    {[max: 5, forecast: [season: 1_000]], ~r/option :season: expected a multiple of :bucket \(300000\)/},
    {[max: 5, forecast: [seasons: 2]], ~r/option :seasons: expected an integer of 3 or more, got: 2/},
    {[max: 5, forecast: [lead: 90_000_000]], ~r/option :lead: expected at most :season/},
    {[max: 5, forecast: [bucket: 1_000]], ~r/option :seasons: expected at most 50000 buckets/}
  ]

  for {{options, message}, index} <- Enum.with_index(@bad) do
    test "a bad option is refused with its name, its value and what was expected (#{index}: #{inspect(options)})" do
      assert_raise ArgumentError, unquote(Macro.escape(message)), fn -> Policy.new!(unquote(Macro.escape(options))) end
    end
  end

  test "defaults are those of HPA" do
    policy = Policy.new!(max: 10)
    assert {policy.min, policy.tolerance} == {1, 0.1}
    assert policy.scale_up.stabilization == 0
    assert policy.scale_up.policies == [{:percent, 100, [period: 15_000]}, {:count, 4, [period: 15_000]}]
    assert policy.scale_down.stabilization == 300_000
    assert policy.scale_down.policies == [{:percent, 100, [period: 15_000]}]
    assert {policy.scale_up.select, policy.scale_down.select} == {:max, :max}
    assert [%{name: :ongoing, kind: :total, target: 0.7}] = policy.metrics
    assert %{season: 86_400_000, bucket: 300_000} = policy.forecast
  end

  test "a forecast that was off takes its defaults when it is switched on" do
    policy = Policy.new!(max: 10, forecast: :off)
    assert %{lead: 5_000, bucket: 300_000} = Policy.change!(policy, forecast: [lead: 5_000]).forecast
    assert Policy.change!(Policy.new!(max: 10), forecast: :off).forecast == :off
  end

  test "a change is checked against what stays" do
    assert_raise ArgumentError, ~r/expected at least :min \(4\), got: 3/, fn ->
      Policy.change!(Policy.new!(min: 4, max: 10), [max: 3], "pool :writers")
    end
  end

  test "a metric's function that raises, exits, or returns no number, is a missing reading" do
    own = [one: {fn _ -> raise "no" end, 1}, two: {fn _ -> exit(:timeout) end, 1}, three: {fn _ -> :many end, 1}]
    assert Policy.read(Policy.new!(max: 9, metrics: own ++ [ongoing: 1]), %{}) == %{one: nil, two: nil, three: nil}
  end

  test "the documentation names every option" do
    {:docs_v1, _, _, _, %{"en" => docs}, _, _} = Code.fetch_docs(Policy)

    for option <-
          ~w(min max metrics tolerance look_back stabilization policies select cooldown forecast lead bucket season seasons),
        do: assert(docs =~ "`:#{option}`")
  end
end

defmodule Kantoku.Pool.ScalerTest do
  use ExUnit.Case, async: true

  alias Kantoku.Pool.{Forecast, Scaler}
  alias Kantoku.Pool.Scaler.{Decision, Headroom, Policy}

  doctest Scaler
  doctest Decision
  doctest Headroom

  # Without look-back, as HPA's own examples have it.
  defp policy(options \\ []),
    do: Policy.new!(Keyword.merge([max: 1_000, metrics: [load: {&Map.get(&1, :load), 1.0}], look_back: 0], options))

  defp seen(size, load, more \\ %{}), do: Map.merge(%{size: size, ready: size, metrics: %{load: load}}, more)

  # Each step is {now, size or :last (what was wanted last), load}; what is wanted after each.
  defp walk(policy, steps) do
    {wanted, _} =
      Enum.map_reduce(steps, {Scaler.new(), nil}, fn {now, size, load}, {state, last} ->
        {decision, state} = Scaler.decide(state, policy, seen(if(size == :last, do: last, else: size), load), now)
        {decision.wanted, {state, decision.wanted}}
      end)

    wanted
  end

  defp one(policy, observation) do
    {decision, _state} = Scaler.decide(Scaler.new(), policy, observation, 0)
    decision
  end

  defp at_once(options), do: Keyword.merge([stabilization: 0, policies: [{:percent, 10_000, period: 1}]], options)

  describe "the formula, as Kubernetes documents it" do
    test "twice the target doubles the pool, half of it halves the pool" do
      policy = policy(scale_down: [stabilization: 0])
      assert one(policy, seen(4, 2.0)).wanted == 8
      assert one(policy, seen(4, 0.5)).wanted == 2
    end

    test "fifty workers at 90 % of something whose target is 75 % become sixty" do
      assert one(policy(metrics: [utilization: 0.75]), %{size: 50, ready: 50, metrics: %{utilization: 0.9}}).wanted ==
               60
    end

    test "what is needed is rounded up" do
      assert one(policy(), seen(3, 1.2)).wanted == 4
    end

    test "a whole number is not rounded up for the sake of a float's last digit" do
      assert one(policy(metrics: [ongoing: 0.7]), %{size: 1, ready: 1, metrics: %{ongoing: 2.1}}).wanted == 3
    end

    test "of the whole pool's requests each worker is to have its target" do
      assert one(policy(metrics: [ongoing: 2]), %{size: 3, ready: 3, metrics: %{ongoing: 9}}).wanted == 5
      assert one(policy(metrics: [arrival_rate: 10]), %{size: 3, ready: 3, metrics: %{arrival_rate: 49.5}}).wanted == 5
    end
  end

  describe "tolerance" do
    test "a ratio within it moves nothing, one beyond it does" do
      assert one(policy(), seen(10, 1.1)).wanted == 10
      assert one(policy(), seen(10, 1.11)).wanted == 12
      down = policy(scale_down: [stabilization: 0])
      assert one(down, seen(10, 0.9)).wanted == 10
      assert one(down, seen(10, 0.89)).wanted == 9
    end

    test "each direction may have its own" do
      policy = policy(scale_up: [tolerance: 0], scale_down: [stabilization: 0, tolerance: 0.3])
      assert one(policy, seen(10, 1.01)).wanted == 11
      assert one(policy, seen(10, 0.75)).wanted == 10
      assert one(policy, seen(10, 0.65)).wanted == 7
    end
  end

  describe "several metrics" do
    @two [metrics: [ongoing: 1, queue_wait: 50], scale_down: [stabilization: 0]]

    test "the largest wish counts" do
      assert one(policy(@two), %{size: 4, ready: 4, metrics: %{ongoing: 2, queue_wait: 100}}).wanted == 8
      assert one(policy(@two), %{size: 4, ready: 4, metrics: %{ongoing: 6, queue_wait: 10}}).wanted == 6
    end

    test "one that cannot be read forbids to shrink, and not to grow" do
      decision = one(policy(@two), %{size: 4, ready: 4, metrics: %{ongoing: 1, queue_wait: nil}})
      assert {decision.wanted, Decision.limited_by(decision)} == {4, [:missing]}
      assert one(policy(@two), %{size: 4, ready: 4, metrics: %{ongoing: 7}}).wanted == 7
    end

    test "if none can be read nothing moves" do
      assert one(policy(@two), %{size: 4, ready: 4, metrics: %{}}).wanted == 4
    end
  end

  describe "workers without a reading" do
    test "use nothing when the rest says more" do
      assert one(policy(), %{size: 4, ready: 4, metrics: %{load: {3.0, 2}}}).wanted == 6
    end

    test "use all that is meant for them when the rest says fewer" do
      assert one(policy(scale_down: [stabilization: 0]), %{size: 10, ready: 10, metrics: %{load: {0.5, 6}}}).wanted == 7
    end

    test "never turn the wish round" do
      decision = one(policy(scale_down: [stabilization: 0]), %{size: 4, ready: 4, metrics: %{load: {1.5, 2}}})
      assert {decision.wanted, hd(decision.wishes).verdict} == {4, :reversed}
    end

    test "that are not ready yet use nothing, and do not make the pool shrink while it grows" do
      assert one(policy(), %{size: 6, ready: 4, metrics: %{load: 2.0}}).wanted == 8
      assert one(policy(scale_down: [stabilization: 0]), %{size: 8, ready: 4, metrics: %{load: 1.5}}).wanted == 8
    end

    test "are all of them while none is ready" do
      assert one(policy(), %{size: 4, ready: 0, metrics: %{load: 0.0}}).wanted == 4
    end
  end

  describe "stabilization" do
    test "a pool shrinks to the greatest wish of the window, when the window is over" do
      steps = [
        {0, 10, 1.0},
        {60_000, 10, 0.3},
        {120_000, 10, 0.6},
        {299_999, 10, 0.2},
        {300_000, 10, 0.2},
        {420_000, :last, 0.3}
      ]

      assert walk(policy(), steps) == [10, 10, 10, 10, 6, 2]
    end

    test "a pool grows to the least wish of its window" do
      policy = policy(scale_up: [stabilization: 30_000])

      assert walk(policy, [{0, 4, 1.0}, {1_000, 4, 2.0}, {20_000, 4, 1.5}, {29_999, 4, 2.0}, {31_000, 4, 2.0}]) == [
               4,
               4,
               4,
               4,
               6
             ]
    end

    test "the size that is found at first counts as wished for" do
      assert walk(policy(), [{0, 10, 0.1}, {299_999, 10, 0.1}, {300_000, 10, 0.1}]) == [10, 10, 1]
    end
  end

  describe "policies" do
    test "by default a pool doubles or gains four within 15 s, whichever is more" do
      steps = [
        {0, 1, 100.0},
        {7_000, :last, 100.0},
        {15_000, :last, 100.0},
        {29_999, :last, 100.0},
        {30_000, :last, 100.0}
      ]

      assert walk(policy(), steps) == [5, 5, 10, 10, 20]
    end

    test "a tenth or four workers a minute, whichever is more: 80 become 72, 64, 57" do
      policy =
        policy(scale_down: [stabilization: 0, policies: [{:count, 4, period: 60_000}, {:percent, 10, period: 60_000}]])

      assert walk(policy, for(n <- 0..3, do: {n * 60_000, if(n == 0, do: 80, else: :last), 0.01})) == [72, 64, 57, 51]
      assert walk(policy, [{0, 30, 0.01}, {60_000, :last, 0.01}]) == [26, 22]
    end

    test "what was removed within a period counts as there when it began" do
      policy = policy(scale_down: [stabilization: 0, policies: [{:percent, 10, period: 60_000}]])
      steps = for second <- [0, 10, 20, 59, 60], do: {second * 1_000, if(second == 0, do: 80, else: :last), 0.01}
      assert walk(policy, steps) == [72, 72, 72, 72, 64]
    end

    test "percents are rounded for the move: up on the way up, down on the way down" do
      half = [{:percent, 50, period: 60_000}]
      assert one(policy(scale_up: [policies: half]), seen(3, 9.0)).wanted == 5
      assert one(policy(scale_down: [policies: half, stabilization: 0]), seen(3, 0.1)).wanted == 1
    end

    test "nine hundred percent a minute: 1, 10, 100, 1000" do
      policy = policy(scale_up: [policies: [{:percent, 900, period: 60_000}]])
      assert walk(policy, for(n <- 0..2, do: {n * 60_000, if(n == 0, do: 1, else: :last), 99.0})) == [10, 100, 1_000]
    end

    test "select: :min takes the policy that allows least, :disabled none" do
      both = [{:count, 4, period: 60_000}, {:percent, 100, period: 60_000}]
      assert one(policy(scale_up: [policies: both, select: :min]), seen(10, 9.0)).wanted == 14
      assert one(policy(scale_up: [select: :disabled]), seen(10, 9.0)).wanted == 10
      assert one(policy(scale_down: [select: :disabled, stabilization: 0]), seen(10, 0.1)).wanted == 10
    end

    test "changes within a period add up, however many ticks they are made in" do
      policy = policy(scale_up: [policies: [{:count, 4, period: 15_000}]])
      steps = for second <- 0..20, do: {second * 1_000, if(second == 0, do: 10, else: :last), (11 + second) / 10}
      wanted = walk(policy, steps)
      assert Enum.at(wanted, 14) <= 14
      assert Enum.at(wanted, 20) <= 18
    end
  end

  test "a cool-down rests after any change" do
    policy = policy(cooldown: [up: 60_000, down: 120_000], scale_down: [stabilization: 0])
    steps = [{0, 4, 2.0}, {59_999, :last, 1.5}, {60_000, :last, 1.5}, {179_999, :last, 0.5}, {180_000, :last, 0.5}]
    assert walk(policy, steps) == [8, 8, 12, 12, 6]
  end

  describe "quotas" do
    test "a pool does not grow further than a quota leaves work for" do
      decision = one(policy(), seen(4, 3.0, %{headroom: 2, limited_by: :memory}))
      assert {decision.wanted, Decision.limited_by(decision)} == {6, [:policies, :quota]}
      assert Decision.explain(decision) =~ "quota: 6, memory allows 2 more"
    end

    test "one that refuses requests lets it not grow at all, and shrink as ever" do
      assert one(policy(), seen(4, 3.0, %{limited_by: :quota})).wanted == 4
      assert one(policy(scale_down: [stabilization: 0]), seen(4, 0.5, %{limited_by: :quota})).wanted == 2
    end

    test "none shrinks a pool" do
      assert Headroom.least(10, workers: 4) == {0, :workers}
      assert one(policy(), seen(4, 1.0, %{headroom: 0})).wanted == 4
    end

    test "of a rate leaves the workers that it can keep busy" do
      # Ten requests a second of 700 ms keep seven workers busy: ten at 70 %.
      assert Headroom.least(4, requests: {600, 700}) == {6, :requests}
    end
  end

  describe "bounds" do
    test "hold whatever else is said" do
      assert one(policy(max: 5), seen(4, 9.0)).wanted == 5
      assert one(policy(min: 3, scale_down: [stabilization: 0]), seen(4, 0.0)).wanted == 3
      assert one(policy(max: 10, scale_down: [select: :disabled]), seen(20, 1.0)).wanted == 10
      assert one(policy(min: 6, scale_up: [select: :disabled]), seen(2, 1.0)).wanted == 6
    end
  end

  describe "look-back" do
    test "the mean over the time counts, not the last reading" do
      policy = policy(look_back: 10_000, scale_up: at_once([]))
      assert walk(policy, [{0, 4, 1.0}, {9_000, 4, 1.0}, {10_000, 4, 3.0}]) == [4, 4, 5]
    end

    test "means are of what is needed: readings from when the pool was smaller do not make it grow twice" do
      policy = policy(metrics: [utilization: 0.5], look_back: 10_000, scale_up: at_once([]))

      steps = for second <- 0..20, do: second * 1_000
      # The load is 3.6 workers' worth throughout.
      {sizes, _} =
        Enum.map_reduce(steps, {Scaler.new(), 4}, fn now, {state, size} ->
          {decision, state} =
            Scaler.decide(state, policy, %{size: size, ready: size, metrics: %{utilization: 3.6 / size}}, now)

          {decision.wanted, {state, decision.wanted}}
        end)

      assert Enum.uniq(sizes) == [8]
    end
  end

  describe "a forecast" do
    setup do
      policy = policy(max: 50, forecast: [bucket: 1_000, season: 20_000, lead: 3_000])
      needs = fn second -> if rem(second, 20) in 10..14, do: 20.0, else: 2.0 end

      history =
        Enum.reduce(0..100, Forecast.History.new(policy.forecast), &Forecast.History.record(&2, &1 * 1_000, needs.(&1)))

      {:ok, policy: policy, forecast: Forecast.review(history, policy)}
    end

    test "lets the pool grow before it has to", %{policy: policy, forecast: forecast} do
      assert forecast.mode == :active
      state = Scaler.put_forecast(Scaler.new(), forecast)

      {decision, _} =
        Scaler.decide(
          state,
          %{policy | scale_up: %{policy.scale_up | policies: [{:count, 50, [period: 1]}]}},
          seen(2, 1.0),
          108_000
        )

      assert decision.wanted in 18..22
      assert :forecast in Decision.limited_by(decision)
      assert Decision.explain(decision) =~ "needed soon"
    end

    test "never asks for fewer than the metrics", %{policy: policy, forecast: forecast} do
      {decision, _} = Scaler.decide(Scaler.put_forecast(Scaler.new(), forecast), policy, seen(30, 1.0), 102_000)
      assert decision.wanted == 30
    end

    test "in shadow is told and not counted", %{policy: policy, forecast: forecast} do
      state = Scaler.put_forecast(Scaler.new(), %{forecast | mode: :shadow})
      {decision, _} = Scaler.decide(state, policy, seen(2, 1.0), 108_000)
      assert decision.wanted == 2
      assert decision.forecast.wish > 10
      assert Decision.explain(decision) =~ "in shadow, not counted"
    end
  end

  describe "a decision" do
    test "tells each step in a line" do
      policy = policy(max: 6)
      {_, state} = Scaler.decide(Scaler.new(), policy, seen(4, 1.0), 0)
      {decision, _} = Scaler.decide(state, policy, seen(4, 0.5), 60_000)

      assert Decision.explain(decision) == """
             at 60000 ms: 4 workers, 4 ready -> 4 (none)
               load: ceil(4 * 0.50 / 1.00) = 2 workers, ratio 0.50
               stabilization: 4, as was wished at 0 ms, within the last 300000 ms\
             """
    end

    test "is a plain map for a log" do
      map = Decision.to_map(one(policy(max: 6), seen(4, 3.0)))
      assert %{at: 0, size: 4, wanted: 6, move: :up, limited_by: [:policies, :bounds], forecast: nil} = map
      assert [%{metric: :load, formula: "ceil(4 * 3.00 / 1.00) = 12", wish: 12, ratio: 3.0}] = map.metrics
      assert map.readings == %{load: 3.0}

      assert %{rule: :policies, from: 12, to: 8, why: %{limit: 8, policy: %{kind: :percent, value: 100}}} =
               Enum.at(map.steps, 4)

      assert plain?(map)
    end

    test "is the same for the same arguments" do
      assert Scaler.decide(Scaler.new(), policy(), seen(4, 3.0), 7) ==
               Scaler.decide(Scaler.new(), policy(), seen(4, 3.0), 7)
    end

    defp plain?(%{} = map), do: Enum.all?(map, fn {key, value} -> is_atom(key) and plain?(value) end)
    defp plain?(list) when is_list(list), do: Enum.all?(list, &plain?/1)
    defp plain?(value), do: is_atom(value) or is_number(value) or is_binary(value)
  end
end

defmodule Kantoku.Pool.Scaler.WalkTest do
  use ExUnit.Case, async: true

  alias Kantoku.Pool.Scaler
  alias Kantoku.Pool.Scaler.{Decision, Policy}

  @walks 150
  @steps 250

  # Random policies under random loads, the same in each run. Workers become ready some ticks after they were asked for.
  defp walk(seed) do
    :rand.seed(:exsss, seed)
    policy = random_policy()

    {decisions, {state, _size, _ready, _now}} =
      Enum.map_reduce(1..@steps, {Scaler.new(), any(1..40), 1, any(-1_000..1_000)}, fn _, {state, size, ready, now} ->
        ready = min(size, any(ready..(ready + 3)))
        {decision, state} = Scaler.decide(state, policy, random_observation(size, ready), now)
        {decision, {state, decision.wanted, min(ready, decision.wanted), now + any(1..20_000)}}
      end)

    {policy, decisions, state}
  end

  defp random_policy do
    min = any(1..5)

    Policy.new!(
      min: min,
      max: min + any(0..60),
      metrics: Enum.random([[ongoing: 0.7], [ongoing: 1, utilization: 0.6], [utilization: 0.5, queue_wait: 50]]),
      tolerance: Enum.random([0, 0.1, 0.3]),
      look_back: Enum.random([0, 10_000]),
      scale_up: [stabilization: Enum.random([0, 30_000]), policies: random_rates(), select: Enum.random([:max, :min])],
      scale_down: [
        stabilization: Enum.random([0, 60_000, 300_000]),
        policies: random_rates(),
        select: Enum.random([:max, :min])
      ],
      cooldown: [up: Enum.random([0, 5_000]), down: Enum.random([0, 60_000])],
      forecast: :off
    )
  end

  defp random_rates do
    for _ <- 1..any(1..3), do: {Enum.random([:percent, :count]), any(1..100), period: any(1..60) * 1_000}
  end

  defp random_observation(size, ready) do
    %{
      size: size,
      ready: ready,
      headroom: Enum.random([:infinity, :infinity, any(0..5)]),
      metrics: %{
        ongoing: Enum.random([nil, any(0..60), any(0..60) / 1]),
        utilization: Enum.random([nil, {:rand.uniform(), any(0..ready)}, :rand.uniform()]),
        queue_wait: Enum.random([nil, any(0..200)])
      }
    }
  end

  defp any(range), do: Enum.random(range)

  test "the bounds hold after every step" do
    for seed <- 1..@walks, {policy, decisions, _} = walk(seed), decision <- decisions do
      assert decision.wanted in policy.min..policy.max
    end
  end

  test "after growing nothing shrinks within the window of shrinking, and the other way round" do
    for seed <- 1..@walks, {policy, decisions, _} = walk(seed), policy.min != policy.max do
      moves = for decision <- decisions, move = Decision.move(decision), move != :none, do: {move, decision}

      for {{before, one}, {after_it, two}} <- Enum.zip(moves, Enum.drop(moves, 1)),
          before != after_it,
          bounds?(one) == false do
        window = if after_it == :down, do: policy.scale_down.stabilization, else: policy.scale_up.stabilization
        assert two.at - one.at >= window, "seed #{seed}: #{before} at #{one.at}, #{after_it} at #{two.at}"
      end
    end
  end

  # A move that the bounds forced was not wished for.
  defp bounds?(decision), do: :bounds in Decision.limited_by(decision)

  test "no move is further than the policies allow in their period" do
    for seed <- 1..@walks, {policy, decisions, _} = walk(seed) do
      for decision <- decisions, decision.wanted > decision.size, not bounds?(decision) do
        ceilings =
          for {kind, value, [period: period]} <- policy.scale_up.policies,
              do: ceiling(kind, value, period, decision, decisions)

        select = if policy.scale_up.select == :max, do: Enum.max(ceilings), else: Enum.min(ceilings)
        assert decision.wanted <= max(select, decision.size)
      end
    end
  end

  # What the pool had at the period's start, from the decisions alone; changes count a little longer than the period.
  defp ceiling(kind, value, period, decision, decisions) do
    changes =
      for before <- decisions,
          before.at < decision.at,
          before.at > decision.at - period,
          do: before.wanted - before.size

    start = decision.size - Enum.sum(changes)
    # Removals that are dated late make the start larger by at most what was removed in a twentieth of a period before.
    slack =
      for before <- decisions,
          before.at <= decision.at - period,
          before.at > decision.at - period - 3_000,
          do: max(0, before.size - before.wanted)

    start = start + Enum.sum(slack)
    if kind == :count, do: start + value, else: ceil(start * (1 + value / 100))
  end

  test "quotas are kept, and nothing moves without a reading" do
    for seed <- 1..@walks, {policy, decisions, _} = walk(seed), decision <- decisions do
      case decision.observation.headroom do
        :infinity -> :ok
        headroom -> assert decision.wanted <= max(decision.size + headroom, policy.min)
      end

      if Enum.any?(decision.wishes, &(&1.verdict == :missing)), do: assert(hd(tl(decision.steps)).to >= decision.size)
    end
  end

  test "what a scaler remembers does not grow with the number of its ticks" do
    policy = Policy.new!(max: 50)
    :rand.seed(:exsss, 1)

    words =
      for count <- [2_000, 60_000] do
        {state, _} =
          Enum.reduce(1..count, {Scaler.new(), 5}, fn tick, {state, size} ->
            observation = %{size: size, ready: size, metrics: %{ongoing: any(0..40)}}
            {decision, state} = Scaler.decide(state, policy, observation, tick * 100)
            {state, decision.wanted}
          end)

        :erts_debug.flat_size(state)
      end

    assert Enum.max(words) < 1_500
  end
end

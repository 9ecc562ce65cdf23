defmodule Kantoku.Api.DecidedTest do
  use ExUnit.Case, async: true

  alias Kantoku.Api.Decided
  alias Kantoku.Pool.Scaler

  # What was decided of it at each of these times (ms) with so many requests ongoing, in words; `seen` is what differs.
  defp words(policy, observations) do
    policy = Scaler.Policy.new!([look_back: 0, forecast: :off] ++ policy)

    {said, _state} =
      Enum.map_reduce(observations, Scaler.new(), fn {at, seen}, state ->
        {decision, state} = Scaler.decide(state, policy, observed(seen), at)
        {decision |> Scaler.Decision.to_map() |> Decided.words(), state}
      end)

    List.last(said)
  end

  defp observed(seen), do: Map.merge(%{size: 4, ready: 4, metrics: %{ongoing: 12}}, Map.new(seen))

  test "a decision says what was seen, what that needs, and nothing of rules that changed nothing" do
    assert words([max: 20, metrics: [ongoing: 2]], [{0, []}]) ==
             ["requests in work or waiting: 12 now, meant to be 2 for each worker; of late that needs 6 workers, so 6"]

    assert words([max: 20, metrics: [ongoing: 3]], [{0, []}]) ==
             [
               "requests in work or waiting: 12 now, meant to be 3 for each worker; of late that needs 4 workers, near enough to 4"
             ]
  end

  test "a metric that is not known, and what comes of it, are told" do
    assert words([max: 20, metrics: [ongoing: 2, queue_wait: 50]], [{0, metrics: %{ongoing: 2}}]) == [
             "requests in work or waiting: 2 now, meant to be 2 for each worker; of late that needs 1 worker, so 1",
             "ms that requests wait: not known",
             "not fewer than 4: something that counts is not known"
           ]
  end

  test "rules are told by what they made of it" do
    assert [_metric, "5, which is the most it may have"] = words([max: 5, metrics: [ongoing: 2]], [{0, []}])

    assert [_metric, "4, as was needed at 0: for 300 s that counts too"] =
             words([max: 20, metrics: [ongoing: 2]], [{0, []}, {1_000, metrics: %{ongoing: 2}}])

    slow = [max: 20, metrics: [ongoing: 2], scale_up: [policies: [{:count, 1, period: 15_000}]]]
    assert [_metric, "not more than 5 for now: 1 in 15 s is as fast as it may go"] = words(slow, [{0, []}])

    scarce = [max: 20, metrics: [ongoing: 2]]
    assert [_metric, told] = words(scarce, [{0, headroom: 1, limited_by: :run_queue}])
    assert told == "5: by run queue only 1 more may come"
  end
end

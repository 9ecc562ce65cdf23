defmodule Kantoku.Domain.LedgerTest do
  use ExUnit.Case, async: true

  alias Kantoku.Domain.{Definition, Ledger}

  defp policy(opts \\ []), do: Definition.new!([name: :d] ++ opts).policy

  # Crashes one after the other, each after `up` ms of life; the decisions.
  defp crash(times, policy, up \\ 0, chance \\ 1.0) do
    {decisions, ledger} =
      Enum.map_reduce(1..times, nil, fn n, ledger -> Ledger.charge(ledger, n * (up + 1), up, policy, chance) end)

    {decisions, ledger}
  end

  test "the first restart is at once, the next ones wait twice as long each time, up to the cap" do
    {decisions, _} = crash(12, policy(budget: [crashes: :infinity]))
    delays = for {:start, delay} <- decisions, do: delay
    assert delays == [0, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000]
  end

  test "jitter is full: any share of the delay, none beyond it" do
    policy = policy(backoff: [base: 1_000])

    for chance <- [0.0, 0.25, 0.5, 1.0] do
      {[_, {:start, delay}], _} = crash(2, policy, 0, chance)
      assert delay == round(1_000 * chance)
    end
  end

  test "after a healthy stretch a crash counts as the first again" do
    policy = policy(backoff: [reset_after: 5_000], budget: [crashes: :infinity])
    assert {[{:start, 0}, {:start, 0}, {:start, 0}], _} = crash(3, policy, 5_000)
    assert {[{:start, 0}, {:start, 200}, {:start, 400}], _} = crash(3, policy, 4_999)
  end

  test "the budget's crashes are forgiven, one more within the window parks" do
    {decisions, _} = crash(11, policy())
    assert Enum.count(decisions, &match?({:start, _}, &1)) == 10
    assert List.last(decisions) == {:park, 60_000}
  end

  test "the window slides: crashes that are old enough do not count" do
    policy = policy(budget: [crashes: 2, within: 1_000])
    {_, ledger} = Ledger.charge(nil, 0, 0, policy, 1.0)
    {_, ledger} = Ledger.charge(ledger, 900, 0, policy, 1.0)
    assert {{:start, _}, ledger} = Ledger.charge(ledger, 1_000, 0, policy, 1.0)
    assert {{:park, _}, _} = Ledger.charge(ledger, 1_500, 0, policy, 1.0)
  end

  test "each park without a healthy stretch between lasts twice as long, up to the cap" do
    policy = policy(budget: [crashes: 1], unpark: [after: 100, cap: 300])
    {decisions, _} = crash(8, policy)
    assert for({:park, delay} <- decisions, do: delay) == [100, 200, 300, 300]
  end

  test "with unpark: :never a parked agent waits for someone" do
    {decisions, _} = crash(11, policy(unpark: :never))
    assert List.last(decisions) == {:park, :never}
  end

  test "a thousand crashes leave a ledger no larger than the budget" do
    {_, {_level, times, _parks}} = crash(1_000, policy(budget: [crashes: 5]))
    assert length(times) <= 5
    assert {_, {_, [], _}} = crash(1_000, policy(budget: [crashes: :infinity]))
  end

  test "with on_exhausted: :escalate the agent itself is never parked, but still waits" do
    {decisions, _} = crash(50, policy(on_exhausted: :escalate))
    assert [{:start, 0}, {:start, 200} | rest] = decisions
    assert Enum.all?(rest, &match?({:start, _}, &1))
  end
end

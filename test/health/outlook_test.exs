defmodule Kantoku.Health.OutlookTest do
  use ExUnit.Case, async: true

  alias Kantoku.Domain.Policy
  alias Kantoku.Health.{Crashes, Outlook}

  @limit 1_000
  @horizon 60_000

  # Looks a second apart.
  defp seen(values, outlook \\ nil) do
    values
    |> Enum.with_index()
    |> Enum.reduce(outlook, fn {value, at}, outlook -> Outlook.look(outlook, at * 1_000, value, @limit, @horizon) end)
  end

  defp risk(values), do: with(%{risk: risk} <- seen(values), do: risk)

  defp policy(crashes) do
    options = [budget: [crashes: crashes, within: 60_000]]
    options |> Kantoku.Options.validate!(Policy.schema(), "test") |> Policy.new()
  end

  test "what rises steadily is at risk, and when it will be there is told" do
    assert %{in: ms, value: 500, limit: @limit, rise: rise} = risk(Enum.map(1..20, &(&1 * 25)))
    assert_in_delta ms, 20_000, 1
    assert_in_delta rise, 25.0, 1.0e-6
  end

  test "what is beyond its limit is at risk at once" do
    assert %{in: 0, value: 1_200} = risk([10, 1_200])
  end

  test "what stays, falls, or is far from its limit is not" do
    assert risk(List.duplicate(900, 40)) == nil
    assert risk(Enum.map(40..1//-1, &(&1 * 20))) == nil
    assert risk(Enum.map(1..20, &(&1 * 10))) == nil
  end

  test "one step up, however high, is none" do
    for before <- 1..16, do: assert(risk(List.duplicate(50, before) ++ List.duplicate(950, 16)) == nil)
  end

  test "what rises too slowly to be there within the horizon is none" do
    assert risk(Enum.map(1..40, &(300 + &1))) == nil
  end

  test "a slow rise among many looks is seen by its coarse window" do
    values = for at <- 1..160, do: 300 + 4 * at + rem(at * 7, 40)
    assert %{in: ms} = risk(values)
    assert ms < 60_000
  end

  test "from how high it came back once it may be expected to come back again" do
    tooth = Enum.map(1..16, &(&1 * 50))
    refute risk(tooth) == nil
    {before, _rest} = Enum.split(tooth, 10)
    once = tooth ++ [40]
    assert risk(once ++ before) == nil
    for _ <- 1..3, do: assert(risk(once ++ tooth ++ [40] ++ before) == nil)
    refute risk(once ++ Enum.map(1..20, &(&1 * 45))) == nil
  end

  test "noise is at risk for some looks at most, in five hundred series" do
    for _ <- 1..500 do
      values = for _ <- 1..60, do: 300 + :rand.uniform(500)
      found = Enum.count(1..60, &(risk(Enum.take(values, &1)) != nil))

      # Before it came back for the first time it cannot be told from a rise: 18 times at most in a hundred thousand series.
      assert found <= 24
    end
  end

  test "it is over after three looks without it" do
    outlook = seen(Enum.map(1..16, &(&1 * 50)))
    looks = fn count -> Enum.reduce(17..(16 + count), outlook, &Outlook.look(&2, &1 * 1_000, 100, @limit, @horizon)) end
    assert looks.(2).risk != nil
    assert looks.(3).risk == nil
  end

  test "who is not suspicious any more is forgotten after a while, and not before" do
    assert seen([100 | List.duplicate(1, 31)]) != nil
    assert seen([100 | List.duplicate(1, 32)]) == nil
  end

  test "what was garbage is no risk, and what is left is" do
    before = seen(Enum.map(1..11, &(&1 * 25)))
    assert before.risk == nil or before.risk.value > 0
    outlook = Outlook.doubted(seen(Enum.map(1..16, &(&1 * 50))), %Outlook{})
    assert outlook.doubt == :raised
    assert %{risk: nil, ceiling: 800, doubt: nil} = Outlook.weighed(outlook, 16_000, 60, @limit)
    assert %{risk: %{}, doubt: nil} = Outlook.weighed(outlook, 16_000, 790, @limit)
  end

  test "crashes that come closer together are a risk once half the budget is spent" do
    policy = policy(8)
    assert %{in: ms, value: 5, limit: 8} = Crashes.risk([10_000, 9_500, 8_500, 6_500, 2_500], policy, 10_000, @horizon)
    assert_in_delta ms, 4_000, 1
    assert Crashes.risk([10_000, 9_500, 8_500], policy, 10_000, @horizon) == nil
    # Further and further apart, and long ago.
    assert Crashes.risk([10_000, 6_000, 3_500, 2_500, 2_000], policy, 10_000, @horizon) == nil
    assert Crashes.risk([10_000, 9_500, 8_500, 6_500, 2_500], policy, 13_000, @horizon) == nil
    endless = policy(:infinity)
    assert Crashes.risk([10_000, 9_500, 8_500, 6_500, 2_500], endless, 10_000, @horizon) == nil
  end
end

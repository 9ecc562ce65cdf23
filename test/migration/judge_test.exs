defmodule Kantoku.Migration.JudgeTest do
  use ExUnit.Case, async: true
  alias Kantoku.Migration.{Judge, Reversal, Tally}

  defp rules(opts \\ []), do: Judge.rules!(opts, "test")

  defp tally(old, new) do
    tally = Tally.new(0)
    for {side, {durations, errors}} <- [old: old, new: new], do: fill(tally, side, durations, errors)
    tally
  end

  defp fill(tally, side, durations, errors) do
    Enum.each(durations, &Tally.record(tally, side, :ok, &1))
    for _ <- List.duplicate(nil, errors), do: Tally.record(tally, side, :error, 0)
  end

  defp judge(tally, rules), do: Judge.judge(Tally.read(tally, :new), Tally.read(tally, :old), rules)

  defp spread(around, count), do: for(n <- 1..count, do: div(around * (50 + rem(n * 37, 100)), 100))

  test "too few calls are no verdict" do
    assert judge(tally({spread(1_000, 500), 0}, {[], 99}), rules()) == :few
    assert judge(tally({[], 0}, {[], 5_000}), rules()) == :few
  end

  test "sides that are alike are fit, and so is a canary that is better" do
    assert judge(tally({spread(1_000, 500), 5}, {spread(1_000, 500), 5}), rules()) == :fit
    assert judge(tally({spread(50_000, 500), 50}, {spread(1_000, 500), 0}), rules()) == :fit
  end

  test "one that fails more is worse, with both figures" do
    assert {:worse, %Reversal{measure: :errors} = why} =
             judge(tally({spread(1_000, 990), 10}, {spread(1_000, 160), 40}), rules())

    assert %{canary: 0.2, control: 0.01, canary_samples: 200, control_samples: 1_000, margin: 0.01} = why
    assert Reversal.explain(why) =~ "20.0 % of 200 calls failed, against 1.0 % of 1000"
  end

  test "one that fails more by what chance does is fit" do
    assert judge(tally({spread(1_000, 990), 10}, {spread(1_000, 97), 3}), rules()) == :fit
    # As much more is no chance any more with many.
    assert {:worse, _why} = judge(tally({spread(1_000, 9_900), 100}, {spread(1_000, 9_700), 300}), rules())
  end

  test "one that fails more within the margin is fit" do
    tally = tally({spread(1_000, 9_900), 100}, {spread(1_000, 9_700), 300})
    assert judge(tally, rules(error_margin: 0.03)) == :fit
  end

  test "one that is slower is worse, with both figures" do
    assert {:worse, %Reversal{measure: :latency} = why} =
             judge(tally({spread(2_000, 500), 0}, {spread(20_000, 200), 0}), rules())

    assert why.canary > 20_000 and why.control < 4_000
    assert Reversal.explain(why) =~ "95.0 % of 200 calls took up to"
  end

  test "one that is slower within the margin, or by less than the floor, is fit" do
    assert judge(tally({spread(20_000, 500), 0}, {spread(25_000, 500), 0}), rules()) == :fit
    assert judge(tally({spread(20, 500), 0}, {spread(400, 500), 0}), rules()) == :fit
    assert {:worse, _why} = judge(tally({spread(20, 500), 0}, {spread(400, 500), 0}), rules(latency_floor: 0))
  end

  test "what fails at once does not make a side quick" do
    tally = tally({spread(20_000, 500), 0}, {spread(20_000, 500), 500})
    assert {:worse, %Reversal{measure: :errors}} = judge(tally, rules())
    assert Tally.at_rank(Tally.read(tally, :new), 1) >= 10_000
  end

  test "chance takes a canary back no more often than promised" do
    :rand.seed(:exsss, {1, 2, 3})

    verdicts =
      for _ <- 1..1_000 do
        draw = fn -> Enum.count(1..200, fn _ -> :rand.uniform() < 0.05 end) end
        {old, new} = {draw.(), draw.()}
        judge(tally({spread(1_000, 200 - old), old}, {spread(1_000, 200 - new), new}), rules(error_margin: 0))
      end

    # One in 700, at 3 standard errors.
    assert Enum.count(verdicts, &match?({:worse, _why}, &1)) <= 5
  end

  test "a reading covers half of the window to all of it" do
    tally = tally({[10, 20], 1}, {[], 0})
    Tally.turn(tally, 29_999, 60_000)
    assert %{calls: 3, errors: 1} = Tally.read(tally, :old)
    Tally.turn(tally, 30_000, 60_000)
    fill(tally, :old, [30], 0)
    assert %{calls: 4, errors: 1} = Tally.read(tally, :old)
    Tally.turn(tally, 60_000, 60_000)
    assert %{calls: 1, errors: 0} = Tally.read(tally, :old)
  end

  test "a latency is read at most an eighth above what it was" do
    for value <- [0, 1, 7, 8, 9, 15, 16, 100, 1_000, 12_345, 1_000_000, 60_000_000] do
      tally = tally({[value], 0}, {[], 0})
      read = tally |> Tally.read(:old) |> Tally.at_rank(1)
      assert read >= value and read <= value * 1.13
    end
  end

  test "a bad rule names the option, the value and what is expected" do
    assert_raise ArgumentError, ~r/option :error_margin: expected a number from 0 to 1, got: 5/, fn ->
      rules(error_margin: 5)
    end

    assert_raise ArgumentError, ~r/option :latency_margin: expected a number of 1 or more, got: 0.5/, fn ->
      rules(latency_margin: 0.5)
    end
  end
end

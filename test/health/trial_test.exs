defmodule Kantoku.Health.TrialTest do
  # What is found late where others use the machine is not the question here, so these run alone.
  use ExUnit.Case, async: false

  alias Kantoku.EachEngine
  alias Kantoku.Health.Trial
  alias Kantoku.Health.Trial.{Report, Score}

  test "health takes two hundred agents for what they are, on either engine" do
    trials = for engine <- EachEngine.engines(), do: {engine, Task.async(fn -> trial(engine) end)}

    for {engine, trial} <- trials do
      %{score: score} = result = Task.await(trial, :infinity)
      assert score.restarted == 0, "#{engine}: #{Report.text(result)}"
      assert Score.accuracy(score) >= 97.0, "#{engine}: #{Report.text(result)}"
    end
  end

  defp trial(engine) do
    quiet = fn _text -> :ok end
    Trial.run(agents: 200, seed: 7, period: 600, ranges: :tuning, engine: engine, progress: quiet)
  end
end

defmodule Kantoku.Health.TrialPartsTest do
  use ExUnit.Case, async: true

  alias Kantoku.Health.Trial.{Parameters, Report, Score, Stage, Verdict}

  test "the ranges that it is judged on have nothing in common with those it was tuned on" do
    {tuning, held_out} = {Parameters.ranges(:tuning), Parameters.ranges(:held_out)}
    assert Map.keys(tuning) == Map.keys(held_out)
    for {name, {_least, most}} <- tuning, {least, _most} = held_out[name], do: assert(most <= least, inspect(name))
  end

  test "a seed draws the same agents, equally many of each class, and pairs them" do
    draw = fn seed -> :rand.seed(:exsss, seed) && Stage.draw(:held_out, 4) end
    agents = draw.(5)
    assert agents == draw.(5) and agents != draw.(6)
    assert Enum.frequencies_by(agents, & &1.class) == Map.new(Parameters.classes(), &{&1, 4})
    partners = for %{class: :deadlocked, id: id, partner: partner} <- agents, into: %{}, do: {id, partner}
    for {id, partner} <- partners, do: assert(partners[partner] == id)
    assert agents |> Enum.map(& &1.id) |> Enum.sort() == Enum.to_list(1..40)
  end

  test "a verdict follows from what was said" do
    well = %Verdict{readings: [:busy, :idle, :busy]}
    assert Verdict.of(well) == :busy
    assert Verdict.of(%Verdict{}) == :other
    assert Verdict.of(%{well | signs: [:memory, :mailbox]}) == :flooded
    assert Verdict.of(%{well | signs: [:memory]}) == :leaking
    assert Verdict.of(%{well | signs: [:restarts]}) == :other
    assert Verdict.of(%{well | crashed: true}) == :killed
    assert Verdict.of(%{well | stuck: %{over: 5, doing: :stands}}) == :standing
    assert Verdict.of(%{well | stuck: %{over: 5, doing: :runs}}) == :looping
    assert Verdict.of(%{well | stuck: %{waits_for: self()}}) == :deadlocked
    assert Verdict.of(%{well | probe: :timeout}) == :slow_probe
    assert Verdict.reading(%{state: :unknown, busy: nil}) == :other
  end

  test "marks that are missed are named" do
    well =
      for class <- Parameters.classes(), _ <- 1..100, do: %{class: class, verdict: class, delay: nil, restarted: :no}

    assert Score.missed(Score.of(well)) == []
    late = [%{class: :looping, verdict: :looping, delay: 2.5, restarted: :beyond}]

    wrong =
      [%{class: :busy, verdict: :looping, delay: nil, restarted: :within}] ++
        List.duplicate(%{hd(well) | verdict: :leaking}, 2)

    score = Score.of(well ++ late ++ wrong)
    missed = Score.missed(score)
    assert Enum.any?(missed, &(&1 =~ "recall of idle: 98.04"))
    assert Enum.any?(missed, &(&1 =~ "looping found 2.50 periods after"))
    assert Enum.any?(missed, &(&1 =~ "overall: 99.70"))
    assert "1 agents within their limits were restarted" in missed
    assert {precision, 100.0} = Score.foresight(score)
    assert_in_delta precision, 99.01, 0.01
    text = Report.text(%{score: score, leads: [3.0], errors: [0.5], gaps: 0, agents: 1_003})
    assert text =~ ~r/^looping .* 101 /m
    assert text =~ "missed: recall of idle"
  end

  test "a percentile is the least that so many do not exceed" do
    assert Score.percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert Score.percentile([1.0], 99) == 1.0
    assert Score.percentile(Enum.map(1..100, &(&1 * 1.0)), 99) == 99.0
  end
end

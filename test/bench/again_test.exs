for name <- ~w(statistics side comparison result rounds again),
    do: Code.require_file("../../bench/elixir/harness/#{name}.ex", __DIR__)

defmodule Bench.AgainTest do
  use ExUnit.Case, async: true

  alias Bench.{Again, Comparison, Result, Rounds, Side}

  test "what is lost and doubted is played once more, beside the peer on both sides" do
    comparison = comparison([{"fast", 10}, {"slow", 5}], [{"fast", 9}, {"slow", 6}], true)
    assert [%Again{name: "race.slow", first: first, again: again, control: control}] = look(comparison)
    assert {Result.ratio(first), Result.ratio(again)} == {{5 / 6, 5 / 6, 5 / 6}, {5 / 6, 5 / 6, 5 / 6}}
    assert Result.ratio(control) == {1.0, 1.0, 1.0}
  end

  test "nothing else is" do
    assert look(comparison([{nil, 10}], [{nil, 9}], true)) == []
    assert look(comparison([{nil, 9}], [{nil, 10}], true)) == []
    assert look(comparison([{nil, 1}], [{nil, 10}], false)) == []
  end

  defp look(comparison), do: Again.look(comparison, Rounds.run(comparison, nil, 1), nil, 2)

  defp comparison(ours, theirs, doubted) do
    side = fn figures -> %Side{does: "nothing", round: fn _ -> figures end} end

    %Comparison{
      name: "race",
      unit: "1/s",
      better: :higher,
      doubted: doubted,
      ours: side.(ours),
      theirs: side.(theirs)
    }
  end
end

defmodule Kantoku.Degradation.LevelsTest do
  use ExUnit.Case, async: true
  alias Kantoku.Degradation.Levels

  @marks [70, 80, 90]

  defp levels(values, needed \\ 1) do
    {seen, _levels} =
      Enum.map_reduce(values, Levels.new(), fn value, levels ->
        levels = Levels.next(levels, value, @marks, needed)
        {levels.level, levels}
      end)

    seen
  end

  test "each level is entered at its mark" do
    assert levels([69.9, 70, 79.9, 80, 89.9, 90, 250]) == [0, 1, 1, 2, 2, 3, 3]
  end

  test "each level is left below nine tenths of its mark, and held between" do
    assert levels([95, 81, 80.9, 72, 71.9, 63, 62.9]) == [3, 3, 2, 2, 1, 1, 0]
    assert levels([65, 75, 65, 60, 65]) == [0, 1, 1, 0, 0]
  end

  test "so many in a row have to say so, both ways" do
    assert levels([95, 60, 95, 95, 60, 95, 60, 60], 2) == [0, 0, 0, 3, 3, 3, 3, 0]
  end

  test "what is not known sheds nothing" do
    assert levels([95, :unknown, 60]) == [3, 0, 0]
  end
end

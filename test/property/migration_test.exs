Code.require_file("terms.exs", __DIR__)

defmodule Kantoku.MigrationPropertyTest do
  use ExUnit.Case, async: true
  import Kantoku.Terms, only: [check: 3]
  alias Kantoku.Migration.{Mode, Tally}

  @moduletag :property

  test "of any key: once on the new side, it stays there at every higher percentage, and each answer is the same again" do
    check({:proper_types.any(), :proper_types.any(), :proper_types.list(percent())}, &steady?/1, 2_000)
  end

  defp percent, do: :proper_types.float(0.0, 100.0)

  defp steady?({subject, key, percents}) do
    percents = Enum.sort([0, 100 | percents])
    sides = Enum.map(percents, &side(&1, subject, key))
    # As a copy that another process, node or day has of it.
    again = key |> :erlang.term_to_binary() |> :erlang.binary_to_term()

    hd(sides) == :old and List.last(sides) == :new and sides == Enum.sort_by(sides, &(&1 == :new)) and
      sides == Enum.map(percents, &side(&1, subject, again))
  end

  defp side(percent, subject, key), do: Mode.side({:canary, Mode.limit(percent), Tally.new(0)}, subject, key)
end

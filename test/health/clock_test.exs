defmodule Kantoku.Health.ClockTest do
  use ExUnit.Case, async: true
  alias Kantoku.Health.Clock

  test "time that passes as expected, and up to a period more, is no gap" do
    clock = Clock.new(100, 0)
    assert {false, clock} = Clock.tick(clock, 50, 50)
    assert {false, clock} = Clock.tick(clock, 200, 50)
    refute Clock.grace?(clock, 200)
  end

  test "a gap beyond a period grants a fresh one, and no more" do
    {true, clock} = Clock.tick(Clock.new(100, 0), 60_000, 50)
    assert Clock.grace?(clock, 60_000)
    {false, clock} = Clock.tick(clock, 60_050, 50)
    assert Clock.grace?(clock, 60_099)
    refute Clock.grace?(clock, 60_100)
  end
end

defmodule Kantoku.Pool.Simulation.LoadFileTest do
  use ExUnit.Case, async: true

  alias Kantoku.Pool.Simulation.{LoadFile, Trace}

  doctest LoadFile

  @header "time,arrivals,service_time\n"

  test "columns may stand in any order, beside others, with spaces, quotes, empty lines and any end of line" do
    text = "\uFEFFregion, \"service_time\", time, arrivals\r\neu, 80, 0, 2\r\n\r\neu, 90, 1000, 4\r\n"
    assert {:ok, %Trace{rates: rates, until: 2_000.0}} = LoadFile.parse(text)
    assert rates == [{0.0, 2.0, 80.0}, {1_000.0, 4.0, 90.0}]
  end

  test "arrivals are those until the next row, whatever the distance" do
    {:ok, trace} = LoadFile.parse(@header <> "500,10,80\n2500,10,80\n3500,0,80\n")
    assert trace.rates == [{500.0, 5.0, 80.0}, {2500.0, 10.0, 80.0}, {3500.0, 0.0, 80.0}]
    assert {arrivals, _} = Trace.take(trace, trace.until)
    assert length(arrivals) == 20
  end

  @bad [
    {"", "line 1: expected the names of the columns, got nothing"},
    {"time,count\n0,1\n", "line 1: expected the columns arrivals, service_time, got: time, count"},
    {@header <> "0,1,80\n1000,-2,80\n", "line 3, column 2 (arrivals): expected a number of 0 or more, got: \"-2\""},
    {@header <> "0,1,80\n\n1s,2,80\n", "line 4, column 1 (time): expected a number, got: \"1s\""},
    {@header <> "0,1,80\n0,2,80\n", "line 3, column 1 (time): expected more than 0.0, got: 0.0"},
    {@header <> "0,1\n1,1,1\n",
     "line 2, column 3 (service_time): expected a number, got nothing: the line is too short"},
    {@header <> "0,1,80\n", "expected two lines of values or more, got: 1"}
  ]

  for {{text, why}, index} <- Enum.with_index(@bad) do
    test "what cannot be read is told with its line and column (#{index})" do
      assert LoadFile.parse(unquote(text)) == {:error, unquote(why)}
    end
  end
end

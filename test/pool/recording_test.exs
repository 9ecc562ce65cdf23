defmodule Kantoku.Pool.RecordingTest do
  use ExUnit.Case, async: true

  alias Kantoku.Pool.{Recording, Simulation}
  alias Kantoku.Pool.Scaler.Policy
  alias Kantoku.Pool.Simulation.Trace

  doctest Recording

  @first Recording.first_line()

  defp decisions do
    trace = Trace.square(low: 2, high: 10, period: 120_000, periods: 2, service: 500)
    Simulation.run(trace, Policy.new!(max: 30), decisions: :all, tick: 5_000).decisions
  end

  defp text, do: decisions() |> Recording.encode() |> IO.iodata_to_binary()

  test "what was written is read again, whole" do
    {:ok, entries} = Recording.decode(text())

    for {entry, decision} <- Enum.zip(entries, decisions()) do
      assert Map.take(entry, [:at, :size, :wanted, :observation]) ==
               Map.take(decision, [:at, :size, :wanted, :observation])
    end
  end

  test "a last line that was cut off is left out" do
    text = text()
    {:ok, entries} = Recording.decode(text)

    for cut <- [2, 3, 20, 60] do
      assert {:ok, left} = text |> binary_part(0, byte_size(text) - cut) |> Recording.decode()
      assert left == Enum.drop(entries, -1)
    end

    assert text |> String.trim_trailing("\n") |> Recording.decode() == {:ok, entries}
  end

  test "it is what file:consult reads" do
    path = Path.join(System.tmp_dir!(), "kantoku_recording_#{System.unique_integer([:positive])}")
    File.write!(path, text())
    on_exit(fn -> File.rm(path) end)
    assert {:ok, [{:kantoku_scaling, 1}, %{at: 5_000} | _]} = :file.consult(path)
  end

  test "the load that it tells of is that which was recorded" do
    {:ok, entries} = Recording.decode(text())
    {:ok, trace} = Recording.trace(entries)
    {arrivals, _} = Trace.take(trace, trace.until)
    assert_in_delta length(arrivals), 120 * 2 + 120 * 10, 2
    assert Enum.all?(arrivals, fn {_, service} -> service == 500 end)
  end

  test "where nothing came the time of service is the last one's" do
    {:ok, entries} =
      Recording.decode(@first <> entry(0, "arrival_rate => 1, service_time => 7") <> entry(1_000, "arrival_rate => 0"))

    assert {:ok, %Trace{rates: [{-1_000, 1, 7}, {0, 0, 7}]}} = Recording.trace(entries)
  end

  defp entry(at, metrics),
    do: "\#{at => #{at},size => 1,wanted => 1,observation => \#{size => 1,ready => 1,metrics => \#{#{metrics}}}}.\n"

  @bad [
    {"time,arrivals\n", "line 1: expected {kantoku_scaling,1}."},
    {@first <> "\n\#{at =>.\n", "line 3: syntax error before: '.'"},
    {@first <> "{1,2}.\n", "line 2: expected a decision, with at, size, wanted and observation"}
  ]

  for {{text, why}, index} <- Enum.with_index(@bad) do
    test "what cannot be read is told with its line (#{index})" do
      assert Recording.decode(unquote(text)) == {:error, unquote(why)}
    end
  end

  test "decisions that are out of order, or tell of no load, are refused" do
    assert {:error, "the decision at 0 ms comes after that at 5 ms"} =
             Recording.decode(@first <> entry(5, "") <> entry(0, ""))

    {:ok, entries} = Recording.decode(@first <> entry(0, "ongoing => 1") <> entry(5, "ongoing => 1"))

    assert {:error, "the decision at 0 ms: expected a number as its metric :arrival_rate, got: nil"} =
             Recording.trace(entries)

    assert {:error, "expected two decisions or more"} = Recording.trace([hd(entries)])
  end
end

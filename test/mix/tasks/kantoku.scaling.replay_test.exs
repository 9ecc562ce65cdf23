defmodule Mix.Tasks.Kantoku.Scaling.ReplayTest do
  use ExUnit.Case, async: false

  alias Kantoku.Pool.{Recording, Simulation}
  alias Kantoku.Pool.Scaler.Policy
  alias Kantoku.Pool.Simulation.Trace
  alias Mix.Tasks.Kantoku.Scaling.Replay

  @root Path.expand("../../..", __DIR__)
  @load Path.expand("examples/scaling/morning.csv", @root)

  setup do
    shell = Mix.shell()
    Mix.shell(Mix.Shell.Process)
    folder = Path.join(System.tmp_dir!(), "kantoku_replay_#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)

    on_exit(fn ->
      Mix.shell(shell)
      File.rm_rf!(folder)
    end)

    {:ok, folder: folder, out: Path.join(folder, "picture.svg")}
  end

  defp replay(arguments) do
    Replay.run(arguments)
    assert_received {:mix_shell, :info, [text]}
    text
  end

  test "a table of loads becomes a table of sizes, waits and refusals", %{out: out} do
    arguments = [
      "--policy",
      "max: 60",
      "--start-time",
      "20000",
      "--max-wait",
      "5000",
      "--bucket",
      "1800000",
      "--out",
      out
    ]

    text = replay([@load | arguments])

    assert [header, first | _] = String.split(text, "\n")

    assert String.split(header, ~r/ {2,}/, trim: true) ==
             ~w(time load size wanted arrivals) ++ ["wait p50", "wait p99", "rejected", "expired"]

    assert String.split(first) == ~w(00:00:00 0.8 2 2 925 0 ms 0 ms 0 0)
    assert text =~ "138756 arrivals: 138753 served, 0 rejected, 3 expired"
    assert text =~ ~r/size: \d+ moves, \d direction changes, \d+ worker-seconds/
    assert text =~ "forecast: in shadow: the history is shorter than three seasons"
    assert String.ends_with?(text, "picture: #{out}")
  end

  test "the picture is well-formed, and has a line for size, load and waits, marks, and a dark scheme", %{out: out} do
    replay([@load, "--out", out, "--max-queue", "5", "--policy", "max: 30"])
    picture = File.read!(out)
    assert unclosed(picture) == []
    for class <- ~w(size load p50 p99), do: assert(picture =~ ~s(<polyline class="#{class}"))
    assert picture =~ ~s(<rect class="refused" x="6)
    assert picture =~ "prefers-color-scheme: dark"
    assert picture =~ "morning.csv: 1 to 30 workers"
    assert picture =~ "04:00:00"
    refute picture =~ "NaN"
  end

  test "the guide's picture and figures are what its command makes", %{out: out} do
    guide = File.read!(Path.expand("guides/scaling.md", @root))
    [_, policy] = Regex.run(~r/--policy "(.+?)"/, guide)
    text = replay([@load, "--policy", policy, "--out", out])
    assert File.read!(out) == File.read!(Path.expand("guides/assets/scaling.svg", @root))
    [_, figures] = Regex.run(~r/```text\n(.*?)```/s, guide)
    assert text =~ figures
  end

  # The elements that are open at the end of a text, each end having been that of the last one that began.
  defp unclosed(text) do
    for [_, slash, name, _, empty] <- Regex.scan(~r{<(/?)([a-z]+)((?:"[^"]*"|[^">])*?)(/?)>}, text),
        empty == "",
        reduce: [] do
      open when slash == "" -> [name | open]
      [^name | open] -> open
    end
  end

  test "recorded decisions are replayed under another policy", %{folder: folder} do
    trace = Trace.square(low: 2, high: 20, period: 600_000, periods: 2, service: 1_000)
    decisions = Simulation.run(trace, Policy.new!(max: 60), decisions: :all).decisions
    file = Path.join(folder, "decisions.terms")
    File.write!(file, Recording.encode(decisions))

    wide = replay([file, "--policy", "max: 60, forecast: :off"])

    narrow =
      replay([
        file,
        "--policy",
        "max: 10, scale_up: [policies: [{:count, 1, period: 60_000}]], forecast: :off",
        "--max-queue",
        "20"
      ])

    assert wide =~ "0 rejected"
    assert narrow =~ ~r/[1-9]\d* rejected/
    assert File.exists?(Path.join(folder, "decisions.svg"))
  end

  test "what cannot be read or does not fit is told in a sentence", %{folder: folder, out: out} do
    file = Path.join(folder, "bad.csv")
    File.write!(file, "time,arrivals,service_time\n0,1,80\n1000,x,80\n")

    for {arguments, why} <- [
          {[file], ~r/bad.csv: line 3, column 2 \(arrivals\): expected a number of 0 or more, got: "x"/},
          {["missing.csv"], ~r/missing.csv: no such file/},
          {[], ~r/expected one file, got: \[\]/},
          {[@load, "--speed", "3"], ~r/--speed: unknown/},
          {[@load, "--tick", "0"], ~r/--tick: expected a positive integer, got: 0/},
          {[@load, "--policy", "max: 0"], ~r/--policy, option :max: expected a positive integer, got: 0/},
          {[@load, "--policy", "max: File.cwd!()"],
           ~r/--policy: expected numbers, atoms, tuples and lists, got: File.cwd!\(\)/},
          {[@load, "--policy", "max: ]"], ~r/--policy: /},
          {[@load, "--bucket", "1800000", "--out", Path.join(out, "nowhere.svg")], ~r/nowhere.svg: no such file/}
        ] do
      assert_raise Mix.Error, why, fn -> Replay.run(arguments) end
    end
  end
end

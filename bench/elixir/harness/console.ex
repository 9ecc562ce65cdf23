defmodule Bench.Console do
  @moduledoc false
  # The command: reads arguments, runs suites, says what comes out, and ends the VM with 1 if something failed.

  alias Bench.{Figure, Machine, Options, Report, Result, Stage, Statistics, Suite, Summary}

  @suites [
    Bench.Names,
    Bench.Lifecycle,
    Bench.Pools,
    Bench.Fairness,
    Bench.Overload,
    Bench.Breakers,
    Bench.Healths,
    Bench.Scaling,
    Bench.Telemetry,
    Bench.Checks
  ]
  @suites if Kantoku.Jido.compiled?(), do: @suites ++ [Bench.JidoAgents], else: @suites

  @usage """
  bin/bench [NAME...] [--quick] [--engine native|elixir] [--only PATTERN] [--rounds N] [--control]

    NAME       registry, lifecycle, pool, fairness, overload, breaker, health, scaling, telemetry, checks, with Jido also jido; all of them if none is named
    --quick    3 rounds and smaller sizes, to see that it works
    --engine   which engine keeps the facts on our side
    --only     only comparisons whose name matches this regular expression
    --rounds   how many rounds, in place of 7 (3 if quick)
    --control  the peer on both sides: every ratio there is noise
  """

  @spec main([String.t()], Path.t()) :: :ok | no_return
  def main(argv, folder) do
    case Options.parse(argv, Enum.map(@suites, & &1.name())) do
      {:ok, options} -> run(options, folder)
      :help -> IO.write(@usage)
      {:error, why} -> refuse(why)
    end
  end

  defp refuse(why) do
    IO.puts(:stderr, "bench: #{why}\n\n#{@usage}")
    System.halt(1)
  end

  # Figures of one engine must never be told under the name of the other.
  defp run(%Options{engine: :native, control: false} = options, folder) do
    case Kantoku.Native.status() do
      {:ok, _library} -> play(options, folder)
      {:error, sentence} -> refuse("there is no native engine to measure: #{sentence}; or say --engine elixir")
    end
  end

  defp run(options, folder), do: play(options, folder)

  defp play(options, folder) do
    header = Machine.describe(options)
    Enum.each(header, fn {label, text} -> IO.puts("#{String.pad_trailing(label, 12)} #{text}") end)
    chosen = Enum.filter(@suites, &(&1.name() in options.names))
    outcomes = Enum.flat_map(chosen, &run_suite(&1, header, options, folder))
    if outcomes == [], do: refuse("nothing in #{Enum.join(options.names, ", ")} has a name that matches --only")
    unless Summary.passed?(outcomes), do: System.halt(1)
    :ok
  end

  defp run_suite(suite, header, options, folder) do
    IO.puts("\n#{suite.name()}")
    outcomes = Suite.run(suite, options, &progress/1)
    Enum.each(Summary.tables(outcomes), fn {_, table} -> IO.puts("\n" <> table) end)
    IO.puts("")
    Enum.each(Summary.lines(outcomes), &IO.puts/1)
    if outcomes != [], do: say_written(Report.write(folder, suite.name(), header, outcomes, options))
    outcomes
  end

  defp say_written(paths), do: IO.puts("written: " <> Enum.map_join(paths, ", ", &Path.relative_to_cwd/1))

  defp progress({:result, result}) do
    {median, least, greatest} = Result.ratio(result)
    ratio = "#{Figure.text(median)} (#{Figure.text(least)} to #{Figure.text(greatest)})"
    say(result.name, "#{ratio}, ours #{Figure.text(Statistics.median(result.ours))} #{result.unit}")
  end

  defp progress({:again, doubt}) do
    [again, control] = for result <- [doubt.again, doubt.control], do: Figure.text(elem(Result.ratio(result), 0))
    say(doubt.name, "once more: #{again}, beside A/A #{control}")
  end

  defp progress({:measured, measurement, figures}) do
    text = Enum.map_join(figures, ", ", fn {label, values} -> "#{label} #{Figure.text(Statistics.median(values))}" end)
    say(measurement.name, "#{text} #{measurement.unit}")
  end

  defp progress({:checked, check, counts}) do
    say(check.name, Enum.map_join(counts, ", ", fn {label, n} -> "#{label} #{Figure.text(n)}" end))
  end

  defp progress({:decided, decision, verdict}) do
    %{median: median, low: low, high: high} = verdict.candidate
    cost = "#{Figure.text(median)} (#{Figure.text(low)} to #{Figure.text(high)}) of the baseline's cost"
    say(Stage.name(decision), if(verdict.unchanged, do: "unchanged: ", else: "not shown unchanged: ") <> cost)
  end

  defp progress({:failed, name, reason}), do: say(name, "FAILED\n" <> reason)

  defp say(name, text), do: IO.puts("  #{String.pad_trailing(name, 44)} #{text}")
end

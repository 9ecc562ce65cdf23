defmodule Demo.Job do
  # The main job from the first agent to the report: what happens when, and nothing of how. Prints by its screen only.
  @moduledoc false

  alias Demo.{
    Chaos,
    Faults,
    Fleet,
    Foreman,
    Gauges,
    Operator,
    Options,
    Peaks,
    Progress,
    Reference,
    Report,
    Schedule,
    Screen,
    Served,
    Walk
  }

  alias Demo.Witness

  @doc "Runs it over the files of a walk below `dir`, with an instance of that name."
  @spec run(atom, Options.t(), Path.t(), Walk.t(), Screen.t()) :: Report.t()
  def run(instance, options, dir, walk, screen) do
    Screen.say(screen, [heading(options, dir, walk)])
    fleet = Fleet.start(instance, options)
    Screen.say(screen, Served.lines(options, Kantoku.Exporters.status().http))
    done = work(fleet, options, walk.files, screen)
    {took, reference} = :timer.tc(fn -> reference(walk.files, screen) end)

    report = %Report{
      gauges: Gauges.all(instance),
      spreads: Gauges.spreads(instance),
      options: options,
      dir: dir,
      walk: walk,
      passes: done.passes,
      index: done.index,
      missed: done.missed,
      peaks: done.peaks,
      reference: reference,
      took: %{fleet: done.took, plain: took}
    }

    Screen.say(screen, Report.lines(report))
    Fleet.stop(fleet)
    report
  end

  defp heading(options, dir, walk) do
    "#{options.agents} agents#{of(options.crew)} on the #{options.engine} engine, #{length(walk.files)} files below #{dir}, " <>
      "#{options.kill_rate} kills a second#{if options.faults, do: ", hangs, slowdowns and leaks"}, #{options.seconds} s"
  end

  defp of(:kantoku), do: ""
  defp of(:jido), do: " of Jido's"

  defp work(fleet, options, paths, screen) do
    schedule = Schedule.new(options, System.monotonic_time(:millisecond))
    {:ok, peaks} = Peaks.start_link(fleet, schedule)
    {:ok, witness} = Witness.start_link(fleet)
    Screen.show(screen, fn -> Progress.work(fleet, length(paths), schedule, options.faults) end)
    chaos = Chaos.start_link(fleet, options.kill_rate, schedule.deadline, witness)
    faults = if options.faults, do: faults(fleet, options, schedule)

    {took, passes} =
      :timer.tc(fn -> Foreman.run(fleet, numbered(paths), schedule, fn -> Operator.call_back(fleet) end) end)

    Chaos.stop(chaos)
    if faults, do: Faults.stop(faults)
    peaks = Peaks.stop(peaks)
    Screen.say(screen, [])
    index = Operator.gather(fleet)
    %{passes: passes, index: index, missed: Witness.stop(witness), peaks: peaks, took: took}
  end

  defp faults(fleet, options, schedule) do
    {:ok, faults} = Faults.start_link(fleet, options.kill_rate, schedule.deadline)
    faults
  end

  defp numbered(paths), do: Enum.with_index(paths, &{&2, &1})

  defp reference(paths, screen) do
    seen = :counters.new(1, [])
    Screen.show(screen, fn -> Progress.towards("plain computation", seen, length(paths)) end)
    Reference.run(paths, fn -> :counters.add(seen, 1, 1) end)
  end
end

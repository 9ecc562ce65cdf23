defmodule Demo.Console do
  # The command: from its arguments to its exit code. Knows what happens when, and nothing of how.
  @moduledoc false

  alias Demo.{Chaos, Fleet, Foreman, Json, Operator, Options, Progress, Reference, Report, Screen, Walk, Witness}

  @instance Demo.Agents
  @documentation "/usr/share/doc"
  @enough 200
  @not_ours [".git", "_build", "deps"]

  @doc "Runs the demo and ends the VM: 0 identical, 1 not identical, 2 it could not be begun."
  @spec main([String.t()]) :: no_return
  def main(argv) do
    code =
      case Options.parse(argv) do
        {:ok, options} -> begin(options)
        :help -> IO.puts(Options.usage()) && 0
        {:error, sentence} -> refuse(sentence, "--json" in argv)
      end

    System.halt(code)
  end

  defp refuse(sentence, json?) do
    IO.puts(:stderr, "bin/demo: " <> sentence)
    if json?, do: IO.puts(Json.object(identical: false, error: sentence))
    2
  end

  defp begin(options) do
    case files(options.dir) do
      {:ok, dir, %{files: []}} -> refuse("#{dir} holds no file that could be read", options.json)
      {:ok, dir, walk} -> run(options, dir, walk)
      {:error, sentence} -> refuse(sentence, options.json)
    end
  end

  defp files(nil) do
    case Walk.below(@documentation) do
      {:ok, %{files: files} = walk} when length(files) >= @enough -> {:ok, @documentation, walk}
      _too_little -> own_tree()
    end
  end

  defp files(dir), do: with({:ok, walk} <- Walk.below(dir), do: {:ok, dir, walk})

  defp own_tree do
    tree = Path.expand("..", __DIR__)
    with {:ok, walk} <- Walk.below(tree, @not_ours), do: {:ok, tree, walk}
  end

  defp run(options, dir, walk) do
    {:ok, screen} = Screen.start_link()
    Screen.say(screen, [heading(options, dir, walk)])
    fleet = @instance |> Fleet.start(options) |> Fleet.man()
    {passes, index, missed, fleet_took} = work(fleet, options, walk.files, screen)
    {reference, plain_took} = timed(fn -> reference(walk.files, screen) end)

    report = %Report{
      instance: @instance,
      options: options,
      dir: dir,
      walk: walk,
      passes: passes,
      index: index,
      reference: reference,
      took: %{fleet: fleet_took, plain: plain_took},
      missed: missed
    }

    Screen.say(screen, Report.lines(report))
    Fleet.stop(fleet)
    if options.json, do: IO.puts(Report.json(report))
    if Report.identical?(report), do: 0, else: 1
  end

  defp heading(options, dir, walk) do
    "#{options.agents} agents on the #{options.engine} engine, #{length(walk.files)} files below #{dir}, " <>
      "#{options.kill_rate} kills a second, #{options.seconds} s"
  end

  defp work(fleet, options, paths, screen) do
    began = now()
    deadline = began + options.seconds * 1_000
    {:ok, witness} = Witness.start_link(fleet)
    Screen.show(screen, fn -> Progress.work(fleet, length(paths), began) end)
    chaos = Chaos.start_link(fleet, options.kill_rate, deadline, witness)
    files = Enum.with_index(paths, &{&2, &1})
    {passes, took} = timed(fn -> Foreman.run(fleet, files, deadline, fn -> Operator.call_back(fleet) end) end)
    Chaos.stop(chaos)
    Screen.say(screen, [])
    {passes, Operator.gather(fleet), Witness.settle(witness), took}
  end

  defp reference(paths, screen) do
    seen = :counters.new(1, [])
    Screen.show(screen, fn -> Progress.towards("plain computation", seen, length(paths)) end)
    Reference.run(paths, fn -> :counters.add(seen, 1, 1) end)
  end

  defp timed(fun) do
    {took, result} = :timer.tc(fun)
    {result, took}
  end

  defp now, do: System.monotonic_time(:millisecond)
end

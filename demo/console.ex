defmodule Demo.Console do
  # The command: from its arguments to its exit code. Knows files by their folder, and nothing of agents.
  @moduledoc false

  alias Demo.{Job, Json, Options, Report, Screen, Walk}

  @documentation "/usr/share/doc"
  @enough 200
  @not_ours [".git", "_build", "deps"]

  @doc "Runs the demo and ends the VM."
  @spec main([String.t()]) :: no_return
  def main(argv), do: argv |> run() |> System.halt()

  @doc "Runs the demo; its exit code: 0 identical, and whoever hung was found; 1 not so; 2 it could not be begun."
  @spec run([String.t()]) :: 0..2
  def run(argv) do
    with {:ok, options} <- Options.parse(argv),
         {:ok, dir, walk} <- files(options.dir) do
      work(options, dir, walk)
    else
      :help -> help()
      {:error, sentence} -> refuse(sentence, "--json" in argv)
    end
  end

  defp help do
    IO.puts(Options.usage())
    0
  end

  defp refuse(sentence, json?) do
    IO.puts(:stderr, "bin/demo: " <> sentence)
    if json?, do: IO.puts(Json.object(identical: false, error: sentence))
    2
  end

  defp work(options, dir, walk) do
    {:ok, screen} = Screen.start_link()
    report = Job.run(:"Demo.Agents.#{System.unique_integer([:positive])}", options, dir, walk, screen)
    if options.json, do: IO.puts(Report.json(report))
    if Report.identical?(report) and Report.well_looked_after?(report), do: 0, else: 1
  end

  defp files(nil) do
    case Walk.below(@documentation) do
      {:ok, %{files: files} = walk} when length(files) >= @enough -> {:ok, @documentation, walk}
      _too_little -> own_tree()
    end
  end

  defp files(dir), do: dir |> Walk.below() |> some(dir)

  defp own_tree do
    tree = Path.expand("..", __DIR__)
    tree |> Walk.below(@not_ours) |> some(tree)
  end

  defp some({:ok, %{files: []} = walk}, dir) do
    {:error,
     "#{dir} holds no file (#{walk.links} links, #{walk.special} devices, #{walk.closed} that cannot be looked at)"}
  end

  defp some({:ok, walk}, dir), do: {:ok, dir, walk}
  defp some({:error, _sentence} = error, _dir), do: error
end

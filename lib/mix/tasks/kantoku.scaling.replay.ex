defmodule Mix.Tasks.Kantoku.Scaling.Replay do
  @shortdoc "Runs a recorded load through a pool's scaler in simulated time"

  @moduledoc """
  Runs a load through a pool's scaler in simulated time, and shows what becomes of it.

      mix kantoku.scaling.replay FILE [options]

  FILE is a table of comma-separated values with the columns `time`, `arrivals` and `service_time`
  (`Kantoku.Pool.Simulation.LoadFile`), or decisions that were recorded (`Kantoku.Pool.Recording`). It prints the size, the
  waits, who was refused and how often the size changed its direction, and draws the same as an SVG.

  ## Options

    * `--policy "max: 40, scale_down: [stabilization: 60_000]"` - the scaling policy, as it is written in code
      (`Kantoku.Pool.Scaler.Policy`); `max` is 100 if it is not given;
    * `--out PATH` - where the picture goes; FILE with the extension `.svg` by default;
    * `--start-time MS`, `--max-queue N`, `--max-wait MS`, `--tick MS`, `--size N` - the simulated pool's, as in
      `Kantoku.Pool.Simulation.run/3`; the size is that of the first decision of a recording by default;
    * `--bucket MS` - of a line of the table; a sixtieth of the load by default;
    * `--poisson SEED` - requests come independently of each other, not evenly.
  """

  use Mix.Task

  alias Kantoku.Pool.{Recording, Scaler, Simulation}
  alias Kantoku.Pool.Simulation.{LoadFile, Picture, Report}

  @switches [
    policy: :string,
    out: :string,
    start_time: :integer,
    max_queue: :integer,
    max_wait: :integer,
    tick: :integer,
    size: :integer,
    bucket: :integer,
    poisson: :integer
  ]
  @positive [:tick, :size, :bucket]
  @simulated [:start_time, :max_queue, :max_wait, :tick, :size, :bucket]

  @impl true
  def run(arguments) do
    {options, file} = parse!(arguments)
    policy = options |> Keyword.get(:policy, "") |> policy!()
    {trace, found} = file |> read!() |> load!(file, spread(options))
    result = Simulation.run(trace, policy, Keyword.merge(found, Keyword.take(options, @simulated)))
    out = Keyword.get(options, :out, Path.rootname(file) <> ".svg")
    write!(out, Picture.render("#{Path.basename(file)}: #{policy.min} to #{policy.max} workers", result.rows))
    Mix.shell().info(Report.text(result) <> "picture: #{out}")
  end

  defp parse!(arguments) do
    case OptionParser.parse(arguments, strict: @switches) do
      {options, [file], []} -> {Enum.map(options, &checked!/1), file}
      {_, _, [{option, value} | _]} -> Mix.raise("#{option}: unknown, or its value does not fit: #{inspect(value)}")
      {_, files, []} -> Mix.raise("expected one file, got: #{inspect(files)}. See mix help kantoku.scaling.replay")
    end
  end

  defp checked!({name, value}) when name in @positive and value < 1, do: refuse!(name, "a positive integer", value)

  defp checked!({name, value}) when name in @simulated and value < 0,
    do: refuse!(name, "an integer of 0 or more", value)

  defp checked!(option), do: option

  @spec refuse!(atom, String.t(), integer) :: no_return
  defp refuse!(name, expected, value) do
    Mix.raise("--#{String.replace("#{name}", "_", "-")}: expected #{expected}, got: #{value}")
  end

  defp spread(options) do
    case options[:poisson] do
      nil -> :even
      seed -> {:poisson, seed}
    end
  end

  defp policy!(text) do
    case Code.string_to_quoted("[" <> text <> "\n]") do
      {:ok, quoted} -> quoted |> literal!() |> Keyword.put_new(:max, 100) |> Scaler.Policy.new!("--policy")
      {:error, {_, why, token}} -> Mix.raise("--policy: #{text(why)}#{token}")
    end
  rescue
    error in ArgumentError -> Mix.raise(Exception.message(error))
  end

  defp text({before, later}), do: before <> later
  defp text(why), do: why

  # Options as they are written in code, but nothing that would have to be run.
  defp literal!(list) when is_list(list), do: Enum.map(list, &literal!/1)
  defp literal!({:{}, _, parts}), do: parts |> Enum.map(&literal!/1) |> List.to_tuple()
  defp literal!({one, two}), do: {literal!(one), literal!(two)}
  defp literal!(value) when is_atom(value) or is_number(value), do: value

  defp literal!(other),
    do: Mix.raise("--policy: expected numbers, atoms, tuples and lists, got: #{Macro.to_string(other)}")

  defp read!(file) do
    case File.read(file) do
      {:ok, text} -> text
      {:error, why} -> Mix.raise("#{file}: #{:file.format_error(why)}")
    end
  end

  defp load!(text, file, spread) do
    case load(text, spread) do
      {:ok, trace, found} -> {trace, found}
      {:error, why} -> Mix.raise("#{file}: #{why}")
    end
  end

  defp load(text, spread) do
    if Recording.recording?(text), do: recorded(text, spread), else: listed(text, spread)
  end

  defp recorded(text, spread) do
    with {:ok, entries} <- Recording.decode(text), {:ok, trace} <- Recording.trace(entries, spread) do
      {:ok, trace, [size: hd(entries).size]}
    end
  end

  defp listed(text, spread) do
    with {:ok, trace} <- LoadFile.parse(text, spread), do: {:ok, trace, []}
  end

  defp write!(path, text) do
    case File.write(path, text) do
      :ok -> :ok
      {:error, why} -> Mix.raise("#{path}: #{:file.format_error(why)}")
    end
  end
end

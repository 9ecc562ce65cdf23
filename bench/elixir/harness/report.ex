defmodule Bench.Report do
  @moduledoc false
  # Writes what a suite found to `bench/results`: a page and, where there are ratios, a picture.

  alias Bench.{Options, Picture, Result, Summary}

  @doc "The paths written. Runs that leave something out get names of their own: they never pass for whole ones."
  @spec write(String.t(), String.t(), [{String.t(), String.t()}], [Bench.Stage.outcome()], Options.t()) :: [Path.t()]
  def write(folder, suite, header, outcomes, options) do
    File.mkdir_p!(folder)
    base = Path.join(folder, suite <> qualifier(options))
    picture = write_picture(base, suite, Summary.results(outcomes))
    File.write!(base <> ".md", page(suite, header, outcomes, picture))
    [base <> ".md" | List.wrap(picture)]
  end

  @doc "What sets apart the files of a run that was not a whole one on the default engine."
  @spec qualifier(Options.t()) :: String.t()
  def qualifier(options) do
    [
      {options.engine == :elixir, ".elixir"},
      {options.control, ".control"},
      {options.only != nil, ".part"},
      {options.quick, ".quick"}
    ]
    |> Enum.map_join(fn {applies, text} -> if applies, do: text, else: "" end)
  end

  defp write_picture(_base, _suite, []), do: nil

  defp write_picture(base, suite, results) do
    File.write!(base <> ".svg", Picture.render(suite, Enum.map(results, &bar/1)))
    base <> ".svg"
  end

  defp bar(result) do
    {median, least, greatest} = Result.ratio(result)
    {result.name, median, least, greatest}
  end

  defp page(suite, header, outcomes, picture) do
    """
    # #{suite}

    #{Enum.map_join(header, "\n", fn {label, text} -> "- #{label}: #{text}" end)}

    #{if picture, do: "![ratios](#{Path.basename(picture)})\n"}
    #{Enum.map_join(Summary.tables(outcomes), "\n\n", fn {title, table} -> "## #{title}\n\n#{table}" end)}

    ## What was done

    #{Enum.map_join(Summary.explanations(outcomes), "\n", fn {name, text} -> "- `#{name}`: #{text}" end)}

    ## Lines

    ```
    #{Enum.join(Summary.lines(outcomes), "\n")}
    ```
    """
  end
end

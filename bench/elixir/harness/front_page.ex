defmodule Bench.FrontPage do
  @moduledoc false
  # The block of the project's README that results fill. Knows results as they were written, and the names of `bench/README.md`;
  # knows nothing of how they were measured.

  @first "<!-- bench:begin -->"
  @last "<!-- bench:end -->"
  @suites ~w(registry lifecycle pool fairness overload scaling checks)

  @doc "The README with the block that `folder`'s results make, under the names that `names` (bench/README.md) explains."
  @spec fill(readme :: String.t(), folder :: Path.t(), names :: String.t()) :: String.t()
  def fill(readme, folder, names) do
    [before, rest] = String.split(readme, @first <> "\n", parts: 2)
    [_old, after_it] = String.split(rest, @last, parts: 2)
    before <> @first <> "\n" <> block(pages(folder), explained(names)) <> "\n" <> @last <> after_it
  end

  defp pages(folder) do
    for suite <- @suites, {:ok, page} <- [File.read(Path.join(folder, suite <> ".md"))], do: {suite, page}
  end

  defp block([], _names) do
    "No full run is in `bench/results` yet. `bin/bench` makes one, and `elixir bench/front_page.exs` puts it here."
  end

  defp block(pages, names) do
    lines = for {_suite, page} <- pages, line <- lines(page), do: line
    named = Enum.map(lines, &under(&1, Enum.map(names, fn {name, _ours, _peer} -> name end)))

    joined([origin(pages), ratios(named, names), folded(joined([figures(named), verdicts(named)]))])
  end

  defp joined(parts), do: parts |> Enum.reject(&(&1 == "")) |> Enum.join("\n\n")

  defp folded(""), do: ""
  defp folded(tables), do: "<details>\n<summary>Figures and checks</summary>\n\n" <> tables <> "\n\n</details>"

  # Reading ------------------------------------------------------------------------------------------------------------

  defp lines(page) do
    [_, lines] = Regex.run(~r/^## Lines\n\n```\n(.*?)\n?```/ms, page)
    lines |> String.split("\n", trim: true) |> Enum.map(&String.split/1)
  end

  # Rows of the tables: | `name` | ours | peer |, or two columns for a check; the first may be several names.
  defp explained(names) do
    for [_, listed, rest] <- Regex.scan(~r/^\| (`[^|]+`) \| (.+) \|$/m, names), name <- each(listed) do
      [ours | peer] = String.split(rest, " | ")
      {name, ours, List.first(peer, "")}
    end
  end

  defp each(listed), do: for([_, name] <- Regex.scan(~r/`([^`]+)`/, listed), do: name)

  # A result goes by the longest name that begins it; one that nobody explained must not be left out in silence.
  defp under([kind, full | values], names) do
    name =
      names
      |> Enum.filter(&(full == &1 or String.starts_with?(full, &1 <> ".")))
      |> Enum.max_by(&String.length/1, fn -> raise "bench/README.md explains no name for #{full}" end)

    {kind, name, full, values}
  end

  # Writing ------------------------------------------------------------------------------------------------------------

  defp origin(pages) do
    Enum.map_join(pages, "  \n", fn {suite, page} ->
      said = Enum.map_join(~w(machine software commit command), ", ", &header(page, &1))
      "[`#{suite}`](bench/results/#{suite}.md): #{said}."
    end)
  end

  defp header(page, label) do
    [_, text] = Regex.run(~r/^- #{label}: (.+)$/m, page)
    if label in ~w(commit command), do: "#{label} `#{text}`", else: text
  end

  defp ratios(named, names) do
    rows =
      for {name, ours, peer} <- names,
          ratio = worst(named, name, peer),
          do: "| `#{name}` | #{ours} | #{peer} | #{ratio} |"

    table("| name | ours | peer | ratio |\n|---|---|---|--:|", rows)
  end

  defp worst(named, name, peer) do
    case for {"ratio", ^name, _full, values} <- named, do: Enum.map(values, &String.to_float/1) do
      [] -> nil
      ratios -> ratios |> Enum.min_by(&hd/1) |> ratio(lost(peer))
    end
  end

  # Nobody loses against himself.
  defp lost("none: " <> _itself), do: ""
  defp lost(_peer), do: ", we lose"

  # As it is shown: what differs by less is the same.
  defp ratio([median, least, greatest], lost) do
    shown = if Float.round(median, 2) < 1 and lost != "", do: "**#{text(median)}**#{lost}", else: text(median)
    "#{shown} (#{text(least)} to #{text(greatest)})"
  end

  defp text(number) when number < 0.01, do: :erlang.float_to_binary(number, decimals: 5)
  defp text(number), do: :erlang.float_to_binary(number, decimals: 2)

  defp figures(named) do
    rows =
      for {"figure", name, full, [median, _min, _max | unit]} <- named do
        label = full |> String.replace_prefix(name, "") |> String.trim_leading(".")
        "| `#{name}` | #{label} | #{Bench.Figure.text(String.to_float(median))} #{Enum.join(unit, " ")} |"
      end

    table("| figure | of | median |\n|---|---|--:|", rows)
  end

  defp verdicts(named) do
    rows = for {kind, _name, full, values} <- named, said = verdict(kind, values), do: "| `#{full}` | #{said} |"
    table("| check | verdict | counts |\n|---|---|---|", rows)
  end

  defp verdict("check", [verdict | counts]), do: verdict <> " | " <> Enum.join(counts, " ")

  defp verdict("unchanged", [verdict, cost, low, high | _control]),
    do: "unchanged: #{verdict} | cost #{cost} (#{low} to #{high})"

  defp verdict("failed", []), do: "**broke off** |"
  defp verdict(_ratio_or_figure, _values), do: nil

  defp table(_head, []), do: ""
  defp table(head, rows), do: head <> "\n" <> Enum.join(rows, "\n")
end

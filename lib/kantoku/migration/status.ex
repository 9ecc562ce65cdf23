defmodule Kantoku.Migration.Status do
  # What there is to know of an instance's moves, as data and as a table. Only reads.
  @moduledoc false

  alias Kantoku.Migration.{Journal, Mode, Reversal, Roster, Settings, Tally}

  @doc "See `Kantoku.Migration.status/1`."
  @spec of(atom) :: [map]
  def of(instance) do
    for({key, gate, setting} <- Settings.all(instance), do: entry(key, gate, setting))
    |> Enum.sort_by(&{&1.feature, inspect(&1.subject)})
  end

  defp entry({instance, feature, subject} = key, gate, setting) do
    setting
    |> Map.take([:mode, :by, :at, :source, :option, :rules, :reversal])
    |> Map.merge(%{
      feature: feature,
      subject: subject,
      shadow: Journal.read(key),
      canary: canary(gate, setting.rules),
      agents: if(feature == :supervision, do: agents(Roster.of(instance, subject)))
    })
  end

  defp canary({:canary, _limit, tally}, rules), do: Map.new([:old, :new], &{&1, side(Tally.read(tally, &1), rules)})
  defp canary(_gate, _rules), do: nil

  defp side(%{calls: calls, errors: errors} = reading, %{quantile: quantile}) do
    served = calls - errors

    %{
      calls: calls,
      errors: errors,
      latency_us: if(served > 0, do: Tally.at_rank(reading, max(ceil(served * quantile), 1)))
    }
  end

  defp agents(rows) do
    counts = Enum.frequencies_by(rows, fn {_, place, _, _, _, _} -> if is_atom(place), do: place, else: :moving end)
    staying = for {{_, _, id}, _, _, _, _, reason} when reason != nil <- rows, do: {id, reason}
    Map.merge(%{old: 0, new: 0, moving: 0, staying: Enum.take(staying, 20)}, counts)
  end

  # A table ----------------------------------------------------------------------------------------------------------------

  @head ["feature", "subject", "mode", "by", "since", "agents old/new", "agree/differ", "calls old/new", "note"]

  @doc "The entries as a table for people."
  @spec table([map]) :: String.t()
  def table([]), do: "no feature is being moved\n"

  def table(entries) do
    rows = [@head | Enum.map(entries, &row/1)]
    widths = for column <- Enum.zip(rows), do: column |> Tuple.to_list() |> Enum.map(&String.length/1) |> Enum.max()
    Enum.map_join(rows, &line(&1, widths))
  end

  defp line(row, widths) do
    cells = Enum.zip_with(row, widths, &String.pad_trailing/2)
    (cells |> Enum.join("  ") |> String.trim_trailing()) <> "\n"
  end

  defp row(entry) do
    [
      "#{entry.feature}",
      inspect(entry.subject),
      Mode.text(entry.mode),
      who(entry.by),
      entry.at |> DateTime.from_unix!(:millisecond) |> DateTime.truncate(:second) |> DateTime.to_iso8601(),
      pair(entry.agents, & &1),
      "#{entry.shadow.agreed}/#{entry.shadow.disagreed}",
      pair(entry.canary, & &1.calls),
      note(entry)
    ]
  end

  defp who(nil), do: "-"
  defp who(by) when is_binary(by), do: by
  defp who(by), do: inspect(by)

  defp pair(nil, _fun), do: "-"
  defp pair(sides, fun), do: "#{fun.(sides.old)}/#{fun.(sides.new)}"

  defp note(%{reversal: %Reversal{} = reversal}), do: "went back: " <> Reversal.explain(reversal)

  defp note(%{agents: %{staying: [{id, reason} | _] = all}}),
    do: "#{length(all)} stay, #{inspect(id)}: #{inspect(reason)}"

  defp note(_entry), do: "-"
end

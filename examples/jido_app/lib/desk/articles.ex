defmodule Desk.Articles do
  @moduledoc "What the desk knows: the texts of `priv/articles`, by their first lines. Pure."

  @folder Path.expand("../../priv/articles", __DIR__)
  @paths @folder |> Path.join("*.txt") |> Path.wildcard() |> Enum.sort()
  for path <- @paths, do: @external_resource(path)

  @type title :: String.t()

  words = fn text -> ~r/\p{L}{3,}/u |> Regex.scan(String.downcase(text)) |> List.flatten() |> MapSet.new() end

  @articles (for path <- @paths do
               text = File.read!(path)
               {text |> String.split("\n", parts: 2) |> hd(), words.(text)}
             end)

  @doc "The titles of the articles that share words with a question, those with the most first."
  @spec for_question(String.t()) :: [title]
  def for_question(question) do
    asked = words(question)

    @articles
    |> Enum.map(fn {title, words} -> {MapSet.size(MapSet.intersection(words, asked)), title} end)
    |> Enum.filter(fn {shared, _title} -> shared > 0 end)
    |> Enum.sort_by(fn {shared, title} -> {-shared, title} end)
    |> Enum.map(&elem(&1, 1))
  end

  defp words(text), do: ~r/\p{L}{3,}/u |> Regex.scan(String.downcase(text)) |> List.flatten() |> MapSet.new()
end

defmodule Kantoku.Test.Journal do
  @moduledoc false
  # A file of words that outlives the VM that wrote it: what was written is with the system when `write/2` returns.

  @type word :: atom | integer | String.t()

  @spec write(Path.t(), [word]) :: :ok
  def write(path, words), do: File.write!(path, Enum.join(words, " ") <> "\n", [:append])

  @doc "All lines of a kind, each as its words after the first; integers as such."
  @spec read(Path.t(), atom) :: [[integer | String.t()]]
  def read(path, kind) do
    kind = "#{kind}"
    lines = if File.exists?(path), do: path |> File.read!() |> String.split("\n", trim: true), else: []
    for line <- lines, [^kind | words] <- [String.split(line, " ")], do: Enum.map(words, &word/1)
  end

  defp word(text) do
    case Integer.parse(text) do
      {number, ""} -> number
      _ -> text
    end
  end
end

defmodule Demo.Reference do
  # The same files by the same pure functions in one process, without any agent: what the fleet must come to.
  @moduledoc false

  alias Demo.{Decode, Tally}

  defstruct tally: %Tally{}, outcomes: %{}

  @typedoc "The index, and how many files gave text or why they gave none."
  @type t :: %__MODULE__{tally: Tally.t(), outcomes: %{(:text | Decode.reason()) => pos_integer}}

  @doc "What one pass over the files makes; `seen` is called after each file."
  @spec run([Path.t()], seen :: (() -> term)) :: t
  def run(paths, seen \\ fn -> :ok end) do
    Enum.reduce(paths, %__MODULE__{}, fn path, sum ->
      sum = path |> Decode.file() |> add(sum)
      seen.()
      sum
    end)
  end

  defp add({:ok, parts}, sum) do
    tally = Enum.reduce(parts, sum.tally, &Tally.merge(&2, Tally.of(&1)))
    count(%{sum | tally: tally}, :text)
  end

  defp add({:skip, reason}, sum), do: count(sum, reason)

  defp count(sum, outcome), do: %{sum | outcomes: Map.update(sum.outcomes, outcome, 1, &(&1 + 1))}

  @doc "What `passes` passes make."
  @spec times(t, pos_integer) :: t
  def times(sum, passes) do
    %{sum | tally: Tally.times(sum.tally, passes), outcomes: Map.new(sum.outcomes, fn {k, n} -> {k, n * passes} end)}
  end
end

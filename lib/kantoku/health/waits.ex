defmodule Kantoku.Health.Waits do
  # Who waits for whom among agents that call each other, and the cycles in it; and who waits for something outside that it declared.
  # Row: {who, for whom, the call}. Ends nobody.
  @moduledoc false

  @doc "Makes the table, which lives as long as the calling process."
  @spec new_table() :: :ets.tid()
  def new_table, do: :ets.new(__MODULE__, [:public, write_concurrency: true])

  @typedoc "Something outside, until a monotonic ms, has no process that could be in a circle."
  @type whom :: pid | {:outside, until :: integer}

  @doc "Whom a process waits for."
  @spec for_whom(:ets.tid(), pid) :: whom | nil
  def for_whom(waits, pid) do
    case :ets.lookup(waits, pid) do
      [{_who, other, _call}] -> other
      [] -> nil
    end
  end

  @doc """
  The calls by which processes wait for each other in a circle, by process. What the dead have left is cleared away. A call that shows
  up twice has stood still meanwhile.
  """
  @spec cycles(:ets.tid()) :: %{pid => call :: reference}
  def cycles(waits) do
    {living, dead} = waits |> :ets.tab2list() |> Enum.split_with(fn {who, _other, _call} -> Process.alive?(who) end)
    Enum.each(dead, &:ets.delete_object(waits, &1))
    edges = Map.new(living, fn {who, other, call} -> {who, {other, call}} end)
    in_circle = edges |> Map.keys() |> Enum.reduce({%{}, MapSet.new()}, &follow(&1, edges, &2)) |> elem(0)
    Map.new(in_circle, fn {who, true} -> {who, edges |> Map.fetch!(who) |> elem(1)} end)
  end

  # Each waits for one other at most: whoever comes back to its own path is in a circle.
  defp follow(start, edges, {found, seen}), do: walk(start, edges, [], MapSet.new(), {found, seen})

  defp walk(at, edges, path, on_path, {found, seen}) do
    cond do
      at in on_path -> {circle(path, at, found), MapSet.union(seen, on_path)}
      at in seen or not is_map_key(edges, at) -> {found, MapSet.union(seen, on_path)}
      true -> walk(edges |> Map.fetch!(at) |> elem(0), edges, [at | path], MapSet.put(on_path, at), {found, seen})
    end
  end

  defp circle([at | _rest], at, found), do: Map.put(found, at, true)
  defp circle([other | rest], at, found), do: circle(rest, at, Map.put(found, other, true))
end

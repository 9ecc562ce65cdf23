defmodule Kantoku.Fuse.Stats do
  @moduledoc """
  How often a fuse was found whole, found blown and melted since it was installed for the first time, as fuse's `fuse_stats_ets`
  has it. Questions to a fuse with fault injection count while it is blown.
  """

  alias Kantoku.Fuse.Server

  @ok 1
  @blown 2
  @melt 3

  @doc "The counts of a fuse; raises `ArgumentError` if there is none of that name."
  @spec counters(Kantoku.Fuse.name()) :: [ok: non_neg_integer, blown: non_neg_integer, melt: non_neg_integer]
  def counters(name) do
    case Server.counters(name) do
      nil -> raise ArgumentError, "there is no fuse #{inspect(name)}"
      counters -> for {key, index} <- [ok: @ok, blown: @blown, melt: @melt], do: {key, :counters.get(counters, index)}
    end
  end

  @doc false
  @spec new() :: :counters.counters_ref()
  def new, do: :counters.new(3, [:write_concurrency])

  @doc false
  @spec count(:counters.counters_ref(), what) :: what when what: :ok | :blown | :melt
  def count(counters, what) do
    :counters.add(counters, index(what), 1)
    what
  end

  defp index(:ok), do: @ok
  defp index(:blown), do: @blown
  defp index(:melt), do: @melt
end

defmodule Kantoku.Engine.Elixir.Pool.Measures do
  # How long requests waited and took, in buckets of nanoseconds: each of them is counted. Knows no requests.
  @moduledoc false

  alias Kantoku.Metrics.Scale

  defstruct waits: {%{}, 0}, requests: {%{}, 0}

  @typep counted :: {%{Scale.bucket() => pos_integer}, sum :: non_neg_integer}
  @type t :: %__MODULE__{waits: counted, requests: counted}

  # In a second.
  @ticks 1.0e9

  @spec waited(t, integer) :: t
  def waited(measures, ns), do: %{measures | waits: count(measures.waits, max(ns, 0))}

  @spec took(t, integer) :: t
  def took(measures, ns), do: %{measures | requests: count(measures.requests, max(ns, 0))}

  defp count({counts, sum}, ns), do: {Map.update(counts, Scale.bucket(ns), 1, &(&1 + 1)), sum + ns}

  @spec spread(t, :waits | :requests) :: Kantoku.Engine.Metrics.spread()
  def spread(measures, of) do
    {counts, sum} = Map.fetch!(measures, of)
    counts |> Enum.sort() |> Scale.spread(sum, @ticks)
  end
end

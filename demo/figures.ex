defmodule Demo.Figures do
  # Numbers as people read them. Pure.
  @moduledoc false

  @doc """
  A whole number in groups of three digits.

      iex> Demo.Figures.count(1234567)
      "1,234,567"
  """
  @spec count(integer) :: String.t()
  def count(number), do: Regex.replace(~r/(?<=\d)(?=(\d{3})+$)/, Integer.to_string(number), ",")

  @doc """
  A duration of so many microseconds.

      iex> Enum.map([850, 12_400, 3_200_000], &Demo.Figures.duration/1)
      ["0.85 ms", "12 ms", "3.2 s"]
  """
  @spec duration(non_neg_integer) :: String.t()
  def duration(us) when us < 10_000, do: "#{Float.round(us / 1_000, 2)} ms"
  def duration(us) when us < 1_000_000, do: "#{div(us, 1_000)} ms"
  def duration(us), do: "#{Float.round(us / 1_000_000, 1)} s"

  @doc """
  The spread of durations in µs.

      iex> Demo.Figures.spread(%{p50: 850, p99: 12_400})
      "p50 0.85 ms p99 12 ms"
  """
  @spec spread(%{p50: non_neg_integer, p99: non_neg_integer}) :: String.t()
  def spread(%{p50: p50, p99: p99}), do: "p50 #{duration(p50)} p99 #{duration(p99)}"

  @doc """
  So many bytes in a time, in MB a second.

      iex> Demo.Figures.per_second(52_000_000, 4_000)
      "13.0 MB/s"
  """
  @spec per_second(non_neg_integer, ms :: integer) :: String.t()
  def per_second(bytes, ms), do: "#{Float.round(bytes / 1_000 / max(ms, 1), 1)} MB/s"
end

defmodule Kantoku.Domain.Bucket do
  # A token bucket in one atomic integer: the generic cell rate algorithm (ITU-T I.371). Knows no clock and no domain.
  #
  # The cell holds the theoretical arrival time in microseconds. A reservation moves it by one interval, so that those who
  # come together are spread one interval apart once the burst is used up; there is nothing to refill.
  @moduledoc false

  @type rule :: :infinity | %{rate: pos_integer, burst: pos_integer}

  @doc "Reserves the next place at or after `at` (µs); the delay in µs from `at`."
  @spec reserve(:atomics.atomics_ref(), pos_integer, integer, rule) :: non_neg_integer
  def reserve(_cells, _index, _at, :infinity), do: 0

  def reserve(cells, index, at, %{rate: rate, burst: burst} = rule) do
    interval = div(1_000_000, rate)
    seen = :atomics.get(cells, index)
    arrival = max(seen, at)

    case :atomics.compare_exchange(cells, index, seen, arrival + interval) do
      :ok -> max(0, arrival - (burst - 1) * interval - at)
      _moved -> reserve(cells, index, at, rule)
    end
  end
end

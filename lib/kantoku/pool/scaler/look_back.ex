defmodule Kantoku.Pool.Scaler.LookBack do
  # The mean of a value over the last ms of the clock, each reading weighted by the time since the one before. Bounded: readings
  # are added up in sixteenths of the time, so the rhythm of the readings costs no memory. Knows no metric.
  @moduledoc false

  @slots 16

  defstruct last: nil, slots: []

  @type t :: %__MODULE__{last: nil | integer, slots: [{index :: integer, sum :: float, weight :: pos_integer}]}

  @doc "Adds what was read at `now` and answers the mean of the last `length` ms."
  @spec add(t, integer, number, non_neg_integer) :: {number, t}
  def add(_past, now, value, 0), do: {value, %__MODULE__{last: now}}

  def add(past, now, value, length) do
    slots = past.slots |> put(past.last, now, value, length) |> since(now - length, width(length))
    {mean(slots, value), %__MODULE__{last: now, slots: slots}}
  end

  defp put(slots, nil, _now, _value, _length), do: slots
  defp put(slots, last, now, _value, _length) when last >= now, do: slots

  defp put(slots, last, now, value, length) do
    weight = min(now - last, length)

    case {Integer.floor_div(now, width(length)), slots} do
      {index, [{index, sum, had} | rest]} -> [{index, sum + value * weight, had + weight} | rest]
      {index, rest} -> [{index, value * weight * 1.0, weight} | rest]
    end
  end

  defp since(slots, cutoff, width), do: Enum.take_while(slots, fn {index, _, _} -> (index + 1) * width > cutoff end)

  defp width(length), do: max(1, div(length, @slots))

  defp mean([], value), do: value

  defp mean(slots, _value) do
    {sum, weight} =
      Enum.reduce(slots, {0.0, 0}, fn {_, sum, weight}, {sums, weights} -> {sums + sum, weights + weight} end)

    sum / weight
  end
end

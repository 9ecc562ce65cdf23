defmodule Kantoku.Pool.Scaler.Window do
  # The greatest or the least of what was wished within the last ms of the clock. Keeps only what may still be it: values go one
  # way from the newest to the oldest, so there are never more than there are different sizes. Knows no policy.
  @moduledoc false

  defstruct [:extreme, kept: []]

  @type t :: %__MODULE__{extreme: :max | :min, kept: [{at :: integer, value :: integer}]}

  @spec new(:max | :min) :: t
  def new(extreme), do: %__MODULE__{extreme: extreme}

  @doc "Adds a value of `now` and forgets what is `length` ms old or older."
  @spec add(t, integer, integer, non_neg_integer) :: t
  def add(window, now, value, length) do
    kept = window.kept |> Enum.drop_while(fn {_, old} -> beaten?(window.extreme, old, value) end) |> since(now - length)
    %{window | kept: [{now, value} | kept]}
  end

  @doc "The extreme of what is kept, and when it was wished."
  @spec extreme(t) :: {at :: integer, value :: integer}
  def extreme(%__MODULE__{kept: kept}), do: List.last(kept)

  defp beaten?(:max, old, new), do: new >= old
  defp beaten?(:min, old, new), do: new <= old

  defp since(kept, cutoff), do: Enum.take_while(kept, fn {at, _} -> at > cutoff end)
end

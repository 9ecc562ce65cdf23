defmodule Kantoku.Engine.Elixir.Pool.Mean do
  # A mean in which each sample weighs a sixteenth, but the first all. In whole numbers, so that any engine gets the same.
  @moduledoc false

  @type t :: non_neg_integer | nil

  @spec add(t, non_neg_integer) :: non_neg_integer
  def add(nil, sample), do: sample
  def add(mean, sample), do: mean + div(sample - mean, 16)

  @doc "The mean in whole units of so many of a sample's; 0 before the first sample."
  @spec read(t, pos_integer) :: non_neg_integer
  def read(nil, _unit), do: 0
  def read(mean, unit), do: div(mean, unit)
end

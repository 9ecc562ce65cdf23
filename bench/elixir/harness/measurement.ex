defmodule Bench.Measurement do
  @moduledoc false
  # Figures that stand for themselves: no ratio is taken. `run` answers one figure for each label, once a round.

  @enforce_keys [:name, :unit, :does, :run]
  defstruct [:name, :unit, :does, :run, rounds: nil]

  @type t :: %__MODULE__{
          name: String.t(),
          unit: String.t(),
          does: String.t(),
          run: (stage :: term -> [{label :: String.t(), number}]),
          rounds: pos_integer | nil
        }
end

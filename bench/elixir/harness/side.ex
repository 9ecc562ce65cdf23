defmodule Bench.Side do
  @moduledoc false
  # One of the two that are compared: how it is made ready, what a round of it does, how it is taken down.

  @enforce_keys [:does, :round]
  defstruct [:does, :round, start: &Function.identity/1, stop: &Function.identity/1]

  @type t :: %__MODULE__{
          does: String.t(),
          start: (stage :: term -> state :: term),
          round: (state :: term -> number | [{metric :: String.t(), number}]),
          stop: (state :: term -> term)
        }
end

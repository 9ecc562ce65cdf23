defmodule Bench.Check do
  @moduledoc false
  # Something counted that has to be zero. `run` answers every count there is; those in `zero` decide.

  @enforce_keys [:name, :does, :run, :zero]
  defstruct [:name, :does, :run, :zero]

  @type t :: %__MODULE__{
          name: String.t(),
          does: String.t(),
          run: (stage :: term -> [{label :: String.t(), non_neg_integer}]),
          zero: [String.t()]
        }

  @doc "Whether all that has to be zero was counted, and is."
  @spec passed?(t, [{String.t(), non_neg_integer}]) :: boolean
  def passed?(%__MODULE__{zero: zero}, counts) do
    Enum.all?(zero, &(List.keyfind(counts, &1, 0) == {&1, 0}))
  end
end

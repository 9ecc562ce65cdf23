defmodule Bench.Comparison do
  @moduledoc false
  # Two sides that are run in turn. `name` is what a claim is made under, `variant` the size or shape it is made for.

  @enforce_keys [:name, :unit, :better, :ours, :theirs]
  defstruct [:name, :unit, :better, :ours, :theirs, variant: nil]

  @type t :: %__MODULE__{
          name: String.t(),
          variant: String.t() | nil,
          unit: String.t(),
          better: :higher | :lower,
          ours: Bench.Side.t(),
          theirs: Bench.Side.t()
        }

  @doc "The same comparison with the peer on both sides: what it says then is noise."
  @spec control(t) :: t
  def control(%__MODULE__{} = comparison), do: %{comparison | ours: comparison.theirs}

  @doc "How often better ours is, as a factor: above 1.0 means ours is."
  @spec ratio(t, ours :: number, theirs :: number) :: float
  def ratio(%__MODULE__{better: :higher}, ours, theirs), do: ours / theirs
  def ratio(%__MODULE__{better: :lower}, ours, theirs), do: theirs / ours
end

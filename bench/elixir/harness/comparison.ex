defmodule Bench.Comparison do
  @moduledoc false
  # Two sides that are run in turn. `name` is what a claim is made under, `variant` the size or shape it is made for. Where a round
  # reports several metrics, `metrics` says under which name and unit each is claimed, and which way is better. One that is `doubted` is
  # played again where we seem to lose.

  @enforce_keys [:name, :unit, :better, :ours, :theirs]
  defstruct [:name, :unit, :better, :ours, :theirs, variant: nil, metrics: %{}, doubted: false]

  @type t :: %__MODULE__{
          name: String.t(),
          variant: String.t() | nil,
          unit: String.t(),
          better: :higher | :lower,
          ours: Bench.Side.t(),
          theirs: Bench.Side.t(),
          metrics: %{String.t() => {name :: String.t(), unit :: String.t(), :higher | :lower}},
          doubted: boolean
        }

  @doc "The same comparison with the peer on both sides: what it says then is noise."
  @spec control(t) :: t
  def control(%__MODULE__{} = comparison), do: %{comparison | ours: comparison.theirs}

  @doc "The comparison of one of the metrics that a round reports: by itself, or as what it says of all."
  @spec of(t, metric :: String.t() | nil) :: {t, metric :: String.t() | nil}
  def of(%__MODULE__{metrics: metrics} = comparison, metric) do
    case metrics do
      %{^metric => {name, unit, better}} -> {%{comparison | name: name, unit: unit, better: better}, nil}
      _ -> {comparison, metric}
    end
  end

  @doc "How often better ours is, as a factor: above 1.0 means ours is."
  @spec ratio(t, ours :: number, theirs :: number) :: float
  def ratio(%__MODULE__{better: :higher}, ours, theirs), do: ours / theirs
  def ratio(%__MODULE__{better: :lower}, ours, theirs), do: theirs / ours
end

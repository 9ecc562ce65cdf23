defmodule Kantoku.Degradation.Levels do
  # Which level some readings of one quantity come to. Pure.
  #
  # L1  A level is entered when the last `needed` readings all are at its mark or above, and left when all are below nine tenths of it.
  #     Between the two it is held, if it was.
  @moduledoc false

  alias Kantoku.Degradation

  @exit 0.9

  @enforce_keys [:level, :values]
  defstruct level: 0, values: []

  @type t :: %__MODULE__{level: Degradation.level(), values: [number]}

  @spec new() :: t
  def new, do: %__MODULE__{level: 0, values: []}

  @doc "One more reading. What is not known sheds nothing."
  @spec next(t, number | :unknown, marks :: [number], needed :: pos_integer) :: t
  def next(_levels, :unknown, _marks, _needed), do: new()

  def next(%{level: held, values: values}, value, marks, needed) do
    values = Enum.take([value | values], needed)
    least = if length(values) < needed, do: 0, else: Enum.min(values)
    most = Enum.max(values)

    level =
      marks
      |> Enum.with_index(1)
      |> Enum.count(fn {mark, at} -> least >= mark or (at <= held and most >= mark * @exit) end)

    %__MODULE__{level: level, values: values}
  end
end

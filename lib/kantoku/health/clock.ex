defmodule Kantoku.Health.Clock do
  # Tells a gap in our own time (the VM was stopped, the machine slept, the scheduler was held) from time that others used: who was not
  # looked at because we were not there gets a fresh period. Pure; times are in ms.
  @moduledoc false

  @enforce_keys [:period, :last]
  defstruct [:period, :last, granted: nil]

  @type t :: %__MODULE__{period: pos_integer, last: integer, granted: integer | nil}

  @spec new(pos_integer, integer) :: t
  def new(period, now), do: %__MODULE__{period: period, last: now}

  @doc "Looks at the clock, `expected` ms after the last time; and whether it took more than a period longer."
  @spec tick(t, integer, non_neg_integer) :: {gap :: boolean, t}
  def tick(%{period: period, last: last} = clock, now, expected) do
    if now - last > expected + period,
      do: {true, %{clock | last: now, granted: now + period}},
      else: {false, %{clock | last: now}}
  end

  @doc "Whether nothing may be held against anybody now."
  @spec grace?(t, integer) :: boolean
  def grace?(%{granted: nil}, _now), do: false
  def grace?(%{granted: until}, now), do: now < until
end

defmodule Kantoku.Engine.Elixir.Pool.Latency do
  # How long a worker takes, as an average that believes bad news at once and good news slowly: Finagle's peak EWMA. In ns.
  @moduledoc false

  defstruct value: 0.0, at: nil

  @type t :: %__MODULE__{value: float, at: integer | nil}

  @doc "Takes a hold into account. `decay` is the time in which what was before loses all but 1/e of its weight, in ns."
  @spec hear(t, non_neg_integer, integer, pos_integer) :: t
  def hear(%{value: value}, hold, now, _decay) when hold >= value, do: %__MODULE__{value: hold * 1.0, at: now}

  def hear(latency, hold, now, decay) do
    weight = weight(latency, now, decay)
    %__MODULE__{value: latency.value * weight + hold * (1 - weight), at: now}
  end

  @doc "What to expect now. It fades while nothing is heard, so that one bad moment does not keep a worker idle for ever."
  @spec expect(t, integer, pos_integer) :: float
  def expect(%{at: nil}, _now, _decay), do: 0.0
  def expect(latency, now, decay), do: latency.value * weight(latency, now, decay)

  defp weight(latency, now, decay), do: :math.exp(-max(now - latency.at, 0) / decay)
end

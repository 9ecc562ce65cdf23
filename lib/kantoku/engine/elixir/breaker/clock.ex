defmodule Kantoku.Engine.Elixir.Breaker.Clock do
  # The time that breakers go by: that in which we ran. A beat that is more than a period late tells that we were stopped ourselves;
  # all of that time but one period is lost. Pure; times are in ns.
  @moduledoc false

  @period 1_000_000_000

  defstruct beat: nil, lost: 0, resumed: nil

  @type t :: %__MODULE__{beat: integer | nil, lost: non_neg_integer, resumed: integer | nil}

  @doc "We run."
  @spec beat(t, now :: integer) :: t
  def beat(clock, now) do
    %{beat: last} = clock = settle(clock, now)
    %{clock | beat: if(last, do: max(last, now), else: now)}
  end

  @doc "The time in which we ran."
  @spec running(t, now :: integer) :: {integer, t}
  def running(clock, now) do
    clock = settle(clock, now)
    {now - clock.lost, clock}
  end

  @doc "Whether a call that ends now and took so long was under way in a gap; after `running/2`."
  @spec spans_gap?(t, now :: integer, took :: non_neg_integer) :: boolean
  def spans_gap?(%{resumed: nil}, _now, _took), do: false
  def spans_gap?(%{resumed: resumed}, now, took), do: now - took < resumed

  defp settle(%{beat: beat} = clock, now) when is_integer(beat) and now - beat > 2 * @period,
    do: %{clock | beat: now, resumed: now, lost: clock.lost + now - beat - @period}

  defp settle(clock, _now), do: clock
end

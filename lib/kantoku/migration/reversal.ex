defmodule Kantoku.Migration.Reversal do
  @moduledoc """
  Why a canary went back by itself: both sides' figures, how many calls they are of, and the margin that was passed.

    * `measure` - `:errors` or `:latency`;
    * `canary`, `control` - shares of failed calls, or microseconds at `quantile`;
    * `canary_samples`, `control_samples` - calls in the window;
    * `margin` - `:error_margin` or `:latency_margin` as it was; `confidence` - standard errors between chance and this verdict;
    * `from` - the mode that it had; `at` - ms of system time.

      iex> reversal = %Kantoku.Migration.Reversal{
      ...>   measure: :errors, canary: 0.25, control: 0.01, canary_samples: 200, control_samples: 1800, margin: 0.01
      ...> }
      iex> Kantoku.Migration.Reversal.explain(reversal)
      "25.0 % of 200 calls failed, against 1.0 % of 1800 on the old side; the margin is 1.0 points"
  """

  @enforce_keys [:measure, :canary, :control, :canary_samples, :control_samples, :margin]
  defstruct [
    :measure,
    :canary,
    :control,
    :canary_samples,
    :control_samples,
    :margin,
    :quantile,
    :confidence,
    :from,
    :at
  ]

  @type t :: %__MODULE__{
          measure: :errors | :latency,
          canary: number,
          control: number,
          canary_samples: pos_integer,
          control_samples: pos_integer,
          margin: number,
          quantile: number | nil,
          confidence: number | nil,
          from: {:canary, number} | nil,
          at: integer | nil
        }

  @doc "In a sentence."
  @spec explain(t) :: String.t()
  def explain(%__MODULE__{measure: :errors} = reversal) do
    "#{percent(reversal.canary)} % of #{reversal.canary_samples} calls failed, against #{percent(reversal.control)} % of " <>
      "#{reversal.control_samples} on the old side; the margin is #{percent(reversal.margin)} points"
  end

  def explain(%__MODULE__{measure: :latency} = reversal) do
    "#{percent(reversal.quantile)} % of #{reversal.canary_samples} calls took up to #{ms(reversal.canary)} ms, against " <>
      "#{ms(reversal.control)} ms of #{reversal.control_samples} on the old side; the margin is #{reversal.margin} times"
  end

  defp percent(share), do: Float.round(share * 100.0, 2)
  defp ms(microseconds), do: Float.round(microseconds / 1_000, 2)
end

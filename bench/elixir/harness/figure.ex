defmodule Bench.Figure do
  @moduledoc false
  # How a number is written for people: three significant digits where they say something, and thousands apart.

  @spec text(number) :: String.t()
  def text(value) when is_integer(value), do: thousands(value)
  def text(value) when value >= 100 or value <= -100, do: value |> round() |> thousands()
  def text(value) when value >= 10 or value <= -10, do: :erlang.float_to_binary(value, decimals: 1)
  def text(value) when value >= 0.1 or value == 0, do: :erlang.float_to_binary(value * 1.0, decimals: 2)
  def text(value), do: :erlang.float_to_binary(value * 1.0, decimals: 4)

  @doc "A ratio as machines read it: always with a point, never with thousands."
  @spec ratio(number) :: String.t()
  def ratio(value) when value >= 0.1, do: :erlang.float_to_binary(value * 1.0, decimals: 3)
  def ratio(value), do: :erlang.float_to_binary(value * 1.0, decimals: 6)

  defp thousands(value) when value < 0, do: "-" <> thousands(-value)
  defp thousands(value), do: value |> Integer.to_string() |> String.replace(~r/\B(?=(\d{3})+$)/, ",")
end

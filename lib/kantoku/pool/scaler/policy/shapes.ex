defmodule Kantoku.Pool.Scaler.Policy.Shapes do
  # What the values of a policy's options look like. Knows no option's meaning.
  @moduledoc false

  @known [:ongoing, :arrival_rate, :utilization, :queue_wait, :memory]

  @spec policies?(term) :: boolean
  def policies?(given), do: is_list(given) and given != [] and Enum.all?(given, &policy?/1)

  @spec metrics?(term) :: boolean
  def metrics?(given) do
    Keyword.keyword?(given) and given != [] and Enum.all?(given, &metric?/1) and
      Enum.uniq(Keyword.keys(given)) == Keyword.keys(given)
  end

  @spec tolerance?(term) :: boolean
  def tolerance?(given), do: is_number(given) and given >= 0 and given < 1

  @spec own_tolerance?(term) :: boolean
  def own_tolerance?(given), do: given == nil or tolerance?(given)

  @spec seasons?(term) :: boolean
  def seasons?(given), do: is_integer(given) and given >= 3

  defp policy?({kind, value, [period: period]}) when kind in [:percent, :count],
    do: positive?(value) and positive?(period)

  defp policy?(_other), do: false

  defp metric?({name, target}) when name in @known, do: target?(target)
  defp metric?({_name, {read, target}}), do: is_function(read, 1) and target?(target)
  defp metric?(_other), do: false

  defp positive?(value), do: is_integer(value) and value > 0
  defp target?(value), do: is_number(value) and value > 0
end

defmodule Kantoku.Pattern do
  # Terms of users in the patterns of ETS. Knows no table.
  @moduledoc false

  @doc """
  A key as the head of a pattern may hold it: itself, so that the pattern is one look-up; or `:_` for one that would be read as a
  variable, or would match more than itself. Whoever uses it says the key once more as a condition.

      iex> Kantoku.Pattern.bound({:invoices, 7})
      {:invoices, 7}
      iex> Kantoku.Pattern.bound({:"$1", 7})
      :_
  """
  @spec bound(term) :: term
  def bound(key) when is_binary(key) or is_integer(key), do: key
  def bound(key), do: if(ground?(key), do: key, else: :_)

  @doc "The condition that what stands at a place of the pattern is this term and no other."
  @spec is(place :: term, term) :: tuple
  def is(place, term), do: {:"=:=", place, {:const, term}}

  @doc "As `is/2`, for an element of the whole row."
  @spec element_is(pos_integer, term) :: tuple
  def element_is(at, term), do: is({:element, at, :"$_"}, term)

  defp ground?(term) when is_atom(term), do: not String.starts_with?(Atom.to_string(term), ["$", "_"])
  defp ground?(term) when is_tuple(term), do: term |> Tuple.to_list() |> ground?()
  defp ground?([head | tail]), do: ground?(head) and ground?(tail)
  defp ground?(term) when is_map(term), do: false
  defp ground?(_term), do: true
end

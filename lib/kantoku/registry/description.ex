defmodule Kantoku.Registry.Description do
  # The attributes of an entry: what a change may say, and what it makes of them. Knows no registry.
  #
  # What is nil or empty is left out: most entries say little, and there are many.
  @moduledoc false

  alias Kantoku.Registry.Facet

  @fields [:type, :tags, :capabilities, :metadata, :status, :region, :node, :gate]

  @doc "The attributes that a change makes of those there are; the first change fills in the rest."
  @spec change!(map, keyword | map) :: map
  def change!(attributes, changes) do
    attributes = if attributes == %{}, do: first(), else: attributes
    Enum.reduce(pairs!(changes), attributes, fn {field, value}, all -> put(all, field, check!(field, value)) end)
  end

  defp put(attributes, field, nothing) when nothing in [nil, [], %{}], do: Map.delete(attributes, field)
  defp put(attributes, field, value), do: Map.put(attributes, field, value)

  @doc "What there is to say of something of which nothing was said but its type."
  @spec first(module) :: map
  def first(type) when is_atom(type) and type != nil, do: Map.put(first(), :type, type)

  defp first, do: %{node: node(), started_at: System.system_time(:millisecond)}

  defp pairs!(changes) when is_map(changes) and not is_struct(changes), do: Map.to_list(changes)

  defp pairs!(changes) do
    if Keyword.keyword?(changes), do: changes, else: bad!("changes", changes, "a keyword list or a map")
  end

  defp check!(field, value) when field in [:tags, :capabilities] do
    expect!(labels?(value), field, value, "a list of which each is #{Facet.label()}")
    Enum.uniq(value)
  end

  defp check!(field, value) when field in @fields do
    expect!(valid?(field, value), field, value, expected(field))
    value
  end

  defp check!(field, value) do
    raise ArgumentError,
          "unknown field #{inspect(field)} (with #{inspect(value)}) to describe, expected one of #{inspect(@fields)}"
  end

  defp labels?([]), do: true
  defp labels?([label | rest]), do: Facet.label?(label) and labels?(rest)
  defp labels?(_other), do: false

  defp valid?(:metadata, value), do: is_map(value) and not is_struct(value)
  defp valid?(:node, value), do: is_atom(value) and value != nil
  defp valid?(:region, value), do: Facet.label?(value)
  defp valid?(_type_or_status, value), do: is_atom(value)

  defp expected(:type), do: "a module"
  defp expected(:metadata), do: "a map, not a struct"
  defp expected(field) when field in [:status, :gate], do: "an atom"
  defp expected(:node), do: "a node's name"
  defp expected(:region), do: Facet.label()

  defp expect!(true, _field, _value, _expected), do: :ok
  defp expect!(false, field, value, expected), do: bad!(inspect(field), value, expected)

  defp bad!(what, value, expected) do
    raise ArgumentError, "expected #{what} to be #{expected}, got: #{inspect(value)}"
  end
end

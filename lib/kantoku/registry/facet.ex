defmodule Kantoku.Registry.Facet do
  # What an entry can be found by, and which values the index can hold. Knows neither entries nor criteria.
  @moduledoc false

  # The engines hold integers of up to 60 bits in one word, and binaries of up to 255 bytes.
  @integer_limit 2 ** 59
  @max_bytes 255
  @label "an atom or a binary of up to #{@max_bytes} bytes"

  @doc "Whether the index can hold a value."
  @spec indexable?(term) :: boolean
  def indexable?(value) when is_atom(value), do: true
  def indexable?(value) when is_integer(value), do: value >= -@integer_limit and value < @integer_limit
  def indexable?(value), do: is_binary(value) and byte_size(value) <= @max_bytes

  @doc "What `label?/1` expects, in words."
  @spec label() :: String.t()
  def label, do: @label

  @doc "Whether a value can be a tag, a capability or a region."
  @spec label?(term) :: boolean
  def label?(value), do: not is_integer(value) and indexable?(value)

  @doc "The facets of a description."
  @spec of(map) :: [Kantoku.Engine.facet()]
  def of(attributes), do: attributes |> Map.to_list() |> gather()

  # Most attributes are one facet each, and then it is what they are already.
  defp gather([{dimension, _value} = facet | rest]) when dimension in [:type, :status, :node, :region, :gate],
    do: [facet | gather(rest)]

  defp gather([attribute | rest]), do: facets(attribute) ++ gather(rest)
  defp gather([]), do: []

  defp facets({:tags, tags}), do: for(tag <- tags, do: {:tag, tag})
  defp facets({:capabilities, capabilities}), do: for(capability <- capabilities, do: {:capability, capability})
  defp facets({:metadata, metadata}), do: of_metadata(metadata)
  defp facets({:started_at, _time}), do: []

  defp of_metadata(metadata) do
    for {key, value} <- metadata, indexable?(key) and indexable?(value), do: {{:metadata, key}, value}
  end
end

defmodule Kantoku.Registry.Criteria do
  # Makes an engine's query of the criteria that people write. Knows no registry.
  #
  # Metadata that the index cannot hold is `residual`: compared with what the engine found, before the limit.
  @moduledoc false

  alias Kantoku.Registry.Facet

  @enforce_keys [:query, :residual, :return]
  defstruct @enforce_keys

  @typep residual :: {present :: boolean, key :: term, value :: term}
  @type t :: %__MODULE__{
          query: Kantoku.Engine.query(),
          residual: [residual],
          return: :pairs | :pids | :keys | :entries
        }

  @dimensions %{
    type: :type,
    tag: :tag,
    tags: :tag,
    capability: :capability,
    capabilities: :capability,
    status: :status,
    node: :node,
    region: :region,
    # Who is shut out by a probe; not for people (`Kantoku.Health.Gate`).
    gate: :gate,
    metadata: :metadata
  }
  @results [:order_by, :limit, :return]
  @known Map.keys(@dimensions) ++ [:any, :not] ++ @results

  @doc "Compiles criteria; raises `ArgumentError` with the key, the value and what was expected."
  @spec compile!(keyword) :: t
  def compile!(criteria) do
    expect!(Keyword.keyword?(criteria), "criteria", criteria, "a keyword list")
    known!(criteria)
    {all, any, none, results} = sorted!(criteria, [], [], [], [])

    %__MODULE__{
      query: {indexed(all), any, indexed(none), order!(results), limit!(results)},
      residual: residual(all, true, residual(none, false, [])),
      return: one_of!(results, :return, :pairs, [:pairs, :pids, :keys, :entries])
    }
  end

  # One walk, as this is a good part of what a query of few costs.
  defp sorted!([], all, any, none, results), do: {all, any, none, results}

  defp sorted!([{key, _value} = result | rest], all, any, none, results) when key in @results,
    do: sorted!(rest, all, any, none, results ++ [result])

  defp sorted!([{:any, value} | rest], all, any, none, results) do
    choices = :any |> nested!(value) |> Enum.map(&choice!/1)
    sorted!(rest, all, any ++ choices, none, results)
  end

  defp sorted!([{:not, value} | rest], all, any, none, results) do
    refused = :not |> nested!(value) |> Enum.flat_map(&facets!/1)
    sorted!(rest, all, any, none ++ refused, results)
  end

  defp sorted!([condition | rest], all, any, none, results),
    do: sorted!(rest, all ++ facets!(condition), any, none, results)

  @doc "Compiles what to watch: criteria of which all can be indexed, and without an order, limit or return."
  @spec compile_watch!(keyword) :: t
  def compile_watch!(criteria) do
    compiled = compile!(criteria)
    for {key, value} <- criteria, key in @results, do: refuse!(key, value, "left out of a watch")

    for {_present, key, value} <- compiled.residual do
      refuse!("metadata #{inspect(key)} of a watch", value, indexable())
    end

    compiled
  end

  @doc "Whether the residual criteria hold for a record's attributes."
  @spec holds?(t, map) :: boolean
  def holds?(%{residual: residual}, attributes) do
    metadata = Map.get(attributes, :metadata, %{})

    Enum.all?(residual, fn {present, key, value} ->
      match?({:ok, found} when found === value, Map.fetch(metadata, key)) == present
    end)
  end

  defp known!([]), do: :ok
  defp known!([{key, _value} | rest]) when key in @known, do: known!(rest)
  defp known!([{key, value} | _rest]), do: unknown!(key, value, Enum.sort(@known))

  defp nested!(key, value) do
    expect!(Keyword.keyword?(value), key, value, "a keyword list as [tags: [...]]")

    for {dimension, inner} <- value,
        not is_map_key(@dimensions, dimension),
        do: unknown!(dimension, inner, dimensions())

    # In these each key takes one value or a list of them.
    Enum.map(value, fn {dimension, inner} -> {dimension, if(is_list(inner), do: {:list, inner}, else: inner)} end)
  end

  defp dimensions, do: @dimensions |> Map.keys() |> Enum.sort()

  defp unknown!(key, value, known) do
    raise ArgumentError, "unknown criterion #{inspect(key)} (with #{inspect(value)}), expected one of #{inspect(known)}"
  end

  defp choice!(criterion) do
    facets = facets!(criterion)

    for {{:metadata, key}, value} = facet <- facets, not indexed?(facet) do
      refuse!("metadata #{inspect(key)} within :any", value, indexable())
    end

    facets
  end

  defp facets!({key, {:list, values}}), do: values!(key, values)

  defp facets!({key, values}) when key in [:tags, :capabilities] do
    expect!(is_list(values), key, values, "a list")
    values!(key, values)
  end

  defp facets!({:metadata, metadata}) do
    expect!(is_map(metadata) and not is_struct(metadata), ":metadata", metadata, "a map, not a struct")
    for {key, value} <- metadata, do: {{:metadata, key}, value}
  end

  defp facets!({key, value}), do: [{dimension(key), value!(key, value)}]

  defp values!(:metadata, maps) when is_list(maps), do: Enum.flat_map(maps, &facets!({:metadata, &1}))

  defp values!(key, values) do
    expect!(proper?(values), key, values, "a list")
    for value <- values, do: {dimension(key), value!(key, value)}
  end

  for {key, dimension} <- @dimensions do
    defp dimension(unquote(key)), do: unquote(dimension)
  end

  defp proper?(values), do: is_list(values) and not List.improper?(values)

  defp value!(key, value) when key in [:type, :status, :node, :gate] do
    expect!(is_atom(value) and value != nil, key, value, "an atom other than nil")
    value
  end

  defp value!(key, value) do
    expect!(Facet.label?(value), key, value, Facet.label())
    value
  end

  defp indexed([]), do: []
  defp indexed([facet]), do: if(indexed?(facet), do: [facet], else: [])
  defp indexed(facets), do: facets |> Enum.filter(&indexed?/1) |> Enum.uniq()

  defp residual([], _present, rest), do: rest

  defp residual([{dimension, value} = facet | facets], present, rest) do
    rest = residual(facets, present, rest)
    if indexed?(facet), do: rest, else: [{present, elem(dimension, 1), value} | rest]
  end

  defp indexed?({{:metadata, key}, value}), do: Facet.indexable?(key) and Facet.indexable?(value)
  defp indexed?(_facet), do: true

  defp indexable, do: "an atom, an integer of up to 60 bits or a binary of up to 255 bytes, as its key must be"

  defp order!(results), do: one_of!(results, :order_by, :none, [:load, :started_at, :random])

  defp limit!(results) do
    limit = Keyword.get(results, :limit, :infinity)
    valid? = limit == :infinity or (is_integer(limit) and limit >= 0)
    expect!(valid?, ":limit", limit, "a non-negative integer or :infinity")
    limit
  end

  defp one_of!(results, key, default, allowed) do
    value = Keyword.get(results, key, default)
    expect!(value == default or value in allowed, key, value, {:one_of, allowed})
    value
  end

  # What is only said on a failure is only put in words then: most queries are right, and quick.
  defp expect!(true, _what, _value, _expected), do: :ok
  defp expect!(false, what, value, expected), do: refuse!(what, value, expected)

  @spec refuse!(atom | String.t(), term, String.t() | {:one_of, [atom]}) :: no_return
  defp refuse!(what, value, {:one_of, allowed}), do: refuse!(what, value, "one of #{inspect(allowed)}")
  defp refuse!(key, value, expected) when is_atom(key), do: refuse!(inspect(key), value, expected)

  defp refuse!(what, value, expected) do
    raise ArgumentError, "expected #{what} to be #{expected}, got: #{inspect(value)}"
  end
end

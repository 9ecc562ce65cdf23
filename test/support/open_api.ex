defmodule Kantoku.OpenAPI do
  @moduledoc """
  The description of the API, and whether an answer is as it says: of the types that it names, with all keys that it requires and no others.
  """

  @file_name Path.expand("../../lib/kantoku/api/openapi.json", __DIR__)

  @doc "The description."
  def document, do: @file_name |> File.read!() |> Kantoku.JSONReader.read!()

  @doc "The schema of the answers of a path with a status."
  def schema(document, path, status, verb \\ "get") do
    response = resolved(document, document["paths"][path][verb]["responses"]["#{status}"])
    response["content"]["application/json"]["schema"]
  end

  @doc "What an answer has that its schema does not say: sentences with the place, none if it fits."
  def misfits(document, schema, value, place \\ "$")

  def misfits(document, %{"$ref" => _} = schema, value, place),
    do: misfits(document, resolved(document, schema), value, place)

  def misfits(document, schema, value, place) do
    types = List.wrap(schema["type"])

    cond do
      not Enum.any?(types, &type?(&1, value)) ->
        ["#{place}: #{inspect(value)} is none of #{inspect(types)}"]

      schema["enum"] && value not in schema["enum"] ->
        ["#{place}: #{inspect(value)} is not in #{inspect(schema["enum"])}"]

      true ->
        inside(document, schema, value, place)
    end
  end

  defp inside(document, schema, value, place) when is_map(value) do
    missing = for name <- schema["required"] || [], not is_map_key(value, name), do: "#{place}.#{name} is missing"
    missing ++ Enum.flat_map(value, &member(document, schema, &1, place))
  end

  defp inside(document, %{"items" => items}, values, place) when is_list(values) do
    for {value, index} <- Enum.with_index(values),
        misfit <- misfits(document, items, value, "#{place}[#{index}]"),
        do: misfit
  end

  defp inside(_document, _schema, _value, _place), do: []

  defp member(document, schema, {name, value}, place) do
    case {schema["properties"], schema["additionalProperties"]} do
      {%{^name => inner}, _more} -> misfits(document, inner, value, "#{place}.#{name}")
      {_properties, %{} = inner} -> misfits(document, inner, value, "#{place}.#{name}")
      {nil, nil} -> []
      _closed -> ["#{place}.#{name} is not described"]
    end
  end

  defp resolved(document, %{"$ref" => "#/" <> path}) do
    path |> String.split("/") |> Enum.reduce(document, &Map.fetch!(&2, &1))
  end

  defp resolved(_document, inline), do: inline

  defp type?("null", value), do: value == nil
  defp type?("string", value), do: is_binary(value)
  defp type?("integer", value), do: is_integer(value)
  defp type?("number", value), do: is_number(value)
  defp type?("boolean", value), do: is_boolean(value)
  defp type?("object", value), do: is_map(value)
  defp type?("array", value), do: is_list(value)
end

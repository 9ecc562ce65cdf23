defmodule Kantoku.Asking do
  @moduledoc """
  Asks `Kantoku.Api` as a program would, and holds every answer against the description in `lib/kantoku/api/openapi.json`.
  """
  import ExUnit.Assertions

  alias Kantoku.{Api, JSONReader, OpenAPI}

  @doc "Options of an instance that has something of everything which can be asked for."
  def everything do
    [
      domains: [[name: :default], [name: :tools, limits: [max_agents: 50], domains: [[name: :inner]]]],
      alerts: [interval: 20, sinks: []],
      breakers: [[name: :model, minimum_number_of_calls: 1, sliding_window_size: 1]],
      objectives: [[name: :answers, pool: :writers, target: 99.9]],
      health: [period: 50],
      pools: [
        [name: :writers, worker: {Kantoku.TestWorker, []}, target: 2, min: 1, max: 4, scaling: [metrics: [ongoing: 2]]]
      ]
    ]
  end

  @doc "What a path answers with 200."
  def ask!(path, query \\ %{}) do
    assert {200, body} = ask(path, query)
    body
  end

  @doc "The status and the body of an answer, which is as the description says."
  def ask(path, query \\ %{}) do
    query = Map.new(query, fn {name, value} -> {to_string(name), to_text(value)} end)
    {status, "application/json", body} = Api.get(["api", "v1" | String.split(path, "/")], query)
    body = JSONReader.read!(body)
    assert misfits("/api/v1/" <> path, status, body) == []
    {status, body}
  end

  defp to_text(value) when is_binary(value), do: value
  defp to_text(value) when is_atom(value), do: Kantoku.Api.Shown.text(value)
  defp to_text(value), do: to_string(value)

  defp misfits(path, status, body) do
    document = OpenAPI.document()
    schema = if document["paths"][path], do: OpenAPI.schema(document, path, status), else: error(document)
    OpenAPI.misfits(document, schema, body)
  end

  defp error(document), do: document["components"]["schemas"]["Error"]
end

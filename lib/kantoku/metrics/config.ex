defmodule Kantoku.Metrics.Config do
  # How much an instance's metrics may come to. Knows no metric.
  @moduledoc false

  @schema [
    max_series: [
      kind: :positive,
      default: 2_000,
      doc:
        "series of one metric; what is beyond is counted in one whose labels are all `other`. The default is that of OpenTelemetry's SDKs " <>
          "(Metrics SDK specification, \"Cardinality limits\")."
    ],
    max_bytes: [
      kind: :positive,
      default: 16 * 1024 * 1024,
      doc: "bytes of all metrics together; a histogram's series takes 8.8 KB. What is beyond is refused."
    ]
  ]

  @spec schema() :: Kantoku.Options.schema()
  def schema, do: @schema
end

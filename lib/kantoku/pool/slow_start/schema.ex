defmodule Kantoku.Pool.SlowStart.Schema do
  # The options of a pool's slow start. Checks none.
  @moduledoc false

  @options [
    slow_start_window: [
      kind: :positive,
      default: 10_000,
      doc: "ms in which a worker's share grows. Envoy names no default; this is one `interval` of ejection."
    ],
    min_weight_percent: [
      kind: {:like, "1 to 100", &Kantoku.Pool.Ejection.Schema.percent?/1},
      default: 10,
      doc: "percent of its share that it has at once."
    ],
    fresh: [kind: :boolean, default: false, doc: "whether workers begin so that were just started, as well."]
  ]

  @spec options() :: Kantoku.Options.schema()
  def options, do: @options
end

defmodule Kantoku.Pool.Ejection.Schema do
  # The options of a pool's ejection. Checks none.
  @moduledoc false

  @options [
    enforcing: [
      kind: :boolean,
      default: true,
      doc: "whether workers are ejected, or it is only told who would be (Envoy's `enforcing_*`, of 100 or 0)."
    ],
    consecutive_failures: [
      kind: {:positive_or, [false]},
      default: 5,
      doc: "failures in a row after which a worker is ejected at once (`consecutive_5xx`); `false`: never."
    ],
    interval: [
      kind: :positive,
      default: 10_000,
      doc: "ms over which rates and latencies are taken, and after which a healthy worker counts one ejection less."
    ],
    base_ejection_time: [
      kind: :positive,
      default: 30_000,
      doc: "ms that the first ejection lasts; the n-th n times as long."
    ],
    max_ejection_time: [
      kind: :positive,
      default: 300_000,
      doc: "ms that one lasts at most; the base, if that is more."
    ],
    max_ejection_time_jitter: [
      kind: :non_negative,
      default: 0,
      doc: "ms up to which, at random, each lasts longer, so that not all come back at once."
    ],
    max_ejection_percent: [
      kind: {:like, "1 to 100", &__MODULE__.percent?/1},
      default: 10,
      doc: "of a pool's workers that may be ejected at once; one may be, whatever it says, but not one alone."
    ],
    success_rate_minimum_hosts: [
      kind: :positive,
      default: 5,
      doc: "so many workers need enough requests in an interval for rates to be compared."
    ],
    success_rate_request_volume: [
      kind: :positive,
      default: 100,
      doc: "requests in an interval that are enough."
    ],
    success_rate_stdev_factor: [
      kind: {:positive_or, [false]},
      default: 1_900,
      doc:
        "thousandths: who has a rate of success below the mean by more than 1.9 standard deviations is ejected; `false`: nobody is."
    ],
    latency_minimum_hosts: [
      kind: :positive,
      default: 5,
      doc: "so many workers need enough timed requests in an interval for latencies to be compared."
    ],
    latency_request_volume: [
      kind: :positive,
      default: 10,
      doc:
        "timed requests that are enough. Timed are all that waited, all under `strategy: :peak_ewma`, and at least one in 16 of the others."
    ],
    latency_multiple: [
      kind: {:positive_or, [false]},
      default: 5,
      doc: "who takes so many times as long as the median is ejected; `false`: nobody is."
    ],
    latency_floor: [kind: :non_negative, default: 100, doc: "ms; who is faster is not slow, whatever the median."]
  ]

  @spec options() :: Kantoku.Options.schema()
  def options, do: @options

  @doc false
  @spec percent?(term) :: boolean
  def percent?(percent), do: is_integer(percent) and percent in 1..100
end

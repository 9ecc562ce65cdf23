defmodule Kantoku.Pool.Scaler.Policy do
  alias Kantoku.Options
  alias __MODULE__.Shapes

  @up [
    stabilization: [
      kind: :non_negative,
      default: 0,
      doc: "ms; the least wish of this time counts (HPA: 0 s)."
    ],
    policies: [
      kind: {:like, "a list of {:percent | :count, 1.., period: ms}", &Shapes.policies?/1},
      default: [{:percent, 100, period: 15_000}, {:count, 4, period: 15_000}],
      doc: "how much a pool may grow within a period, in percent of what it had at the period's start, or in workers."
    ],
    select: [
      kind: {:one_of, [:max, :min, :disabled]},
      default: :max,
      doc: "which policy counts: that which allows most, that which allows least; `:disabled`: the pool never grows."
    ],
    tolerance: [
      kind: {:like, "nil or a number from 0 to below 1", &Shapes.own_tolerance?/1},
      default: nil,
      doc: "a tolerance of this direction's own (Kubernetes 1.33, KEP-4951); `nil`: the pool's."
    ]
  ]
  @down [
    stabilization: [
      kind: :non_negative,
      default: 300_000,
      doc: "ms; the greatest wish of this time counts (HPA: 300 s)."
    ],
    policies: [
      kind: {:like, "a list of {:percent | :count, 1.., period: ms}", &Shapes.policies?/1},
      default: [{:percent, 100, period: 15_000}],
      doc: "as for growth."
    ],
    select: [kind: {:one_of, [:max, :min, :disabled]}, default: :max, doc: "as for growth."],
    tolerance: [
      kind: {:like, "nil or a number from 0 to below 1", &Shapes.own_tolerance?/1},
      default: nil,
      doc: "as for growth. More of it keeps a small pool under an uneven load from going up and down."
    ]
  ]
  @cooldown [
    up: [kind: :non_negative, default: 0, doc: "ms after any change of size before the pool may grow."],
    down: [kind: :non_negative, default: 0, doc: "ms after any change of size before it may shrink."]
  ]
  @forecast [
    lead: [kind: :positive, default: 30_000, doc: "ms a new worker needs until it is ready: how far ahead is looked."],
    bucket: [kind: :positive, default: 300_000, doc: "ms; the history keeps one mean for each."],
    season: [kind: :positive, default: 86_400_000, doc: "ms, a multiple of the bucket, at least two of them."],
    seasons: [
      kind: {:like, "an integer of 3 or more", &Shapes.seasons?/1},
      default: 14,
      doc: "how many of them the history keeps."
    ]
  ]
  @schema [
    min: [kind: :positive, default: 1, doc: "the fewest workers. A pool is not scaled to none: nobody would wake it."],
    max: [kind: :positive, required: true, doc: "the most workers."],
    metrics: [
      kind: {:like, "a keyword list of targets above 0, or of {function/1, target}", &Shapes.metrics?/1},
      default: [ongoing: 0.7],
      doc: "what is looked at, each with its target; the metric that wishes for most workers counts."
    ],
    tolerance: [
      kind: {:like, "a number from 0 to below 1", &Shapes.tolerance?/1},
      default: 0.1,
      doc: "how far from 1.0 the ratio of what is needed to what is there may be without a move (HPA: 0.1)."
    ],
    look_back: [
      kind: :non_negative,
      default: 2_000,
      doc:
        "ms; a metric's mean over this time counts (Ray Serve's `look_back_period_s`; 30 s there, which is late for workers that " <>
          "start in milliseconds). 0: the last reading. More of it needs fewer workers under an uneven load, and reacts later."
    ],
    scale_up: [kind: {:options, @up}, doc: "how the pool grows:"],
    scale_down: [kind: {:options, @down}, doc: "how it shrinks:"],
    cooldown: [kind: {:options, @cooldown}, doc: "a rest after each change, as in HPA before Kubernetes 1.12:"],
    forecast: [
      kind: {:options_or, @forecast, [:off]},
      default: [],
      doc: "looks ahead by `Kantoku.Pool.Forecast`, or `:off`:"
    ]
  ]

  @moduledoc """
  How a pool is scaled: the options of `Kantoku.Pool.Scaler`, checked once and trusted from there on.

  Names, meanings and defaults are those of Kubernetes' Horizontal Pod Autoscaler (`autoscaling/v2`), so that what is known of it
  holds here. All durations are ms of the clock, whatever the rhythm of the ticks.

      iex> policy = Kantoku.Pool.Scaler.Policy.new!(max: 20, metrics: [ongoing: 0.7, queue_wait: 50])
      iex> {policy.min, policy.max, policy.tolerance, policy.scale_down.stabilization}
      {1, 20, 0.1, 300_000}

  ## Options

  #{Options.docs(@schema)}

  ## Metrics

  | metric | what is read | unit | target |
  |---|---|---|---|
  | `:ongoing` | requests that workers have and requests that wait, of the whole pool | requests | requests per worker |
  | `:arrival_rate` | requests that came, of the whole pool | requests/s | requests/s per worker |
  | `:utilization` | the busy share of the workers, their mean | 0..1 | 0..1 |
  | `:queue_wait` | how long requests waited | ms | ms |
  | `:memory` | memory of the workers, their mean | bytes | bytes |
  | any other name, `{function, target}` | what the function returns for the pool's status: a mean of the workers | its own | its own |

  `:ongoing` is Ray Serve's measure (`target_ongoing_requests`). Its default of 0.7 is for workers that serve one request at a
  time (`max_ongoing` 1, the default of a pool): Knative's 70 % of what a worker may have at once. For other workers take 0.7
  times their `max_ongoing`. Ray Serve's own default of 2 goes with its 5 requests at once.

  `:queue_wait` says that workers are too few, and never how many are too many: let `:ongoing` or `:utilization` stand beside it.
  """

  # A history is fitted over again from time to time; this many take some seconds.
  @most_buckets 50_000
  @totals [:ongoing, :arrival_rate]
  @names Keyword.keys(@schema)
  @enforce_keys @names
  defstruct @names

  @typedoc "`:total`: read for the whole pool; `:mean`: the mean of the workers. `read` is for metrics by function."
  @type metric :: %{name: atom, kind: :total | :mean, target: number, read: nil | (map -> number | nil)}

  @typedoc "How far a pool may go in one direction. Periods in ms."
  @type rules :: %{
          stabilization: non_neg_integer,
          policies: [{:percent | :count, pos_integer, [period: pos_integer]}],
          select: :max | :min | :disabled,
          tolerance: number | nil
        }

  @type forecast :: %{lead: pos_integer, bucket: pos_integer, season: pos_integer, seasons: pos_integer}

  @type t :: %__MODULE__{
          min: pos_integer,
          max: pos_integer,
          metrics: [metric, ...],
          tolerance: number,
          look_back: non_neg_integer,
          scale_up: rules,
          scale_down: rules,
          cooldown: %{up: non_neg_integer, down: non_neg_integer},
          forecast: :off | forecast
        }

  @doc false
  @spec schema() :: Options.schema()
  def schema, do: @schema

  @doc """
  A policy from options. Raises `ArgumentError`, beginning with `where`, for what does not fit.

      iex> Kantoku.Pool.Scaler.Policy.new!(min: 4, max: 2)
      ** (ArgumentError) scaling, option :max: expected at least :min (4), got: 2
  """
  @spec new!(keyword, String.t()) :: t
  def new!(options, where \\ "scaling") do
    checked = Options.validate!(options, @schema, where)
    sound!(struct!(__MODULE__, %{checked | metrics: metrics(checked.metrics)}), where)
  end

  @doc """
  The policy with some options changed; nested ones are merged. Raises as `new!/2` does.

      iex> policy = Kantoku.Pool.Scaler.Policy.new!(max: 20)
      iex> changed = Kantoku.Pool.Scaler.Policy.change!(policy, scale_down: [stabilization: 60_000])
      iex> {changed.max, changed.scale_down.stabilization, changed.scale_down.select}
      {20, 60_000, :max}
  """
  @spec change!(t, keyword, String.t()) :: t
  def change!(policy, changes, where \\ "scaling") do
    given = Options.validate_given!(changes, @schema, where)

    changed =
      Enum.reduce(given, policy, fn {key, value}, policy -> Map.update!(policy, key, &merged(key, &1, value)) end)

    sound!(changed, where)
  end

  @doc """
  Reads the metrics that are functions, from a pool's status: `%{name => number | nil}`. The one impure step, hence not part of a
  decision. A function that raises, exits, or returns no number, is a missing metric.

      iex> policy = Kantoku.Pool.Scaler.Policy.new!(max: 9, metrics: [ongoing: 1, gpu: {fn status -> status.gpu / 2 end, 0.8}])
      iex> Kantoku.Pool.Scaler.Policy.read(policy, %{gpu: 1.8})
      %{gpu: 0.9}
  """
  @spec read(t, map) :: %{atom => number | nil}
  def read(policy, status) do
    own = Enum.reject(policy.metrics, &is_nil(&1.read))
    Map.new(own, &{&1.name, reading(&1.read, status)})
  end

  defp reading(read, status) do
    case read.(status) do
      value when is_number(value) -> value
      _else -> nil
    end
  catch
    _kind, _reason -> nil
  end

  defp metrics(given), do: Enum.map(given, &metric/1)

  defp metric({name, {read, target}}), do: %{name: name, kind: :mean, target: target, read: read}
  defp metric({name, target}), do: %{name: name, kind: kind(name), target: target, read: nil}

  defp kind(name) when name in @totals, do: :total
  defp kind(_name), do: :mean

  defp merged(:metrics, _old, given), do: metrics(given)
  defp merged(_key, %{} = old, %{} = new), do: Map.merge(old, new)

  defp merged(:forecast, :off, %{} = new),
    do: Options.validate!(Map.to_list(new), @forecast, "scaling, option :forecast")

  defp merged(_key, _old, new), do: new

  defp sound!(policy, where) do
    policy.max >= policy.min ||
      raise ArgumentError, "#{where}, option :max: expected at least :min (#{policy.min}), got: #{policy.max}"

    sound_forecast!(policy.forecast, "#{where}, option :forecast, option ")
    policy
  end

  defp sound_forecast!(:off, _where), do: :ok

  defp sound_forecast!(%{season: season, bucket: bucket} = forecast, where) do
    unless rem(season, bucket) == 0 and div(season, bucket) >= 2 do
      raise ArgumentError, "#{where}:season: expected a multiple of :bucket (#{bucket}), 2 or more, got: #{season}"
    end

    forecast.lead <= season ||
      raise ArgumentError, "#{where}:lead: expected at most :season (#{season}), got: #{forecast.lead}"

    div(season, bucket) * forecast.seasons <= @most_buckets ||
      raise ArgumentError,
            "#{where}:seasons: expected at most #{@most_buckets} buckets in all, got: #{forecast.seasons}"
  end
end

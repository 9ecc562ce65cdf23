defmodule Kantoku.Engine.Elixir.Pool.Codel do
  # Whether a pool is overloaded: if the least wait of an interval was above the target, the next interval is. A queue that
  # only absorbs a burst is empty at least once in an interval, one that stands is not.
  #
  # The variant of folly::Codel (Maurer, "Fail at Scale", ACM Queue 2015). In an interval that is overloaded the newest is served first,
  # whose wait says nothing of the queue: there only who left nobody waiting counts. An interval in which no hand-over counted is judged by
  # how long the oldest has waited when it is over, if anybody waits.
  @moduledoc false

  @enforce_keys [:ends]
  defstruct [:ends, least: nil, overloaded: false]

  @type t :: %__MODULE__{ends: integer, least: non_neg_integer | nil, overloaded: boolean}

  @spec new(map, integer) :: t
  def new(config, now), do: %__MODULE__{ends: now + interval(config)}

  @doc "Begins the next interval if this one is over. `oldest` says how long who waits longest has, `nil` if nobody waits."
  @spec advance(t, map, (() -> non_neg_integer | nil), integer) :: t
  def advance(%{ends: ends} = codel, _config, _oldest, now) when now < ends, do: codel

  def advance(codel, config, oldest, now) do
    overloaded = config.codel and above?(codel.least || oldest.(), target(config))
    %__MODULE__{ends: now + interval(config), overloaded: overloaded}
  end

  defp above?(nil, _target), do: false
  defp above?(wait, target), do: wait > target

  @doc "Notes how long somebody waited to whom a worker was given, the last who did or not. A number is less than `nil`."
  @spec observe(t, non_neg_integer, last :: boolean) :: t
  def observe(%{overloaded: true} = codel, _wait, false), do: codel
  def observe(%{least: least} = codel, wait, _last), do: %{codel | least: min(least, wait)}

  @doc "Whether a wait is too long to be worth serving, in an interval that is overloaded."
  @spec stale?(t, map, non_neg_integer) :: boolean
  def stale?(codel, config, wait), do: codel.overloaded and wait > 2 * target(config)

  @doc "Without codel, nothing is overloaded."
  @spec configure(t, map) :: t
  def configure(codel, config), do: %{codel | overloaded: codel.overloaded and config.codel}

  defp target(config), do: config.queue_target * 1_000_000
  defp interval(config), do: config.queue_interval * 1_000_000
end

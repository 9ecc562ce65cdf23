defmodule Kantoku.Engine.Elixir.Pool.Codel do
  # Whether a pool is overloaded: if the least wait of an interval was above the target, the next interval is. A queue that
  # only absorbs a burst is empty at least once in an interval, one that stands is not.
  #
  # The variant of folly::Codel (Maurer, "Fail at Scale", ACM Queue 2015). Where nothing was handed over in an interval there is no
  # wait to judge by: then it stays as it was while somebody waits, and ends where nobody does.
  @moduledoc false

  @enforce_keys [:ends]
  defstruct [:ends, least: nil, overloaded: false]

  @type t :: %__MODULE__{ends: integer, least: non_neg_integer | nil, overloaded: boolean}

  @spec new(map, integer) :: t
  def new(config, now), do: %__MODULE__{ends: now + interval(config)}

  @doc "Begins the next interval if this one is over. `waiting`: whether somebody waits."
  @spec advance(t, map, boolean, integer) :: t
  def advance(%{ends: ends} = codel, _config, _waiting, now) when now < ends, do: codel

  def advance(codel, config, waiting, now) do
    %__MODULE__{ends: now + interval(config), overloaded: config.codel and verdict(codel, config, waiting)}
  end

  defp verdict(%{least: nil} = codel, _config, waiting), do: codel.overloaded and waiting
  defp verdict(%{least: least}, config, _waiting), do: least > target(config)

  @doc "Notes how long somebody waited to whom a worker was given."
  @spec observe(t, non_neg_integer) :: t
  def observe(%{least: least} = codel, wait), do: %{codel | least: min(least, wait)}

  @doc "Whether a wait is too long to be worth serving, in an interval that is overloaded."
  @spec stale?(t, map, non_neg_integer) :: boolean
  def stale?(codel, config, wait), do: codel.overloaded and wait > 2 * target(config)

  @doc "Without codel, nothing is overloaded."
  @spec configure(t, map) :: t
  def configure(codel, config), do: %{codel | overloaded: codel.overloaded and config.codel}

  defp target(config), do: config.queue_target * 1_000_000
  defp interval(config), do: config.queue_interval * 1_000_000
end

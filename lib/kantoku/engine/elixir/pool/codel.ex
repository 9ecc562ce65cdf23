defmodule Kantoku.Engine.Elixir.Pool.Codel do
  # Whether a pool is overloaded: if the wait was above the target for a whole interval, the next interval is. A queue that only absorbs
  # a burst is short at least once in an interval, one that stands is not.
  #
  # The variant of folly::Codel (Maurer, "Fail at Scale", ACM Queue 2015), whose queue is first come, first served. Ours serves who asks
  # seldom before who floods, so what counts at a hand-over is the longest wait of all, not that of who is served. And under overload it
  # serves the newest first, and refuses the others before they are old: then, as in Maurer's own rule, the queue has to be empty once in
  # the interval. One in which nothing was handed over is judged by how long the oldest has waited when it is over, if anybody waits.
  @moduledoc false

  # Who has waited longest is looked for among all tenants in line, so not more often than this, in ns, for each of them.
  @look_each 20_000

  @enforce_keys [:ends]
  defstruct [:ends, eased: nil, look_again: nil, overloaded: false]

  @typedoc "`eased`: whether the queue was seen not to stand at some hand-over of the interval; `nil` if there was none."
  @type t :: %__MODULE__{ends: integer, eased: boolean | nil, look_again: integer | nil, overloaded: boolean}

  @typedoc "The longest wait of all, `nil` if nobody waits."
  @type longest :: (() -> non_neg_integer | nil)

  @spec new(map, integer) :: t
  def new(config, now), do: %__MODULE__{ends: now + interval(config)}

  @doc "Begins the next interval if this one is over."
  @spec advance(t, map, longest, integer) :: t
  def advance(%{ends: ends} = codel, _config, _longest, now) when now < ends, do: codel

  def advance(codel, config, longest, now) do
    eased = if codel.eased == nil, do: short?(longest.(), config), else: codel.eased
    %__MODULE__{ends: now + interval(config), look_again: codel.look_again, overloaded: config.codel and not eased}
  end

  @doc "Notes that who waited so long was given a worker, while some `tenants` still wait."
  @spec handed_over(t, map, non_neg_integer, non_neg_integer, longest, integer) :: t
  def handed_over(%{eased: true} = codel, _config, _wait, _tenants, _longest, _now), do: codel
  def handed_over(codel, %{codel: false}, _wait, _tenants, _longest, _now), do: codel

  def handed_over(codel, config, wait, tenants, longest, now) do
    cond do
      not short?(wait, config) -> %{codel | eased: false}
      tenants == 0 -> %{codel | eased: true}
      codel.overloaded -> %{codel | eased: false}
      codel.look_again != nil and now < codel.look_again -> %{codel | eased: false}
      true -> %{codel | eased: short?(longest.(), config), look_again: now + tenants * @look_each}
    end
  end

  @doc "Whether a wait is too long to be worth serving, in an interval that is overloaded."
  @spec stale?(t, map, non_neg_integer) :: boolean
  def stale?(codel, config, wait), do: codel.overloaded and wait > 2 * target(config)

  @doc "Without codel, nothing is overloaded."
  @spec configure(t, map) :: t
  def configure(codel, config), do: %{codel | overloaded: codel.overloaded and config.codel}

  defp short?(nil, _config), do: true
  defp short?(wait, config), do: wait <= target(config)

  defp target(config), do: config.queue_target * 1_000_000
  defp interval(config), do: config.queue_interval * 1_000_000
end

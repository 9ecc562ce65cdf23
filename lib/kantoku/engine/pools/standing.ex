defmodule Kantoku.Engine.Pools.Standing do
  @moduledoc """
  Which workers of a pool are out of service, and why: the rules that both engines keep, beside those of `Kantoku.Engine.Pools`.

  A worker is *aside* while it is ejected, or `c:Kantoku.Engine.Pools.pool_shut/3` said that a probe finds it not ready. Its
  permits are not free then: it is given nothing new, and what it has it finishes. What is held against a worker is held against
  its member: a successor inherits it, and failures in a row within two intervals; of who is told to leave nothing is kept.

  A request ends well with a check-in as `:ok` and with `c:Kantoku.Engine.Pools.pool_reply/4`, and has failed with one as `:error`
  or `:abandoned`, when a call is given up that a worker has, and when its worker dies while somebody waits for it. Casts, the
  deaths of callers and `c:Kantoku.Engine.Pools.pool_answered/3` say nothing of either. By that a worker is ejected as by Envoy's
  outlier detection, with the same names and meanings:

    * `consecutive_failures` in a row, at once;
    * at the end of an `interval`, if `success_rate_minimum_hosts` workers had `success_rate_request_volume` requests in it: who
      of these has a rate of success below mean - deviation (of the population) x `success_rate_stdev_factor` / 1000;
    * then also, if `latency_minimum_hosts` had `latency_request_volume` requests that were timed: who took longer, in the mean,
      than `latency_multiple` times the median of these means and than `latency_floor`. Means are geometric, within 6 %. All
      requests are timed under `:peak_ewma`, those that waited, and one in 16 of the others. Under `:hash` nobody is ejected for
      that.

  0 switches each off. It lasts `base_ejection_time` times the number of ejections, of which each interval without one takes one
  back; at most `max_ejection_time`, or the base if that is more; and up to `max_ejection_time_jitter` on top. So many may be
  ejected at once as `max_ejection_percent` of those that stay allows, one at least, but not one alone. Where it is not `enforced`
  all of this is counted and told, and the worker works. Who is ejected by `c:Kantoku.Engine.Pools.pool_eject/4` is so whatever
  the limits, and not counted on. Times are looked at by ticks.

  While fewer than `healthy_panic_threshold` percent of the workers that stay are not aside, and there are two at least, there is
  a *panic*: all are given work. A dead worker never is.

  With `slow_start` who was ejected comes back with a part of its share: `max(time since / slow_start_window, min_weight_percent /
  100)`, which is Envoy's with an aggression of 1.0; so does who joins, if it is `fresh`. Whom a strategy takes is passed over
  with the rest of the chance, and its next one taken; not under `:hash`, not where a worker was wished for, and not where no
  other has a permit free.
  """

  @typedoc "Who is ejected, and for how long; `nil`: nobody but by hand. Counts and ms of up to 32 bits."
  @type ejection :: %{
          enforced: boolean,
          consecutive_failures: non_neg_integer,
          interval: pos_integer,
          base_ejection_time: pos_integer,
          max_ejection_time: pos_integer,
          max_ejection_time_jitter: non_neg_integer,
          max_ejection_percent: 1..100,
          success_rate_minimum_hosts: pos_integer,
          success_rate_request_volume: pos_integer,
          success_rate_stdev_factor: non_neg_integer,
          latency_minimum_hosts: pos_integer,
          latency_request_volume: pos_integer,
          latency_multiple: non_neg_integer,
          latency_floor: non_neg_integer
        }

  @type slow_start :: %{slow_start_window: pos_integer, min_weight_percent: 1..100, fresh: boolean}

  @typedoc "Why a worker was ejected. Rates are in millionths, latencies in us; `workers`: of how many it was judged."
  @type cause ::
          {:consecutive_failures, count :: pos_integer}
          | {:success_rate, rate :: non_neg_integer, threshold :: non_neg_integer, workers :: pos_integer}
          | {:latency, mean :: non_neg_integer, median :: non_neg_integer, workers :: pos_integer}
          | :by_hand

  @typedoc """
  How a member stands that is ejected or was lately, or whose share grows: `:observed` is ejected where that is not enforced, `:in` is back.
  `cause` is that of the last ejection, `nil` of who is fresh; `since` is for how many ms it stands so, `left` how many more it will be
  out (`nil`: it is not); `percent` what it gets of its share.
  """
  @type ejected ::
          {Kantoku.Engine.Pools.member(), :ejected | :observed | :growing | :in, cause | nil, since :: non_neg_integer,
           left :: non_neg_integer | :infinity | nil, times :: non_neg_integer, percent :: 0..100}

  @typedoc "`:busy` has no permit free; `:ejected` and `:not_ready` are given nothing new."
  @type t :: :ready | :busy | :leaving | :ejected | :not_ready
end

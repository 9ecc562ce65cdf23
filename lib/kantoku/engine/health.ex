defmodule Kantoku.Engine.Health do
  @moduledoc """
  What an engine knows of health: a tree of agents in groups in groups, and how each fares.

  ## Rules

    * **A probe** of an agent has found nothing yet (`:pending`), or is `:passing` after as many successes in a row as its
      threshold says, `:failing` after as many failures in a row; fewer change nothing. What cannot be told is `:unknown` at once.
      Until a `:startup` probe is passing the others are not counted, and from then on it is not.
    * **An agent** is `:unhealthy` if a startup, liveness or readiness probe is failing; else `:starting` until startup and readiness
      probes pass; else `:unknown` if a probe is; else `:degraded` if a custom one is failing; else `:healthy`. A liveness probe
      that has found nothing yet passes.
    * **A group** by `:worst` is as its worst member, in the order `:healthy`, `:degraded`, `:starting`, `:unknown`, `:unhealthy`. By a
      quorum (percent of its members) it serves if as many are healthy or degraded: then it is `:healthy`, or `:degraded` if a
      member is degraded or unhealthy. Else it is `:starting` (or `:unknown`) if those that are so could still make up the
      quorum, and `:unhealthy` if they could not. A group without members is `:healthy`.
    * **A pulse** is what an agent says of itself: that it is at work, and how long that may take, or that it is idle.

  Each change of a state comes with exactly one answer, `{:changed, changes, answer}`, whichever call it was that made it, a
  member's before its group's. A report costs as much as the tree is deep, a status nothing that grows.
  """

  import Kantoku.Engine.Dispatch

  @type instance :: Kantoku.Engine.instance()

  @typedoc "Names a node. Never that of another one later, as long as less than a million had its place."
  @type node_handle :: non_neg_integer

  @type state :: :healthy | :degraded | :starting | :unknown | :unhealthy
  @type verdict :: :pending | :passing | :failing | :unknown
  @type outcome :: :success | :failure | :unknown
  @type kind :: :startup | :liveness | :readiness | :custom

  @typedoc "A quorum is in percent."
  @type rule :: :worst | 0..100

  @typedoc "An id, unique in the agent, and the thresholds."
  @type probe :: {id :: 0..0xFFFFFFFF, kind, success :: pos_integer, failure :: pos_integer}

  @type spec :: {:group, rule} | {:agent, [probe]}

  @typedoc "Nanoseconds of the engine's clock; `nil` is now."
  @type now :: integer | nil

  @type change :: {node_handle, from :: state, to :: state}
  @type told(answer) :: answer | {:changed, [change, ...], answer}

  @typedoc "At work for `since` ms, `over` ms beyond its limit if it has one."
  @type pulse :: :none | :idle | {since :: non_neg_integer, over :: integer | nil}

  @typedoc """
  State; ns in this state; members that are healthy, degraded, starting, unknown and unhealthy; probes with ns of their verdict;
  pulse.
  """
  @type status ::
          {state, integer, counts :: [non_neg_integer], [{id :: non_neg_integer, verdict, integer}], pulse}

  @doc "Adds a node below a group, or at the top. `pid` is an agent's process. `:none`: there is no such group."
  @callback health_add(instance, parent :: node_handle | nil, spec, pid | nil, now) ::
              told({:ok, node_handle} | :none) | :unknown

  @doc "Gives a group another rule, or an agent other probes: what those of the same id and kind found stays."
  @callback health_change(instance, node_handle, spec, now) :: told(:ok | :none) | :unknown

  @doc "Removes a node. `:busy`: it has members."
  @callback health_remove(instance, node_handle, now) :: told(:ok | :busy | :none) | :unknown

  @doc "Removes all nodes."
  @callback health_clear(instance) :: :ok | :unknown

  @doc "What a probe of an agent found; its verdict before and after."
  @callback health_report(instance, node_handle, id :: non_neg_integer, outcome, now) ::
              told({before :: verdict, later :: verdict} | :none) | :unknown

  @doc "How a node fares."
  @callback health_status(instance, node_handle, now) :: status | :none | :unknown

  @doc "The agent is at work from now on, for so many ms (0: nobody knows), or done (-1). For its own process. Never fails."
  @callback health_beat(instance, node_handle, limit :: -1 | non_neg_integer) :: :ok | :unknown

  @doc "What the agent is at may take so many ms from now on (`nil`: nobody knows); what was left before. For its own process."
  @callback health_put_off(instance, node_handle, left :: integer | nil) :: integer | nil | :unknown

  @doc "A slice of the agents that are at work for `least` ms at least. Begin with the cursor 0."
  @callback health_look(instance, cursor :: non_neg_integer, limit :: pos_integer, least :: non_neg_integer, now) ::
              {[{node_handle, pid | nil, since :: non_neg_integer, over :: integer | nil}],
               next :: non_neg_integer | :done}
              | :unknown

  @spec health_add(instance, node_handle | nil, spec, pid | nil, now) :: told({:ok, node_handle} | :none) | :unknown
  dispatch(health_add(instance, parent, spec, pid, now))

  @spec health_change(instance, node_handle, spec, now) :: told(:ok | :none) | :unknown
  dispatch(health_change(instance, node, spec, now))

  @spec health_remove(instance, node_handle, now) :: told(:ok | :busy | :none) | :unknown
  dispatch(health_remove(instance, node, now))

  @spec health_clear(instance) :: :ok | :unknown
  dispatch(health_clear(instance))

  @spec health_report(instance, node_handle, non_neg_integer, outcome, now) ::
          told({verdict, verdict} | :none) | :unknown
  dispatch(health_report(instance, node, probe, outcome, now))

  @spec health_status(instance, node_handle, now) :: status | :none | :unknown
  dispatch(health_status(instance, node, now))

  @spec health_beat(instance, node_handle, integer) :: :ok | :unknown
  dispatch(health_beat(instance, node, limit))

  @spec health_put_off(instance, node_handle, integer | nil) :: integer | nil | :unknown
  dispatch(health_put_off(instance, node, left))

  @spec health_look(instance, non_neg_integer, pos_integer, non_neg_integer, now) ::
          {[{node_handle, pid | nil, non_neg_integer, integer | nil}], non_neg_integer | :done} | :unknown
  dispatch(health_look(instance, cursor, limit, least, now))
end

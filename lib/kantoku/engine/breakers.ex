defmodule Kantoku.Engine.Breakers do
  @moduledoc """
  What an engine knows of breakers: whether what failed is to be asked at all.

  A breaker is in one of six states. `:closed`, `:disabled` and `:metrics_only` let every call pass, `:open` and `:forced_open`
  none. `:half_open` lets as many pass as are permitted, to see whether the breaker may close. States, parameters and defaults
  are those of resilience4j's CircuitBreaker.

  ## Rules

    * **A turn** is the time from one change of state to the next. A ticket is good for the turn that it was given in: what is
      recorded under one of an earlier turn changes nothing.
    * **Closed**: each outcome is counted over a window: the last `sliding_window_size` calls, or those of the last so many
      seconds (the second that runs included). Each turn begins with an empty one. If at least `minimum_number_of_calls` were
      counted (of a window of calls: or as many as it holds), and the share of failures or of slow calls is at or above its
      threshold, it opens. A call is slow if it took longer than `slow_call_duration_threshold`.
    * **Open**: until `wait_duration_in_open_state` is over. Then the next who comes is a trial; with
      `automatic_transition_from_open_to_half_open_enabled` it is half-open as soon as anybody looks.
    * **Half-open**: each trial has one of `permitted_number_of_calls_in_half_open_state` permits. One whose call ends with
      `:ignore`, or whose owner dies, goes back. Outcomes are counted over a window of as many calls as are permitted; as soon
      as there are enough to judge by (as above) it opens or closes. After `max_wait_duration_in_half_open_state`, if that is
      not 0, it opens.
    * **Disabled** and **forced open** count nothing; **metrics only** counts, and stays.
    * **Without a ticket** an outcome is counted in the turn that is, and uses up the oldest permit of who records it.
    * **A new configuration** of an open breaker: the same one changes nothing; what was counted stays if type, size and minimum
      of the window do; who is open waits as long as it says, counted from when it opened; a half-open one begins its trials
      anew.

    * **Time** is that in which we ran. Somebody beats once a second; where a beat is more than a second late (SIGSTOP, a machine
      that slept), all of that time but one second is lost. It is no part of a wait, nor of the age of an outcome. The outcome of
      a call that was under way meanwhile counts as `:ignore`.

  Each change of state comes with exactly one answer, `{:changed, changes, answer}`, whichever call it was that made it.
  """

  import Kantoku.Engine.Dispatch

  @type instance :: Kantoku.Engine.instance()

  @typedoc "Unique in its instance; compared as `===/2` does."
  @type name :: term

  @type state :: :closed | :open | :half_open | :disabled | :forced_open | :metrics_only

  @typedoc "All of a breaker's configuration. Rates are in millionths of a percent; durations in ms."
  @type config :: %{
          failure_rate_threshold: 1..100_000_000,
          slow_call_rate_threshold: 1..100_000_000,
          slow_call_duration_threshold: non_neg_integer,
          sliding_window_type: :count_based | :time_based,
          sliding_window_size: 1..100_000,
          minimum_number_of_calls: pos_integer,
          wait_duration_in_open_state: pos_integer,
          permitted_number_of_calls_in_half_open_state: 1..10_000,
          max_wait_duration_in_half_open_state: non_neg_integer,
          automatic_transition_from_open_to_half_open_enabled: boolean
        }

  @typedoc "Names one admission."
  @type ticket :: non_neg_integer

  @typedoc "How a call ended. `:ignore` says nothing of what was asked."
  @type ending :: :ok | :error | :ignore

  @typedoc "Nanoseconds of the engine's clock; `nil` is now."
  @type now :: integer | nil

  @typedoc "A change of state, and what was counted before it."
  @type change ::
          {from :: state, to :: state, calls :: non_neg_integer, failed :: non_neg_integer, slow :: non_neg_integer}

  @type told(answer) :: answer | {:changed, [change, ...], answer}

  @typedoc "Ms until it may be tried; `:never` by itself."
  @type retry_in :: non_neg_integer | :never

  @typedoc "State, `retry_in`, ms in this state, calls, failed, slow, minimum, permits left, permits out, refused since it was opened."
  @type status ::
          {state, retry_in, non_neg_integer, non_neg_integer, non_neg_integer, non_neg_integer, pos_integer,
           non_neg_integer, non_neg_integer, non_neg_integer}

  @typedoc "What is asked seldom. `:look` does what time alone does, and says in how many ns there will be more of that."
  @type command ::
          :allow
          | {:record, ticket | nil, ending, duration_ns :: non_neg_integer}
          | {:set, state}
          | :look
          | :status

  @doc "Opens a breaker, closed; one that is open gets a new configuration. It ends with its instance at the latest."
  @callback breaker_open(instance, name, config, now) :: :ok | :unknown

  @doc "Ends a breaker."
  @callback breaker_close(instance, name) :: :ok | :unknown

  @doc "Whether the calling process may make a call: a ticket, or when to come again. A permit is the calling process's."
  @callback breaker_allow(instance, name) :: told(ticket | {:refused, retry_in}) | :unknown

  @doc "How a call ended, and how long it took; whether that was counted."
  @callback breaker_record(instance, name, ticket | nil, ending, duration_ns :: non_neg_integer) ::
              told(boolean) | :unknown

  @doc "Any command, at any time: `told` of what it answers."
  @callback breaker_ask(instance, name, command, now) :: told(term) | :unknown

  @doc "We run. How many ns were lost until now, of all since the instance was opened. Who never beats loses none."
  @callback breaker_beat(instance, now) :: non_neg_integer | :unknown

  @spec breaker_open(instance, name, config, now) :: :ok | :unknown
  dispatch(breaker_open(instance, name, config, now))

  @spec breaker_close(instance, name) :: :ok | :unknown
  dispatch(breaker_close(instance, name))

  @spec breaker_allow(instance, name) :: told(ticket | {:refused, retry_in}) | :unknown
  dispatch(breaker_allow(instance, name))

  @spec breaker_record(instance, name, ticket | nil, ending, non_neg_integer) :: told(boolean) | :unknown
  dispatch(breaker_record(instance, name, ticket, ending, duration))

  @spec breaker_ask(instance, name, command, now) :: told(term) | :unknown
  dispatch(breaker_ask(instance, name, command, now))

  @spec breaker_beat(instance, now) :: non_neg_integer | :unknown
  dispatch(breaker_beat(instance, now))
end

defmodule Kantoku.Alert.State do
  # An alert from inactive over pending and firing to resolved, as in Prometheus (its rules' `for` and `keep_firing_for`). Pure.
  #
  # Two times: `time` in ms only passes while we look, so that a pause of ours is held against nobody; `at` is what is told.
  @moduledoc false

  alias Kantoku.Alert.Rule

  # As long as Prometheus does it remembers what is resolved, in ms.
  @retention 15 * 60_000

  @enforce_keys [:state, :begun, :seen, :since]
  defstruct @enforce_keys ++ [:value, :fired_at, :resolved_at]

  @typedoc "`begun` and `seen`: the time at which it became so, and at which it was so last."
  @type t :: %__MODULE__{
          state: :pending | :firing | :resolved,
          begun: integer,
          seen: integer,
          since: integer,
          value: term,
          fired_at: integer | nil,
          resolved_at: integer | nil
        }

  @type moment :: %{time: integer, at: integer}

  @doc "One look: whether it is so, `{:active, value}`, or not. `nil` is an inactive alert, of which nothing is known."
  @spec step(t | nil, {:active, term} | :inactive, Rule.t(), moment) :: t | nil
  def step(nil, :inactive, _rule, _now), do: nil
  def step(nil, {:active, value}, rule, now), do: begin(value, rule, now)
  def step(%{state: :resolved}, {:active, value}, rule, now), do: begin(value, rule, now)

  def step(%{state: :resolved} = alert, :inactive, _rule, now),
    do: if(now.time - alert.seen < @retention, do: alert)

  def step(%{state: :pending}, :inactive, _rule, _now), do: nil
  def step(alert, {:active, value}, rule, now), do: fire(%{alert | seen: now.time, value: value}, rule, now)

  def step(%{state: :firing} = alert, :inactive, rule, now) do
    if now.time - alert.seen < rule.keep_firing_for,
      do: alert,
      else: %{alert | state: :resolved, seen: now.time, resolved_at: now.at}
  end

  defp begin(value, rule, now) do
    fire(%__MODULE__{state: :pending, begun: now.time, seen: now.time, since: now.at, value: value}, rule, now)
  end

  defp fire(%{state: :pending} = alert, rule, now) do
    if now.time - alert.begun >= rule.for,
      do: %{alert | state: :firing, fired_at: now.at},
      else: alert
  end

  defp fire(alert, _rule, _now), do: alert

  @doc "What is told of a step; nothing of what was never told to fire."
  @spec change(t | nil, t | nil) :: {from :: atom, to :: atom} | nil
  def change(before, later) do
    case {name(before), name(later)} do
      {same, same} -> nil
      {:resolved, :inactive} -> nil
      change -> change
    end
  end

  defp name(nil), do: :inactive
  defp name(%{state: state}), do: state
end

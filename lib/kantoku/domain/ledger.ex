defmodule Kantoku.Domain.Ledger do
  # What an agent's crashes so far mean for its next restart. Pure: time and chance are arguments. Knows no process.
  #
  # A ledger is nil (never crashed) or {level, crash times, parks}: how often in a row without a healthy stretch, when
  # within the budget's window (newest first), and how often parked without a healthy stretch.
  @moduledoc false

  @type t :: nil | {level :: non_neg_integer, times :: [integer], parks :: non_neg_integer}
  @type decision :: {:start, delay :: non_neg_integer} | {:park, delay :: pos_integer | :never}

  @typedoc "What of a policy it asks for; not only agents crash (`Kantoku.Telemetry.Attachment`)."
  @type rules :: %{
          :budget => %{:crashes => pos_integer | :infinity, :within => pos_integer, optional(atom) => term},
          :backoff => %{
            :base => pos_integer,
            :cap => pos_integer,
            :reset_after => pos_integer,
            optional(atom) => term
          },
          :on_exhausted => :park | :escalate,
          :unpark => :never | %{:after => pos_integer, :cap => pos_integer, optional(atom) => term},
          optional(atom) => term
        }

  @typedoc "A number in 0.0..1.0, drawn by the caller."
  @type chance :: float

  @doc "Charges a crash at `now` after `up` ms of life (all ms) and says what is to follow."
  @spec charge(t, integer, non_neg_integer, rules, chance) :: {decision, t}
  def charge(ledger, now, up, policy, chance) do
    {level, times, parks} = healed(ledger, up, policy)
    times = [now | within(times, now - policy.budget.within)]

    if spent?(times, policy),
      do: parked(parks, policy),
      else: {{:start, delay(level, policy.backoff, chance)}, {level + 1, kept(times, policy), parks}}
  end

  @doc "Parks without a crash, because the agent asked for it."
  @spec park(t, rules) :: {decision, t}
  def park(nil, policy), do: parked(0, policy)
  def park({_level, _times, parks}, policy), do: parked(parks, policy)

  @doc "How many crashes are on the books."
  @spec crashes(t) :: non_neg_integer
  def crashes(nil), do: 0
  def crashes({_level, times, _parks}), do: length(times)

  @doc "When, newest first (ms), as far as the budget asks for it."
  @spec times(t) :: [integer]
  def times(nil), do: []
  def times({_level, times, _parks}), do: times

  defp healed(nil, _up, _policy), do: {0, [], 0}
  defp healed({_level, times, _parks}, up, %{backoff: %{reset_after: enough}}) when up >= enough, do: {0, times, 0}
  defp healed(ledger, _up, _policy), do: ledger

  defp within(times, since), do: Enum.take_while(times, &(&1 > since))

  defp spent?(_times, %{on_exhausted: :escalate}), do: false
  defp spent?(_times, %{budget: %{crashes: :infinity}}), do: false
  defp spent?(times, %{budget: %{crashes: budget}}), do: length(times) > budget

  # Without a budget nobody reads the times, so none are kept.
  defp kept(_times, %{on_exhausted: :escalate}), do: []
  defp kept(_times, %{budget: %{crashes: :infinity}}), do: []
  defp kept(times, _policy), do: times

  defp parked(parks, %{unpark: :never}), do: {{:park, :never}, {0, [], parks + 1}}
  defp parked(parks, %{unpark: unpark}), do: {{:park, doubled(unpark.after, parks, unpark.cap)}, {0, [], parks + 1}}

  # Full jitter: anywhere between nothing and the doubled base (AWS Architecture Blog, "Exponential Backoff And Jitter").
  defp delay(0, _backoff, _chance), do: 0
  defp delay(level, backoff, chance), do: round(chance * doubled(backoff.base, level - 1, backoff.cap))

  # Beyond 40 doublings every cap is reached, and the shift would only make a big integer.
  defp doubled(base, times, cap), do: min(cap, Bitwise.bsl(base, min(times, 40)))
end

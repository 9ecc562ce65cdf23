defmodule Kantoku.Health.Outlook do
  # Whether something of one agent that should not grow grows towards its limit, and when it would be there. Pure; times are in ms.
  #
  # O1  A value beyond its limit is trouble now, whatever came before.
  # O2  Less than that is at risk only if it has set new records again and again, and rises as a whole, over the last looks or over
  #     eight times as long: one step up, however high, is none, and neither is what goes up and down.
  # O3  From how high it came back by itself (to less than half), it may be expected to come back again.
  # O4  Of what may be garbage nothing is said before it was swept: a risk is in doubt until `weighed/4` was told what is left.
  # O5  It holds as many samples as two windows have, for as long as the value is beyond a fraction of its limit, and a while after.
  @moduledoc false

  alias Kantoku.Health.Trend

  @window 16
  # Looks of the coarse window are so many apart.
  @coarse 8
  # As few samples as a trend is seen in, and records among them.
  @least 6
  @records 3
  # Of pairs. Of 16 samples without a trend, one series in two thousand rises as much.
  @rise 0.6

  # Suspicious from this fraction of the limit on, and near enough for a trend from that.
  @suspicious 16
  @near 4
  # Looks below it until nobody looks any more.
  @calm 32
  # Looks without a risk until it is over.
  @over 3

  defstruct fine: [], coarse: [], looks: 0, highest: 0, ceiling: 0, calm: 0, clear: 0, risk: nil, doubt: nil

  @type t :: %__MODULE__{
          fine: [Trend.sample()],
          coarse: [Trend.sample()],
          looks: non_neg_integer,
          highest: number,
          ceiling: number,
          calm: non_neg_integer,
          clear: non_neg_integer,
          risk: risk | nil,
          doubt: :raised | :asked | nil
        }

  @typedoc "In so many ms it is at its limit, by `rise` a second."
  @type risk :: %{in: non_neg_integer, value: number, limit: pos_integer, rise: number}

  @doc "Whether a value is high enough to look again."
  @spec suspicious?(number, limit :: pos_integer) :: boolean
  def suspicious?(value, limit), do: value * @suspicious >= limit

  @doc "One look more; `nil` when there is nothing to look for any more. `horizon`: what is farther away than that is no risk."
  @spec look(t | nil, integer, number, limit :: pos_integer, horizon :: pos_integer) :: t | nil
  def look(nil, now, value, limit, horizon), do: look(%__MODULE__{}, now, value, limit, horizon)

  def look(outlook, now, value, limit, horizon) do
    outlook = outlook |> sampled(now, value) |> turned(value) |> calmed(value, limit)
    if outlook.calm < @calm, do: judged(outlook, found(outlook, now, value, limit, horizon))
  end

  defp sampled(%{looks: looks} = outlook, now, value) do
    coarse = if rem(looks, @coarse) == 0, do: window(outlook.coarse, {now, value}), else: outlook.coarse
    %{outlook | fine: window(outlook.fine, {now, value}), coarse: coarse, looks: looks + 1}
  end

  defp window(samples, sample), do: Enum.take([sample | samples], @window)

  # O3
  defp turned(%{highest: highest, ceiling: ceiling} = outlook, value) do
    if value * 2 < highest,
      do: %{outlook | highest: value, ceiling: max(ceiling, highest)},
      else: %{outlook | highest: max(highest, value)}
  end

  defp calmed(outlook, value, limit),
    do: %{outlook | calm: if(suspicious?(value, limit), do: 0, else: outlook.calm + 1)}

  # O1
  defp found(_outlook, _now, value, limit, _horizon) when value >= limit,
    do: %{in: 0, value: value, limit: limit, rise: 0}

  defp found(%{ceiling: ceiling}, _now, value, limit, _horizon) when value * @near < limit or value <= ceiling, do: nil

  defp found(%{fine: fine, coarse: coarse}, now, value, limit, horizon) do
    Enum.find_value([fine, coarse], fn samples ->
      with true <- rising?(samples),
           ms when ms <= horizon <- left(samples, now, value, limit),
           do: %{in: ms, value: value, limit: limit, rise: Trend.slope(samples) * 1_000},
           else: (_no_risk -> nil)
    end)
  end

  # O2
  defp rising?(samples),
    do: length(samples) >= @least and Trend.records(samples) >= @records and Trend.rise(samples) >= @rise

  defp left(samples, now, value, limit) do
    slope = Trend.slope(samples)
    # The higher of what was seen and what the line says: both are below the limit, or it is there.
    from = max(value, Trend.at(samples, slope, now))
    if slope > 0, do: max(round((limit - from) / slope), 0), else: :never
  end

  # What was at risk is so until it was not for a few looks; its estimate is always the last.
  defp judged(outlook, nil) do
    clear = outlook.clear + 1
    if clear < @over, do: %{outlook | clear: clear}, else: %{outlook | clear: clear, risk: nil, doubt: nil}
  end

  defp judged(outlook, risk), do: %{outlook | clear: 0, risk: risk}

  @doc "Of what may be garbage: a risk that was not there before is in doubt."
  @spec doubted(t, before :: t | nil) :: t
  def doubted(%{risk: risk} = outlook, %{risk: before}) when risk == nil or before != nil, do: outlook
  def doubted(%{risk: nil} = outlook, nil), do: outlook
  def doubted(outlook, _before), do: %{outlook | doubt: :raised}

  @doc "What is left after it was swept: as much as most of what was seen, or it was garbage and says nothing of how it goes on (O3)."
  @spec weighed(t, integer, number, limit :: pos_integer) :: t
  def weighed(%{risk: nil} = outlook, _now, _value, _limit), do: outlook

  def weighed(%{risk: risk, fine: fine} = outlook, now, value, limit) do
    usual = Trend.median(for {_at, seen} <- fine, do: min(seen, limit))

    if value >= usual do
      %{outlook | doubt: nil}
    else
      ceiling = max(outlook.ceiling, risk.value)
      %{outlook | risk: nil, doubt: nil, ceiling: ceiling, highest: value, fine: [{now, value}], coarse: []}
    end
  end
end

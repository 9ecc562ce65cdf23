defmodule Kantoku.Pool.Forecast.Backtest do
  @moduledoc """
  Whether a forecast would have helped: a history replayed with it and without it, by the pool's own scaling policy.

  The model is fitted to what lies before the part that is replayed, and sees each value only when its bucket is over. A
  worker that is started is ready after the forecast's `lead`. Both runs are scored in worker-seconds: `short`, of what was
  needed and not ready, beyond the policy's tolerance, and `excess`, of what was ready and not needed. The forecast has to
  pass all of this, else it stays in shadow:

    * `:too_short`, `:too_sparse` - there are three seasons, two to learn from and one to be tested on, with most values known;
    * `:no_skill` - its error, one lead ahead, is at least 10 % below that of the better of two simple forecasts: as it was
      last, and as it is in the mean. On noise a floor at the mean would look like help, and is only a larger pool;
    * `:no_gain` - it is at least 10 % less short than the scaler alone;
    * `:too_dear` - each worker-second that it saves costs at most ten in excess.

  `:better` is the only reason for `:active`. Between two buckets' middles the need is taken to go straight.
  """

  alias Kantoku.Pool.Forecast
  alias Kantoku.Pool.Forecast.{History, HoltWinters}
  alias Kantoku.Pool.Scaler
  alias Kantoku.Pool.Scaler.Policy

  @seasons_replayed 7
  @ticks 4
  @skill 0.9
  @gain 0.9
  @price 10

  @enforce_keys [:reason]
  defstruct [:reason, :seconds, :reactive, :assisted, :error]

  @typedoc "Worker-seconds."
  @type score :: %{short: float, excess: float}

  @typedoc "`seconds`: how long the part is that was replayed; `error`: roots of mean squared errors, in workers."
  @type t :: %__MODULE__{
          reason: :better | :too_short | :too_sparse | :no_skill | :no_gain | :too_dear,
          seconds: nil | float,
          reactive: nil | score,
          assisted: nil | score,
          error: nil | %{forecast: float, last: float, mean: float}
        }

  @doc "Replays the last seasons of a history, seven at most. The policy must have a forecast."
  @spec run(History.t(), Policy.t()) :: t
  def run(history, policy) do
    {first, values} = History.values(history)
    learnt = max(2 * history.season, length(values) - @seasons_replayed * history.season)

    with true <- length(values) >= learnt + history.season,
         {past, tested} = Enum.split(values, learnt),
         {:ok, model} <- HoltWinters.fit(past, history.season, Forecast.buckets_ahead(policy.forecast)) do
      compare(model, past, tested, first + learnt, policy)
    else
      false -> %__MODULE__{reason: :too_short}
      {:error, reason} -> %__MODULE__{reason: reason}
    end
  end

  @doc """
  The backtest in a sentence.

      iex> Kantoku.Pool.Forecast.Backtest.explain(%Kantoku.Pool.Forecast.Backtest{reason: :too_short})
      "in shadow: the history is shorter than three seasons"
  """
  @spec explain(t) :: String.t()
  def explain(%__MODULE__{reason: :too_short}), do: "in shadow: the history is shorter than three seasons"
  def explain(%__MODULE__{reason: :too_sparse}), do: "in shadow: more than half of a season is missing"

  def explain(%__MODULE__{} = test) do
    "#{verdict(test.reason)}; short #{whole(test.reactive.short)} worker-seconds without it and #{whole(test.assisted.short)} " <>
      "with it, in excess #{whole(test.reactive.excess)} and #{whole(test.assisted.excess)}"
  end

  defp verdict(:better), do: "active: better than the scaler alone"
  defp verdict(:no_skill), do: "in shadow: it foretells no better than the last value or the mean"
  defp verdict(:no_gain), do: "in shadow: the scaler alone is hardly more often short"
  defp verdict(:too_dear), do: "in shadow: what it saves costs too many idle workers"

  defp whole(number), do: "#{round(number)}"

  defp compare(model, past, tested, start, policy) do
    simulated = %{policy | metrics: [%{name: :needs, kind: :total, target: 1.0, read: nil}], look_back: 0}
    sides = replay(model, tested, start, simulated)

    judged(
      %__MODULE__{
        reason: nil,
        error: errors(model, past, tested, Forecast.buckets_ahead(policy.forecast)),
        seconds: seconds(tested, policy)
      },
      sides
    )
  end

  defp seconds(tested, policy), do: length(tested) * policy.forecast.bucket / 1_000

  defp judged(test, sides) do
    test = %{test | reactive: score(sides.reactive), assisted: score(sides.assisted)}
    %{test | reason: reason(test)}
  end

  defp score(side), do: %{short: side.short / 1_000, excess: side.excess / 1_000}

  defp reason(%{reactive: reactive, assisted: assisted, error: error}) do
    cond do
      error.forecast > @skill * min(error.last, error.mean) -> :no_skill
      assisted.short >= @gain * reactive.short -> :no_gain
      assisted.excess - reactive.excess > @price * (reactive.short - assisted.short) -> :too_dear
      true -> :better
    end
  end

  defp errors(model, past, tested, ahead) do
    known = Enum.reject(past, &is_nil/1)
    start = %{model: model, last: List.last(known), sum: Enum.sum(known), count: length(known)}

    tested
    |> Enum.zip(Enum.drop(tested, ahead - 1))
    |> Enum.reduce({start, []}, fn {value, target}, {seen, errors} ->
      {see(seen, value), [error(seen, target, ahead) | errors]}
    end)
    |> elem(1)
    |> Enum.reject(&is_nil/1)
    |> roots()
  end

  defp error(_seen, nil, _ahead), do: nil

  defp error(seen, target, ahead) do
    {square(HoltWinters.ahead(seen.model, ahead) - target), square(seen.last - target),
     square(seen.sum / seen.count - target)}
  end

  defp square(error), do: error * error

  defp see(seen, nil), do: %{seen | model: HoltWinters.next(seen.model, nil)}

  defp see(seen, value) do
    %{model: HoltWinters.next(seen.model, value), last: value, sum: seen.sum + value, count: seen.count + 1}
  end

  defp roots([]), do: %{forecast: 0.0, last: 0.0, mean: 0.0}

  defp roots(errors) do
    count = length(errors)
    {forecast, last, mean} = Enum.reduce(errors, {0.0, 0.0, 0.0}, fn {a, b, c}, {x, y, z} -> {a + x, b + y, c + z} end)
    %{forecast: :math.sqrt(forecast / count), last: :math.sqrt(last / count), mean: :math.sqrt(mean / count)}
  end

  defp replay(model, tested, start, policy) do
    forecast = %Forecast{
      mode: :active,
      model: model,
      last: start - 1,
      bucket: policy.forecast.bucket,
      lead: policy.forecast.lead,
      backtest: nil
    }

    sides = %{reactive: side(tested, policy), assisted: side(tested, policy)}

    [List.first(tested) | tested]
    |> Enum.zip(Enum.zip(tested, Enum.drop(tested, 1) ++ [List.last(tested)]))
    |> Enum.reduce({forecast, sides}, fn {before, {value, later}}, {forecast, sides} ->
      sides = bucket(sides, forecast, {before, value, later}, policy)
      {%{forecast | model: HoltWinters.next(forecast.model, value), last: forecast.last + 1}, sides}
    end)
    |> elem(1)
  end

  defp side(tested, policy) do
    size = tested |> Enum.find(1, & &1) |> ceil() |> max(policy.min) |> min(policy.max)
    %{scaler: Scaler.new(), size: size, ready: size, starting: [], short: 0.0, excess: 0.0}
  end

  defp bucket(sides, forecast, around, policy) do
    width = policy.forecast.bucket / @ticks

    Enum.reduce(0..(@ticks - 1), sides, fn tick, sides ->
      now = round((forecast.last + 1) * policy.forecast.bucket + tick * width)
      needs = between(around, (tick + 0.5) / @ticks)

      %{
        reactive: tick(sides.reactive, nil, needs, now, width, policy),
        assisted: tick(sides.assisted, forecast, needs, now, width, policy)
      }
    end)
  end

  defp between({_before, nil, _later}, _share), do: nil
  defp between({before, value, _later}, share) when share < 0.5, do: value + ((before || value) - value) * (0.5 - share)
  defp between({_before, value, later}, share), do: value + ((later || value) - value) * (share - 0.5)

  defp tick(side, forecast, needs, now, width, policy) do
    side = ready(side, now)
    observation = %{size: side.size, ready: side.ready, metrics: %{needs: needs}}
    {decision, scaler} = side.scaler |> Scaler.put_forecast(forecast) |> Scaler.decide(policy, observation, now)
    side = resize(%{side | scaler: scaler}, decision.wanted, now + policy.forecast.lead)
    scored(side, needs, capacity(side, now, width), width, policy)
  end

  defp ready(side, now) do
    {ready, starting} = Enum.split_with(side.starting, fn {at, _} -> at <= now end)
    %{side | ready: side.ready + Enum.sum(for {_, count} <- ready, do: count), starting: starting}
  end

  defp resize(side, wanted, at) when wanted > side.size,
    do: %{side | size: wanted, starting: [{at, wanted - side.size} | side.starting]}

  # Who is still starting goes first.
  defp resize(side, wanted, _at) do
    {starting, left} = cancel(side.starting, side.size - wanted)
    %{side | size: wanted, starting: starting, ready: side.ready - left}
  end

  defp cancel(starting, 0), do: {starting, 0}
  defp cancel([], left), do: {[], left}
  defp cancel([{_at, count} | rest], left) when count <= left, do: cancel(rest, left - count)
  defp cancel([{at, count} | rest], left), do: {[{at, count - left} | rest], 0}

  defp scored(side, nil, _capacity, _width, _policy), do: side

  defp scored(side, needs, capacity, width, policy) do
    least = needs / (1 + (policy.scale_up.tolerance || policy.tolerance))

    %{
      side
      | short: side.short + max(least - capacity, 0) * width,
        excess: side.excess + max(capacity - needs, 0) * width
    }
  end

  # Those that become ready within the tick count for what is left of it.
  defp capacity(side, now, width) do
    side.ready + Enum.sum(for {at, count} <- side.starting, at < now + width, do: count * (now + width - at) / width)
  end
end

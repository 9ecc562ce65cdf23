defmodule Kantoku.Pool.Forecast do
  @moduledoc """
  What a pool will need by the time a worker that is started now is ready, from the pool's own past.

  A scaler that only reacts starts workers when they are already missed. If the load has a season, such as the day, then what
  is needed a little later can be told from the seasons before. The forecast is additive Holt-Winters
  (`Kantoku.Pool.Forecast.HoltWinters`) over a `Kantoku.Pool.Forecast.History`, and it has to earn its say:

    * before two full seasons there is none;
    * before three there is nothing to test it on, so it is in `:shadow`: each decision tells what it would have done, and nothing
      follows from it;
    * then `Kantoku.Pool.Forecast.Backtest` replays the history with and without it, and it is `:active` only while with it is
      better. `backtest` keeps both scores and the reason.

  Active, it is one more metric: it can make a pool grow, early, or keep it from shrinking just before it has to grow again.
  It never asks for fewer workers than the metrics do.

      iex> alias Kantoku.Pool.{Forecast, Scaler}
      iex> policy = Scaler.Policy.new!(max: 40, forecast: [bucket: 1_000, season: 60_000, lead: 5_000])
      iex> needs = fn second -> if rem(second, 60) in 20..39, do: 30, else: 4 end
      iex> history = Enum.reduce(0..300, Forecast.History.new(policy.forecast), fn second, history ->
      ...>   Forecast.History.record(history, second * 1_000, needs.(second))
      ...> end)
      iex> forecast = Forecast.review(history, policy)
      iex> {forecast.mode, forecast.backtest.reason}
      {:active, :better}
      iex> {needs.(316), round(Forecast.needs(forecast, 316_000))}
      {4, 30}

  Where days of the week differ, let the season be a week: the history then has to be three weeks long.

  The three steps are the caller's to take: `learn/3` after each decision, `follow/2` when a bucket is full, `review/2` about
  once a season; and `Kantoku.Pool.Scaler.put_forecast/2` after either. `review/2` fits and tests, some hundred ms for
  fourteen days of five minutes: not for each tick, and best in a process of its own. `follow/2` takes in the buckets that are
  full since, in microseconds.
  """

  alias Kantoku.Pool.Forecast.{Backtest, History, HoltWinters}
  alias Kantoku.Pool.Scaler.{Decision, Policy}

  @enforce_keys [:mode, :model, :last, :bucket, :lead, :backtest]
  defstruct @enforce_keys

  @typedoc "`last`: index of the last bucket that the model has seen; `bucket` and `lead` in ms."
  @type t :: %__MODULE__{
          mode: :shadow | :active,
          model: nil | HoltWinters.t(),
          last: nil | integer,
          bucket: pos_integer,
          lead: pos_integer,
          backtest: nil | Backtest.t()
        }

  @doc """
  The history with what a decision says is needed, at most the policy's `max`: a queue that was full is no reason to expect as
  much again.

      iex> alias Kantoku.Pool.{Forecast, Scaler}
      iex> policy = Scaler.Policy.new!(max: 8, metrics: [ongoing: 1])
      iex> {decision, _} = Scaler.decide(Scaler.new(), policy, %{size: 8, ready: 8, metrics: %{ongoing: 1_008}}, 0)
      iex> Forecast.learn(Forecast.History.new(policy.forecast), decision, policy).open
      {0, 8.0, 1}
  """
  @spec learn(History.t(), Decision.t(), Policy.t()) :: History.t()
  def learn(history, %{needs: nil}, _policy), do: history
  def learn(history, decision, policy), do: History.record(history, decision.at, min(decision.needs, policy.max))

  @doc """
  A forecast from a history, and whether it may be acted upon. `nil` if the policy has `forecast: :off`, or other buckets or
  another season than the history (see `Kantoku.Pool.Forecast.History.reshape/2`).
  """
  @spec review(History.t(), Policy.t()) :: t | nil
  def review(_history, %{forecast: :off}), do: nil

  def review(%{bucket: bucket, season: buckets}, %{forecast: %{bucket: other, season: season}})
      when bucket != other or buckets * bucket != season,
      do: nil

  def review(history, %{forecast: options} = policy) do
    backtest = backtest(history, policy)

    %__MODULE__{
      mode: if(backtest.reason == :better, do: :active, else: :shadow),
      model: model(history, options),
      last: History.last(history),
      bucket: options.bucket,
      lead: options.lead,
      backtest: backtest
    }
  end

  @doc "The forecast after the buckets that have become full since. Its weights and mode stay until the next review."
  @spec follow(t, History.t()) :: t
  def follow(%__MODULE__{model: nil} = forecast, _history), do: forecast

  def follow(forecast, history) do
    case History.since(history, forecast.last) do
      [] ->
        forecast

      new ->
        %{forecast | model: Enum.reduce(new, forecast.model, &HoltWinters.next(&2, &1)), last: History.last(history)}
    end
  end

  @doc """
  The most that is needed between `now` and the time at which a worker started now is ready, in workers. `nil` without a model, or
  if the history ends more than a season ago.
  """
  @spec needs(t, integer) :: float | nil
  def needs(%__MODULE__{model: nil}, _now), do: nil

  def needs(forecast, now) do
    unless stale?(forecast, now) do
      until = now + forecast.lead
      [now, until | middles(now, until, forecast.bucket)] |> Enum.map(&at(forecast, &1)) |> Enum.max() |> max(0.0)
    end
  end

  @doc """
  Replays a history twice, with the forecast and without, and compares. See `Kantoku.Pool.Forecast.Backtest`.
  """
  @spec backtest(History.t(), Policy.t()) :: Backtest.t()
  defdelegate backtest(history, policy), to: Backtest, as: :run

  @doc false
  @spec buckets_ahead(Policy.forecast()) :: pos_integer
  def buckets_ahead(%{lead: lead, bucket: bucket}), do: div(lead + bucket - 1, bucket)

  defp model(history, options) do
    {_first, values} = History.values(history)

    case HoltWinters.fit(values, history.season, buckets_ahead(options)) do
      {:ok, model} -> model
      {:error, _reason} -> nil
    end
  end

  defp stale?(%{model: model} = forecast, now) do
    Integer.floor_div(now, forecast.bucket) - forecast.last > model.season
  end

  # A mean stands for the middle of its bucket; between two middles the need goes straight from one to the other.
  defp at(forecast, time) do
    halves = Integer.floor_div(2 * time, forecast.bucket) - 1
    index = Integer.floor_div(halves, 2)
    share = (time - middle(index, forecast.bucket)) / forecast.bucket
    bucket(forecast, index) * (1 - share) + bucket(forecast, index + 1) * share
  end

  defp bucket(forecast, index), do: HoltWinters.ahead(forecast.model, max(1, index - forecast.last))

  defp middles(from, to, bucket) do
    first = Integer.floor_div(from, bucket)
    last = Integer.floor_div(to, bucket)
    for index <- first..last, middle = middle(index, bucket), middle > from and middle < to, do: round(middle)
  end

  defp middle(index, bucket), do: (index + 0.5) * bucket
end

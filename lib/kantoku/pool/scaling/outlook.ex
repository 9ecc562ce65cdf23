defmodule Kantoku.Pool.Scaling.Outlook do
  # A pool's history in the instance's book, and the forecast that is made of it. The history is written when one of its buckets is
  # full; what is in the open one is kept by who calls. Reviews take long, so they are only said to be due.
  @moduledoc false

  alias Kantoku.Pool.Forecast
  alias Kantoku.Pool.Forecast.{Backtest, History}
  alias Kantoku.Pool.Scaler.{Decision, Policy}

  # At most one decision in so many ms is learnt from, so that a time of many ticks does not weigh more than one of few.
  @rhythm 1_000

  @enforce_keys [:history]
  defstruct @enforce_keys ++ [forecast: nil, learnt: nil, reviewed: nil]

  @type t :: %__MODULE__{
          history: History.t(),
          forecast: nil | Forecast.t(),
          learnt: nil | integer,
          reviewed: nil | integer
        }

  @doc "What the book has, in the policy's shape; `nil` if the policy does not look ahead."
  @spec open(:ets.tid(), atom, Policy.t(), open :: term) :: t | nil
  def open(_book, _pool, %{forecast: :off}, _open), do: nil

  def open(book, pool, %{forecast: shape}, open) do
    case :ets.lookup(book, {:pool_history, pool}) do
      [{_key, history}] -> %__MODULE__{history: History.reshape(%{history | open: open || history.open}, shape)}
      [] -> %__MODULE__{history: %{History.new(shape) | open: open}}
    end
  end

  @doc "After another policy: what it has, if it still fits."
  @spec change(t | nil, :ets.tid(), atom, Policy.t()) :: t | nil
  def change(_outlook, _book, _pool, %{forecast: :off}), do: nil
  def change(nil, book, pool, policy), do: open(book, pool, policy, nil)
  def change(outlook, _book, _pool, policy), do: %__MODULE__{history: History.reshape(outlook.history, policy.forecast)}

  @doc "With what a decision says is needed."
  @spec learn(t | nil, :ets.tid(), atom, Decision.t(), Policy.t()) :: t | nil
  def learn(nil, _book, _pool, _decision, _policy), do: nil

  def learn(%{learnt: learnt} = outlook, book, pool, decision, policy) do
    if learnt && decision.at - learnt < min(@rhythm, div(policy.forecast.bucket, 8)),
      do: outlook,
      else: learnt(%{outlook | learnt: decision.at}, book, pool, Forecast.learn(outlook.history, decision, policy))
  end

  defp learnt(outlook, book, pool, history) do
    if History.last(history) == History.last(outlook.history) do
      %{outlook | history: history}
    else
      :ets.insert(book, {{:pool_history, pool}, history})
      %{outlook | history: history, forecast: outlook.forecast && Forecast.follow(outlook.forecast, history)}
    end
  end

  @doc "Whether a review is due: at first, and once a season."
  @spec due?(t | nil, Policy.t(), now :: integer) :: boolean
  def due?(nil, _policy, _now), do: false
  def due?(%{reviewed: nil}, _policy, _now), do: true
  def due?(%{reviewed: reviewed}, policy, now), do: now - reviewed >= policy.forecast.season

  @doc "With the outcome of a review; not if the policy has changed since it began."
  @spec reviewed(t | nil, :ets.tid(), atom, Forecast.t() | nil, Policy.t()) :: t | nil
  def reviewed(%__MODULE__{} = outlook, book, pool, %{bucket: bucket, lead: lead} = forecast, policy)
      when bucket == policy.forecast.bucket and lead == policy.forecast.lead do
    :ets.insert(book, {{:pool_forecast, pool}, told(forecast)})
    %{outlook | forecast: Forecast.follow(forecast, outlook.history)}
  end

  def reviewed(outlook, _book, _pool, _forecast, _policy), do: outlook

  defp told(%{mode: mode, backtest: backtest}) do
    test = Map.from_struct(backtest)
    %{mode: mode, reason: test.reason, explanation: Backtest.explain(backtest), backtest: Map.delete(test, :reason)}
  end

  @doc "What the last review said; `nil` before the first."
  @spec last(:ets.tid(), atom) :: map | nil
  def last(book, pool) do
    case :ets.lookup(book, {:pool_forecast, pool}) do
      [{_key, told}] -> told
      [] -> nil
    end
  end

  @spec delete(:ets.tid(), atom) :: true
  def delete(book, pool), do: :ets.delete(book, {:pool_history, pool}) and :ets.delete(book, {:pool_forecast, pool})
end

defmodule Kantoku.Pool.Forecast.HoltWinters do
  @moduledoc """
  Additive Holt-Winters: a level, a trend and a season, each smoothed exponentially (P. R. Winters, "Forecasting Sales by
  Exponentially Weighted Moving Averages", Management Science 6, 1960; in the error form of Hyndman and Athanasopoulos,
  "Forecasting: Principles and Practice", chapter 8).

      iex> alias Kantoku.Pool.Forecast.HoltWinters
      iex> {:ok, model} = HoltWinters.fit([1.0, 5.0, 3.0, 1.0, 5.0, 3.0, 1.0, 5.0, 3.0], 3)
      iex> for ahead <- 1..4, do: Float.round(HoltWinters.ahead(model, ahead), 3)
      [1.0, 5.0, 3.0, 1.0]

  The three weights are those of a fixed grid with the least squared error, each value foretold from those that lie a given
  number of values before it: what foretells the next value best need not foretell the fifth. There is no chance in it: the
  same values give the same model. What is missing (`nil`) is taken to be as foretold. There is no model before there are two
  full seasons in a row with more than half of their values.
  """

  @level [0.02, 0.1, 0.3, 0.6, 0.9]
  @trend [0.001, 0.01, 0.1]
  @season [0.05, 0.2, 0.5]

  @enforce_keys [:weights, :level, :trend, :season, :coming, :gone]
  defstruct @enforce_keys

  @typedoc "`season`: its length; `coming` begins with the season's part of the next value; `gone`: the rest of them, backwards."
  @type t :: %__MODULE__{
          weights: {level :: float, trend :: float, season :: float},
          level: float,
          trend: float,
          season: pos_integer,
          coming: [float],
          gone: [float]
        }

  @doc """
  The model that fits best, its state after the last value. `season` and `ahead`, for which distance the weights are chosen,
  are numbers of values.
  """
  @spec fit([number | nil], pos_integer, pos_integer) :: {:ok, t} | {:error, :too_short | :too_sparse}
  def fit(values, season, ahead \\ 1) do
    {first, rest} = Enum.split(values, season)
    second = Enum.take(rest, season)

    cond do
      length(second) < season -> {:error, :too_short}
      sparse?(first) or sparse?(second) -> without_first(rest, season, ahead)
      true -> {:ok, best(start(first, second, season), values, season, ahead)}
    end
  end

  # Later seasons may do better; what they say of themselves if they do not is no news.
  defp without_first(rest, season, ahead) do
    with {:error, _reason} <- fit(rest, season, ahead), do: {:error, :too_sparse}
  end

  @doc "The model after one more value."
  @spec next(t, number | nil) :: t
  def next(%__MODULE__{coming: []} = model, value),
    do: next(%{model | coming: Enum.reverse(model.gone), gone: []}, value)

  def next(%__MODULE__{coming: [part | coming], gone: gone} = model, nil),
    do: %{model | level: model.level + model.trend, coming: coming, gone: [part | gone]}

  def next(%__MODULE__{coming: [part | coming], gone: gone} = model, value) do
    {alpha, beta, gamma} = model.weights
    base = model.level + model.trend
    error = value - base - part

    %{
      model
      | level: base + alpha * error,
        trend: model.trend + alpha * beta * error,
        coming: coming,
        gone: [part + gamma * (1 - alpha) * error | gone]
    }
  end

  @doc "What the model foretells for so many values after the last, from 1."
  @spec ahead(t, pos_integer) :: float
  def ahead(model, ahead), do: model.level + ahead * model.trend + part(model, ahead - 1)

  defp part(model, index) do
    index = rem(index, model.season)

    case Enum.fetch(model.coming, index) do
      {:ok, part} -> part
      :error -> Enum.at(model.gone, model.season - 1 - index)
    end
  end

  defp sparse?(values), do: 2 * Enum.count(values, &is_nil/1) >= length(values)

  # Winters' start: the trend is the difference of the first two seasons' means, the season what the values have beyond level and
  # trend, in the mean of both.
  defp start(first, second, season) do
    {mean1, mean2} = {mean(first), mean(second)}
    trend = (mean2 - mean1) / season

    parts =
      for {one, two, index} <- Enum.zip([first, second, 0..(season - 1)]) do
        slope = trend * (index - (season - 1) / 2)
        mean(for {value, mean} <- [{one, mean1}, {two, mean2}], value != nil, do: value - mean - slope)
      end

    %__MODULE__{
      weights: {0.0, 0.0, 0.0},
      level: mean1 - trend * (season + 1) / 2,
      trend: trend,
      season: season,
      coming: parts,
      gone: []
    }
  end

  # The start has seen the first season, so errors count from the second on.
  defp best(start, values, season, ahead) do
    {unscored, scored} = Enum.split(values, season)
    pairs = Enum.zip(scored, Enum.drop(scored, ahead - 1) ++ List.duplicate(nil, ahead - 1))
    candidates = for alpha <- @level, beta <- @trend, gamma <- @season, do: %{start | weights: {alpha, beta, gamma}}
    {_error, model} = candidates |> Enum.map(&run(&1, unscored, pairs, ahead)) |> Enum.min_by(&elem(&1, 0))
    model
  end

  defp run(model, unscored, pairs, ahead) do
    model = Enum.reduce(unscored, model, &next(&2, &1))

    Enum.reduce(pairs, {0.0, model}, fn {value, target}, {sum, model} ->
      {sum + squared(target, model, ahead), next(model, value)}
    end)
  end

  defp squared(nil, _model, _ahead), do: 0.0

  defp squared(target, model, ahead) do
    error = target - ahead(model, ahead)
    error * error
  end

  defp mean([]), do: 0.0

  defp mean(values) do
    known = Enum.reject(values, &is_nil/1)
    if known == [], do: 0.0, else: Enum.sum(known) / length(known)
  end
end

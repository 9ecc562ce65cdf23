defmodule Kantoku.Pool.Forecast.History do
  @moduledoc """
  What a pool needed, bucket by bucket: the mean number of workers in each, for so many seasons. A plain value without a
  process, which the caller keeps above the scaler, so that it outlives it. It holds at most as many numbers as buckets were
  asked for.

      iex> alias Kantoku.Pool.Forecast.History
      iex> history = History.new(%{bucket: 1_000, season: 4_000, seasons: 3})
      iex> readings = [{0, 2.0}, {500, 4.0}, {1_000, 5.0}, {3_100, 1.0}, {4_000, 7.0}]
      iex> history = Enum.reduce(readings, history, fn {now, needs}, history -> History.record(history, now, needs) end)
      iex> History.values(history)
      {0, [3.0, 5.0, nil, 1.0]}

  Time is in ms of a clock that goes on while the history is kept; for seasons that follow the sun, the system's.
  """

  @enforce_keys [:bucket, :season, :keep]
  defstruct [:bucket, :season, :keep, open: nil, closed: []]

  @typedoc "`bucket` in ms, `season` and `keep` in buckets. `closed`: newest first; `open`: the bucket that is being filled."
  @type t :: %__MODULE__{
          bucket: pos_integer,
          season: pos_integer,
          keep: pos_integer,
          open: nil | {index :: integer, sum :: float, count :: pos_integer},
          closed: [{index :: integer, mean :: float}]
        }

  @typedoc "The options `forecast` of a policy, or as much of them: `bucket` and `season` in ms, and how many seasons are kept."
  @type shape :: %{
          required(:bucket) => pos_integer,
          required(:season) => pos_integer,
          required(:seasons) => pos_integer,
          optional(:lead) => pos_integer
        }

  @doc "An empty history, with the buckets of a policy's `forecast`."
  @spec new(shape) :: t
  def new(%{bucket: bucket, season: season, seasons: seasons}) do
    buckets = div(season, bucket)
    %__MODULE__{bucket: bucket, season: buckets, keep: buckets * seasons}
  end

  @doc """
  The history for changed options: with its values if its buckets stay as long as they were, else an empty one.

      iex> alias Kantoku.Pool.Forecast.History
      iex> options = %{bucket: 1_000, season: 4_000, seasons: 3}
      iex> history = Enum.reduce(0..4, History.new(options), &History.record(&2, &1 * 1_000, &1))
      iex> weekly = History.reshape(history, %{options | season: 28_000})
      iex> {weekly.season, History.values(weekly)}
      {28, {0, [0.0, 1.0, 2.0, 3.0]}}
      iex> History.reshape(history, %{options | bucket: 500}).closed
      []
  """
  @spec reshape(t, shape) :: t
  def reshape(%{bucket: bucket} = history, %{bucket: bucket} = options),
    do: %{new(options) | open: history.open, closed: history.closed}

  def reshape(_history, options), do: new(options)

  @doc "The history with what was needed at `now` (ms), in workers. `nil`, unknown, adds nothing."
  @spec record(t, integer, number | nil) :: t
  def record(history, _now, nil), do: history

  def record(history, now, needs) do
    index = Integer.floor_div(now, history.bucket)

    case history.open do
      {^index, sum, count} -> %{history | open: {index, sum + needs, count + 1}}
      {before, _, _} when before > index -> history
      _other -> %{close(history, index) | open: {index, needs * 1.0, 1}}
    end
  end

  @doc "The first bucket's index and the mean of each full bucket from there on, oldest first; `nil` where nothing is known."
  @spec values(t) :: {integer, [float | nil]}
  def values(%__MODULE__{closed: []}), do: {0, []}

  def values(%__MODULE__{closed: closed}) do
    [{first, _} | _] = oldest = Enum.reverse(closed)
    {first, filled(oldest, first)}
  end

  @doc "The index of the last full bucket; `nil` if there is none."
  @spec last(t) :: integer | nil
  def last(%__MODULE__{closed: []}), do: nil
  def last(%__MODULE__{closed: [{index, _} | _]}), do: index

  @doc "The means of the full buckets after that of `index`, as `values/1` gives them."
  @spec since(t, integer) :: [float | nil]
  def since(history, index) do
    history.closed |> Enum.take_while(fn {at, _} -> at > index end) |> Enum.reverse() |> filled(index + 1)
  end

  defp close(%{open: nil} = history, _now), do: history

  defp close(%{open: {index, sum, count}} = history, now) do
    kept = Enum.take_while(history.closed, fn {at, _} -> at > now - 1 - history.keep end)
    %{history | closed: [{index, sum / count} | kept], open: nil}
  end

  defp filled([], _next), do: []
  defp filled([{next, mean} | rest], next), do: [mean | filled(rest, next + 1)]
  defp filled(rest, next), do: [nil | filled(rest, next + 1)]
end

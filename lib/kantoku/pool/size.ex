defmodule Kantoku.Pool.Size do
  # How many workers a pool wants now: its target, or what a scaler put in place of that; fewer of them while it idles, more while
  # requests wait. Time is an argument, and nobody is asked.
  @moduledoc false

  alias Kantoku.Pool.Config

  # `scaled`: in place of the target. `overflow`: beyond the target. `idled`: below it. `spare`: the fewest workers that were free at once since `since` (monotonic ms).
  defstruct scaled: nil, overflow: 0, idled: 0, spare: :unknown, since: 0

  @type t :: %__MODULE__{
          scaled: nil | non_neg_integer,
          overflow: non_neg_integer,
          idled: non_neg_integer,
          spare: :unknown | non_neg_integer,
          since: integer
        }

  @doc "How many workers are wanted."
  @spec wanted(t, Config.t()) :: non_neg_integer
  def wanted(size, config), do: base(size, config) + overflow(size, config)

  @doc "How many of them beyond the target."
  @spec overflow(t, Config.t()) :: non_neg_integer
  def overflow(size, config), do: min(size.overflow, config.max_overflow)

  @doc "With a size that was decided in place of the target; the bounds count all the same. `nil`: the target again."
  @spec scaled(t, nil | non_neg_integer) :: t
  def scaled(size, count), do: %{size | scaled: count}

  defp target(%{scaled: nil}, config), do: config.target
  defp target(%{scaled: scaled}, config), do: scaled |> max(config.min) |> min(config.max)

  defp base(size, config), do: max(target(size, config) - size.idled, min(config.min, target(size, config)))

  @doc """
  With `queue` requests waiting, while `coming` workers are being started: all of the target, and beyond it a place for
  each that waits, as far as `:max_overflow` goes.
  """
  @spec pressed(t, Config.t(), queue :: non_neg_integer, coming :: non_neg_integer, now :: integer) :: t
  def pressed(size, config, queue, coming, now) do
    lacking = ceil(queue / config.max_ongoing) - coming - min(size.idled, target(size, config) - config.min)
    overflow = min(config.max_overflow, overflow(size, config) + max(lacking, 0))
    %{size | idled: 0, overflow: overflow, spare: :unknown, since: now}
  end

  @doc "With `free` permits: when nobody has waited for `:overflow_linger`, as many go as were free all the time."
  @spec relaxed(t, Config.t(), free :: non_neg_integer, now :: integer) :: t
  def relaxed(%{overflow: 0} = size, _config, _free, _now), do: size

  def relaxed(size, config, free, now) do
    spare = min(size.spare, div(free, config.max_ongoing))

    if now - size.since >= config.overflow_linger,
      do: %{size | overflow: max(overflow(size, config) - spare, 0), spare: :unknown, since: now},
      else: %{size | spare: spare}
  end

  @doc "With nobody dismissed for being idle."
  @spec rested(t) :: t
  def rested(size), do: %{size | idled: 0}

  @doc "How many workers may go for being idle."
  @spec dispensable(t, Config.t()) :: non_neg_integer
  def dispensable(size, config), do: max(base(size, config) - config.min, 0)

  @doc "With `count` idle workers dismissed."
  @spec idled(t, Config.t(), count :: non_neg_integer) :: t
  def idled(size, config, count),
    do: %{size | idled: target(size, config) - base(size, config) + min(count, dispensable(size, config))}
end

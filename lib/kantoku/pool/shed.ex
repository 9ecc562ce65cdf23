defmodule Kantoku.Pool.Shed do
  # Refuses requests of a low priority at the door of a pool that has asked for it, while the instance is at the level that sheds them.
  # Costs others nothing, and those one read of shared memory. Knows no worker.
  @moduledoc false

  alias Kantoku.Degradation.Notes
  alias Kantoku.{Error, Instances}
  alias Kantoku.Pool.Detours

  @level 3

  @doc "Has a pool refuse requests of this priority and below (`:none`: none) while it is time for that."
  @spec set(Kantoku.Pool.t(), :ets.tid(), :none | :low | :normal) :: :ok
  def set(pool, _book, :none), do: forget(pool)
  def set(pool, book, :low), do: Detours.put(:shed, pool, {Notes.gauge(book), [:low]})
  def set(pool, book, :normal), do: Detours.put(:shed, pool, {Notes.gauge(book), [:low, :normal]})

  @spec forget(Kantoku.Pool.t()) :: :ok
  def forget(pool), do: Detours.erase(:shed, pool)

  @doc "Whether a request with these options is let in."
  @spec let(Kantoku.Pool.t(), keyword) :: :ok | {:error, Error.t()}
  def let(pool, opts) do
    case Detours.get(:shed, pool) do
      nil -> :ok
      {gauge, priorities} -> if Notes.level(gauge) < @level, do: :ok, else: let(pool, priorities, opts)
    end
  end

  # Bad options are for those to refuse who read all of them.
  defp let(pool, priorities, opts) do
    if is_list(opts) and Keyword.get(opts, :priority, :normal) in priorities,
      do: {:error, Error.new(:overloaded, pool: pool, level: @level, retry_in: retry_in(pool))},
      else: :ok
  end

  # No sooner than the level can be left.
  defp retry_in({instance, _pool}) do
    case Instances.tables(instance) do
      {:ok, {_rows, book}} -> with(%{period: period, readings: readings} <- Notes.config(book), do: period * readings)
      {:error, _not_running} -> 0
    end
  end

  @doc "Whether a pool refuses some requests for it now."
  @spec shedding?(Kantoku.Pool.t()) :: boolean
  def shedding?(pool) do
    case Detours.get(:shed, pool) do
      {gauge, _priorities} -> Notes.level(gauge) >= @level
      nil -> false
    end
  end
end

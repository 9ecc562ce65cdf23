defmodule Demo.OwnCrew do
  # Agents as Kantoku has them: a plain process that reads, and data with an outbox and a state that is kept.
  @moduledoc false
  @behaviour Demo.Crew

  alias Demo.{Extractor, Indexer, Reader}
  alias Kantoku.Pool

  @call 60_000
  @look 250
  # Looks at an extractor and an indexer that are both up before the part is given to another extractor.
  @looks 40

  @impl true
  def open(_instance), do: :ok

  @impl true
  def close(_instance), do: :ok

  @impl true
  def worker(_instance, :read), do: [spec: {Reader, []}]
  def worker(_instance, :extract), do: [spec: Extractor]
  def worker(_instance, :index), do: [spec: Indexer]

  @impl true
  def read(instance, path), do: Pool.call({instance, :read}, {:read, path}, timeout: @call)

  @impl true
  def tally(instance, indexer), do: Kantoku.call(instance, indexer, :read, @call)

  @impl true
  def merge(instance, extractor, errand, text, held_up) do
    case Kantoku.call(instance, extractor, {:extract, errand, text}, @call) do
      {:ok, :taken} -> await(instance, extractor, errand, held_up, @looks)
      {:error, error} -> {:again, error}
    end
  end

  # Its outbox brings the part home as soon as both are there. An extractor that is away is replaced by another one; the indexer is
  # waited for (E4).
  defp await(_instance, _extractor, _errand, _held_up, 0), do: {:again, :late}

  defp await(instance, extractor, %{key: key, indexer: indexer} = errand, held_up, looks) do
    receive do
      {:merged, ^key} -> :merged
    after
      @look ->
        cond do
          Kantoku.whereis(instance, indexer) == nil -> held_up.() && await(instance, extractor, errand, held_up, looks)
          Kantoku.whereis(instance, extractor) == nil -> {:again, :gone}
          true -> await(instance, extractor, errand, held_up, looks - 1)
        end
    end
  end
end

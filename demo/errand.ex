defmodule Demo.Errand do
  # One file's way through the fleet, in a process of its own: read, cut in parts, each extracted and merged. It asks again until it is
  # told that a part is merged; that nothing is merged twice is the indexers' care. Knows neither passes nor other files.
  @moduledoc false

  alias Demo.{Fleet, Gauges}

  @parts [max_concurrency: 8, timeout: :infinity, ordered: false]
  # So many parts in a row go to one indexer: a large file is spread over several.
  @together 8
  @call 60_000
  @pause 10
  @look 250
  # Looks at an extractor and an indexer that are both up before the part is given to another extractor.
  @looks 40

  @type outcome :: {:text, parts :: non_neg_integer, bytes :: non_neg_integer} | {:skip, Demo.Decode.reason()}

  @doc "Sees a file through. `held_up` is called whenever it waits for an indexer that is not there."
  @spec run(Fleet.t(), pass :: pos_integer, {file :: non_neg_integer, Path.t()}, (() -> term)) :: outcome
  def run(fleet, pass, {file, path}, held_up) do
    case read(fleet, path) do
      {:ok, parts} ->
        merge(fleet, {pass, file}, parts, held_up)
        {:text, length(parts), Enum.sum(Enum.map(parts, &byte_size/1))}

      {:skip, _reason} = skip ->
        skip
    end
  end

  defp read(fleet, path) do
    case Fleet.with_agent(fleet, :read, &Kantoku.call(fleet.instance, &1, {:read, path}, @call)) do
      {:ok, result} -> result
      {:error, _error} -> again(fleet, fn -> read(fleet, path) end)
    end
  end

  # Who is asked next is read from the roster, which is told of a death a moment later.
  defp again(fleet, work) do
    Gauges.add(fleet.instance, :repeated)
    Process.sleep(@pause)
    work.()
  end

  defp merge(fleet, {pass, file}, parts, held_up) do
    parts
    |> Enum.with_index()
    |> Task.async_stream(fn {text, part} -> see_through(fleet, {pass, file, part}, text, held_up) end, @parts)
    |> Enum.each(fn {:ok, :ok} -> Gauges.add(fleet.instance, :parts) end)
  end

  defp see_through(fleet, {_pass, file, part} = key, text, held_up) do
    indexer = Fleet.indexer(fleet, {file, div(part, @together)})
    submit(fleet, %{key: key, indexer: indexer, asker: self()}, text, held_up)
  end

  defp submit(fleet, errand, text, held_up) do
    case Fleet.with_agent(fleet, :extract, &entrust(fleet.instance, &1, errand, text, held_up)) do
      :merged -> :ok
      :again -> again(fleet, fn -> submit(fleet, errand, text, held_up) end)
    end
  end

  defp entrust(instance, extractor, errand, text, held_up) do
    case Kantoku.call(instance, extractor, {:extract, errand, text}, @call) do
      {:ok, :taken} -> await(instance, extractor, errand, held_up, @looks)
      {:error, _killed_or_gone} -> :again
    end
  end

  # Its outbox brings the part home as soon as both are there. An extractor that is away is replaced by another one; the indexer is
  # waited for, as it alone knows whether it has the part.
  defp await(_instance, _extractor, _errand, _held_up, 0), do: :again

  defp await(instance, extractor, %{key: key, indexer: indexer} = errand, held_up, looks) do
    receive do
      {:merged, ^key} -> :merged
    after
      @look ->
        cond do
          Kantoku.whereis(instance, indexer) == nil -> held_up.() && await(instance, extractor, errand, held_up, looks)
          Kantoku.whereis(instance, extractor) == nil -> :again
          true -> await(instance, extractor, errand, held_up, looks - 1)
        end
    end
  end
end

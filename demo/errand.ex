defmodule Demo.Errand do
  # One file's way through the pools, in a process of its own: read, cut in parts, each extracted and merged. Knows neither passes nor
  # other files.
  #
  # Why nothing is lost and nothing counted twice, whoever is killed, refused or late:
  #
  # E1  *Nothing is lost*, as whoever is not told of the result asks again, however often: after a refusal (`:queue_full`, `:overloaded`,
  #     `:breaker_open`, `:closed`: no worker has it), a wait that was too long (likewise), a worker's death and a late answer (a worker may have it).
  # E2  A file may be read and a part extracted any number of times: these change nothing that counts. So any worker of those pools will
  #     do, and another one each time.
  # E3  A merge does count. A shard knows what it has merged by the key of the part, `{pass, file, part}`, keeps that in the snapshot
  #     that the sum is in, and refuses the same key again.
  # E4  Only that shard knows. So the pool chooses the shard of a part once; from then on the part is this shard's under its id, which
  #     stays the same when its process is killed and its lease ends by that. A part whose shard is away waits, and goes to no other.
  # E5  Who asks for a part keeps its place in the pools until the shard has said that it is merged. An extractor that still waits for
  #     a shard to come back is lent to nobody else.
  # E6  What comes of a request that was given up is a second delivery (E3), or a message to a process that has ended.
  @moduledoc false

  alias Demo.{Fleet, Gauges}
  alias Kantoku.Error

  @parts [max_concurrency: 8, timeout: :infinity, ordered: false]
  # So many parts in a row go to one indexer: a large file is spread over several.
  @together 8
  @wait 30_000
  @pause_at_least 10
  @pause_at_most 1_000

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
    case fleet.crew.read(fleet.instance, path) do
      {:ok, result} -> result
      {:error, error} -> again(fleet, :read, error, fn -> read(fleet, path) end)
    end
  end

  defp merge(fleet, {pass, file}, parts, held_up) do
    parts
    |> Enum.with_index()
    |> Task.async_stream(fn {text, part} -> see_through(fleet, {pass, file, part}, text, held_up) end, @parts)
    |> Enum.each(fn {:ok, :ok} -> Gauges.add(fleet.instance, :parts) end)
  end

  defp see_through(fleet, {_pass, file, part} = key, text, held_up) do
    piece = {file, div(part, @together)}

    lent(fleet, :index, [key: piece], fn indexer ->
      submit(fleet, %{key: key, indexer: indexer, asker: self()}, text, held_up)
    end)
  end

  defp submit(fleet, errand, text, held_up) do
    case lent(fleet, :extract, [], &fleet.crew.merge(fleet.instance, &1, errand, text, held_up)) do
      :merged -> :ok
      {:again, why} -> again(fleet, :extract, why, fn -> submit(fleet, errand, text, held_up) end)
    end
  end

  # Asking again (E1) --------------------------------------------------------------------------------------------------------

  defp lent(fleet, kind, opts, work) do
    case Fleet.lend(fleet, kind, [timeout: @wait] ++ opts, work) do
      {:ok, result} -> result
      :gone -> again(fleet, kind, :gone, fn -> lent(fleet, kind, opts, work) end)
      {:error, error} -> again(fleet, kind, error, fn -> lent(fleet, kind, opts, work) end)
    end
  end

  defp again(%{instance: instance}, kind, why, work) do
    for name <- [:repeated, {:again, kind}, gauge(why)], do: Gauges.add(instance, name)
    why |> pause() |> Process.sleep()
    work.()
  end

  # Not all at once: those that were refused together were told the same.
  defp pause(%Error{details: %{retry_in: ms}}) when is_integer(ms) do
    ms = ms |> max(@pause_at_least) |> min(@pause_at_most)
    ms + :rand.uniform(ms)
  end

  defp pause(_why), do: @pause_at_least

  defp gauge(:gone), do: :died
  defp gauge(:late), do: :late
  defp gauge(%Error{reason: reason}) when reason in [:queue_full, :overloaded, :breaker_open], do: reason
  defp gauge(%Error{reason: reason}) when reason in [:timeout, :deadline], do: :late
  defp gauge(%Error{reason: reason}) when reason in [:closed, :draining], do: :pool_closed
  defp gauge(%Error{reason: reason}) when reason in [:crashed, :restarting, :parked], do: :died
  # Nobody is there to be asked again.
  defp gauge(%Error{} = error), do: raise(error)
end

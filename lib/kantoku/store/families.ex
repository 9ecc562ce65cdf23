defmodule Kantoku.Store.Families do
  # What an instance's store does, as metrics. Of a store that does not count only whether it fails.
  @moduledoc false
  @behaviour Kantoku.Metrics.Standing

  alias Kantoku.Domain.Book
  alias Kantoku.{Instances, Store}

  @families [
    {:failing, :gauge, "kantoku_store_failing_seconds",
     [unit: :seconds, help: "For how long reads or writes of a store have failed; 0 where they do not."]},
    {:commits, :counter, "kantoku_store_commits",
     [help: "Commits of a file by outcome (ok, failed); each that went well is one sync."]},
    {:commit_time, :counter, "kantoku_store_commit_seconds",
     [unit: :seconds, help: "How long the commits took that went well, in all."]},
    {:writes, :counter, "kantoku_store_writes", [help: "Keys that were written or removed by them."]},
    {:written, :counter, "kantoku_store_written_bytes", [unit: :bytes, help: "Bytes that were written by them."]},
    {:refusals, :counter, "kantoku_store_refusals",
     [help: "Writes that were put off, as too much waited for the disk."]},
    {:retries, :counter, "kantoku_store_retries", [help: "Writes that were kept for another try, as a commit failed."]},
    {:reopened, :counter, "kantoku_store_reopened", [help: "Times that a file was opened anew after a failure."]},
    {:pending, :gauge, "kantoku_store_pending_writes", [help: "Keys that wait for the disk."]},
    {:pending_bytes, :gauge, "kantoku_store_pending_bytes",
     [unit: :bytes, help: "Bytes that wait for the disk, with what it takes to keep them."]},
    {:quarantined, :gauge, "kantoku_store_quarantined", [help: "Damaged snapshots that were set aside."]}
  ]

  @impl true
  def all, do: @families

  @impl true
  def figures(instance) do
    case Instances.reading(instance, fn _rows, book -> {:ok, Book.agent_options(book).store} end) do
      {:ok, {module, _ref} = store} -> store |> of() |> Map.new(&series(&1, store: name(module)))
      _none_or_ended -> %{}
    end
  end

  defp name(Store.Memory), do: "memory"
  defp name(Store.Disk), do: "disk"
  defp name(module), do: module

  defp series({figure, counts}, labels) when is_map(counts),
    do: {figure, for({outcome, count} <- counts, do: {labels ++ [outcome: outcome], count})}

  defp series({figure, value}, labels), do: {figure, [{labels, value}]}

  defp of({Store.Disk, file}) do
    case Store.Disk.stats(file) do
      {:error, _closed} -> %{}
      stats -> counts(stats)
    end
  end

  defp of(store), do: %{failing: seconds(Store.standing(store))}

  defp counts(stats) do
    %{
      failing: seconds(stats),
      commits: %{ok: stats.commits, failed: stats.failed_commits},
      commit_time: stats.commit_time / 1.0e6,
      writes: stats.committed_keys,
      written: stats.committed_bytes,
      refusals: stats.busy,
      retries: stats.retried,
      reopened: stats.reopened,
      pending: stats.pending_keys,
      pending_bytes: stats.pending_bytes,
      quarantined: stats.quarantined
    }
  end

  defp seconds(%{failing_for: ms}), do: (ms || 0) / 1_000
end

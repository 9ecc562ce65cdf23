defmodule Kantoku.Migration.Borrowing do
  # Work with a worker of either pool. Runs in the caller.
  #
  # In a shadow the old pool serves. Ours is asked nothing: what it would have done follows from how many are there at once, its size
  # and its queue.
  @moduledoc false

  alias Kantoku.{Instances, Pool}
  alias Kantoku.Migration.{Account, Crowd, Journal, Mode, Old, Settings}
  alias Kantoku.Pool.Notes

  @timeout 5_000

  @doc "See `Kantoku.Migration.transaction/4`."
  @spec transaction(Pool.t(), (pid -> result), term, keyword) :: result when result: term
  def transaction({instance, pool} = name, fun, old, opts) when is_function(fun, 1) do
    old = Old.check!(:pools, old)
    opts = Keyword.validate!(opts, key: self(), timeout: @timeout, tenant: nil, priority: :normal)
    gate = Settings.gate_of_request(instance, :pools, pool)

    case gate do
      :off -> theirs(old, fun, opts[:timeout])
      :shadow -> shadowed(name, fun, old, opts)
      gate -> sided(gate, Mode.side(gate, pool, opts[:key]), name, fun, old, opts)
    end
  end

  defp sided(gate, side, name, fun, old, opts), do: Account.run(gate, side, fn -> on(side, name, fun, old, opts) end)

  defp on(:old, _name, fun, old, opts), do: theirs(old, fun, opts[:timeout])

  defp on(:new, name, fun, _old, opts) do
    case Pool.run(name, fun, Keyword.take(opts, [:timeout, :tenant, :priority])) do
      {:ok, result} -> result
      {:error, error} -> exit({reason(error), {Kantoku.Migration, :transaction, [name, fun]}})
    end
  end

  # As poolboy's own callers know it.
  defp reason(%{reason: reason}) when reason in [:timeout, :deadline], do: :timeout
  defp reason(error), do: error

  # The old pool ---------------------------------------------------------------------------------------------------------

  defp theirs({:poolboy, name}, fun, timeout), do: holding(name, apply(:poolboy, :checkout, [name, true, timeout]), fun)
  defp theirs(run, fun, _timeout), do: run.(fun)

  defp holding(name, worker, fun) do
    fun.(worker)
  after
    apply(:poolboy, :checkin, [name, worker])
  end

  # The shadow -----------------------------------------------------------------------------------------------------------

  defp shadowed(name, fun, old, opts) do
    {place, there} = Crowd.enter(name)
    ours = forecast(name, there)

    try do
      watched(old, fun, opts[:timeout], &note(name, opts[:key], ours, &1))
    after
      Crowd.leave(place)
    end
  end

  # Who would have to wait is asked first whether there is a worker: so it is known that it waited.
  defp watched({:poolboy, name} = old, fun, timeout, note) do
    case apply(:poolboy, :checkout, [name, false]) do
      :full ->
        begun(old, fun, timeout, :queued, note)

      worker ->
        note.(:served)
        holding(name, worker, fun)
    end
  end

  defp watched(old, fun, timeout, note), do: begun(old, fun, timeout, :admitted, note)

  # Both run what they are given in the caller, if they run it.
  defp begun(old, fun, timeout, word, note) do
    mark = make_ref()

    try do
      theirs(old, &marked(mark, &1, fn -> note.(word) end, fun), timeout)
    after
      if Process.delete(mark) == nil, do: note.(:refused)
    end
  end

  defp marked(mark, worker, note, fun) do
    Process.put(mark, true)
    note.()
    fun.(worker)
  end

  defp note({instance, pool}, key, {word, _workers} = ours, theirs) do
    Journal.note({instance, :pools, pool}, key, ours, theirs, alike?(word, theirs))
  end

  defp alike?(word, word), do: true
  defp alike?(word, :admitted), do: word in [:served, :queued]
  defp alike?(_ours, _theirs), do: false

  # What ours would have done with this one, and how many workers it would have.
  defp forecast({instance, pool}, there) do
    case Instances.reading(instance, fn _rows, book -> Notes.config(book, pool) end) do
      %Pool.Config{} = config -> fate(there, config)
      _none -> {:no_pool, 0}
    end
  end

  defp fate(there, %{target: target, max_overflow: overflow, max_ongoing: each, max_queue: queue}) do
    needed = ceil(there / each)
    workers = needed |> max(target) |> min(target + overflow)

    cond do
      needed <= workers -> {:served, workers}
      there - workers * each <= queue -> {:queued, workers}
      true -> {:refused, workers}
    end
  end
end

defmodule Kantoku.Registry.Dispatcher do
  # Hands the entries of a key to a callback, by partition of their owners. Knows nothing of how entries are found.
  @moduledoc false

  @type callback :: ([{pid, term}] -> term) | {module, atom, [term]}

  @doc "Calls back once for each partition that has entries."
  @spec dispatch([{pid, term}], callback, pos_integer, boolean) :: :ok
  def dispatch([], _callback, _partitions, _parallel?), do: :ok
  def dispatch(entries, callback, 1, _parallel?), do: call(callback, entries)

  def dispatch(entries, callback, partitions, parallel?) do
    groups = entries |> Enum.group_by(fn {pid, _value} -> :erlang.phash2(pid, partitions) end) |> Map.values()
    if parallel?, do: together(groups, callback), else: Enum.each(groups, &call(callback, &1))
    :ok
  end

  defp call({module, function, args}, entries), do: done(apply(module, function, [entries | args]))
  defp call(fun, entries), do: done(fun.(entries))

  defp done(_result), do: :ok

  defp together(groups, callback) do
    caller = self()

    groups
    |> Enum.map(fn entries -> Task.async(fn -> apart(callback, entries, caller) end) end)
    |> Enum.each(&Task.await(&1, :infinity))
  end

  # Linked while it may fail; unlinked at its end, so that a caller that traps exits finds none in its mailbox.
  defp apart(callback, entries, caller) do
    call(callback, entries)
    Process.unlink(caller)
    :ok
  end
end

defmodule Kantoku.Domain.Remains do
  # Ends what a dead or dying supervisor may have left behind, and does not answer before it is gone. Knows no row.
  @moduledoc false

  @doc "Ends a child of the calling process, which has not been told to anyone yet."
  @spec end_child(pid) :: :ok
  def end_child(pid) do
    Process.unlink(pid)
    kill(pid)
  end

  @doc "Kills a process and waits until it is dead."
  @spec kill(pid) :: :ok
  def kill(pid), do: kill_all([pid])

  @doc "Kills processes and waits until all are dead."
  @spec kill_all([pid]) :: :ok
  def kill_all(pids) do
    pids
    |> Enum.map(fn pid ->
      Process.exit(pid, :kill)
      Process.monitor(pid)
    end)
    |> Enum.each(fn ref -> receive(do: ({:DOWN, ^ref, :process, _pid, _reason} -> :ok)) end)
  end

  @doc "Waits until a process is dead; after `patience` ms it is killed."
  @spec await(pid | nil, timeout) :: :ok
  def await(nil, _patience), do: :ok

  def await(pid, patience) do
    ref = Process.monitor(pid)

    receive do
      {:DOWN, ^ref, :process, _pid, _reason} -> :ok
    after
      patience ->
        Process.demonitor(ref, [:flush])
        kill(pid)
    end
  end

  @doc """
  Kills what dead supervisors were starting when they died: such a process runs its start, deaf to exits if it likes, and is
  known to nobody but by its parent. Looks at every process of the VM.
  """
  @spec kill_strays([pid]) :: :ok
  def kill_strays([]), do: :ok

  def kill_strays(supervisors) do
    parents = MapSet.new(supervisors)
    kill_all(for pid <- Process.list(), {:parent, parent} <- [parent(pid)], parent in parents, do: pid)
  end

  @doc """
  Kills what a living supervisor is starting, if it starts something: its only child that is not among those `known`. Looks at every
  process of the VM.
  """
  @spec kill_starting(pid, [pid]) :: :ok
  def kill_starting(supervisor, known) do
    kill_all(for pid <- Process.list(), parent(pid) == {:parent, supervisor}, pid not in known, do: pid)
  end

  # `:parent` is not among the items that Process.info/2's types know.
  defp parent(pid), do: :erlang.process_info(pid, :parent)
end

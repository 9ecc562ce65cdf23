defmodule Bench.Crowd do
  @moduledoc false
  # Many processes that do one thing and then live on. One process keeps them, so that no state that callers get a
  # copy of names them all. Knows nothing of what they do.

  @type t :: pid

  @doc "A process for each item, which runs `work` with it; and what they answered, in the order of items."
  @spec start([item], (item -> answer)) :: {t, [answer]} when item: term, answer: term
  def start(items, work) do
    parent = self()
    crowd = spawn_link(fn -> keep(items, work, parent) end)

    receive do
      {^crowd, answers} -> {crowd, answers}
    end
  end

  @doc "Kills them all; returns when the last is dead."
  @spec stop(t) :: :ok
  def stop(crowd) do
    monitor = Process.monitor(crowd)
    send(crowd, :stop)

    receive do
      {:DOWN, ^monitor, _, _, :normal} -> :ok
    end
  end

  defp keep(items, work, parent) do
    members = Enum.map(items, &spawn_member(&1, work))
    send(parent, {self(), Enum.map(members, &await/1)})

    receive do
      :stop -> Enum.each(members, &kill/1)
    end
  end

  defp spawn_member(item, work) do
    crowd = self()

    spawn_link(fn ->
      send(crowd, {:did, self(), work.(item)})
      Process.sleep(:infinity)
    end)
  end

  defp await(member) do
    receive do
      {:did, ^member, answer} -> answer
    end
  end

  defp kill(member) do
    Process.unlink(member)
    monitor = Process.monitor(member)
    Process.exit(member, :kill)

    receive do
      {:DOWN, ^monitor, _, _, _} -> :ok
    end
  end
end

defmodule Kantoku.TestOwner do
  @moduledoc """
  A process that does what a test tells it to, and whose death a test can wait for.
  """

  @doc "Starts one that is linked to nobody; it ends with the test's process at the latest."
  @spec start() :: pid
  def start do
    parent = self()

    spawn(fn ->
      ref = Process.monitor(parent)
      loop(ref)
    end)
  end

  @doc "Starts one and runs `fun` in it, whose result must be `{:ok, _}` or `:ok`."
  @spec start((... -> {:ok, term} | :ok)) :: pid
  def start(fun) do
    owner = start()

    case run(owner, fun) do
      {:ok, _} -> owner
      :ok -> owner
    end
  end

  @doc "Runs `fun` in an owner and returns its result."
  @spec run(pid, (... -> result)) :: result when result: term
  def run(owner, fun) do
    ref = Process.monitor(owner)
    send(owner, {:run, self(), ref, fun})

    receive do
      {^ref, result} ->
        Process.demonitor(ref, [:flush])
        result

      {:DOWN, ^ref, :process, _pid, reason} ->
        exit(reason)
    end
  end

  @doc "Kills a process and returns when it is dead."
  @spec kill(pid) :: :ok
  def kill(pid) do
    ref = Process.monitor(pid)
    Process.exit(pid, :kill)

    receive do
      {:DOWN, ^ref, :process, _pid, _reason} -> :ok
    end
  end

  @doc "Waits until `fun` answers something true, and returns it; raises after half a minute of waits."
  @spec eventually((... -> result)) :: result when result: term
  def eventually(fun, tries \\ 3_000) do
    case fun.() do
      wrong when wrong in [nil, false] and tries == 0 -> raise "what was waited for did not happen"
      wrong when wrong in [nil, false] -> Process.sleep(10) && eventually(fun, tries - 1)
      result -> result
    end
  end

  defp loop(parent) do
    receive do
      {:run, from, ref, fun} ->
        send(from, {ref, fun.()})
        loop(parent)

      {:DOWN, ^parent, :process, _pid, _reason} ->
        :ok
    end
  end
end

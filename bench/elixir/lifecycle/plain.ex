defmodule Bench.Lifecycle.Plain do
  @moduledoc false
  # The peer: a DynamicSupervisor and a Registry, as anyone writes them. Its budget of restarts never ends, so that it
  # can be compared in a storm at all.

  alias Bench.Lifecycle.Worker

  @type t :: %{supervisor: pid, registry: atom, registry_pid: pid}

  @spec open() :: t
  def open do
    registry = :"bench_plain_#{System.unique_integer([:positive])}"
    {:ok, registry_pid} = Registry.start_link(keys: :unique, name: registry, partitions: System.schedulers_online())

    {:ok, supervisor} =
      DynamicSupervisor.start_link(strategy: :one_for_one, max_restarts: 1_000_000_000, max_seconds: 1)

    %{supervisor: supervisor, registry: registry, registry_pid: registry_pid}
  end

  @spec start(t, id :: term, watcher :: pid | nil) :: pid
  def start(%{supervisor: supervisor} = plain, id, watcher \\ nil) do
    {:ok, pid} = DynamicSupervisor.start_child(supervisor, {Worker, name: name(plain, id), watcher: watcher})
    pid
  end

  @spec name(t, id :: term) :: GenServer.name()
  def name(%{registry: registry}, id), do: {:via, Registry, {registry, id}}

  @spec whereis(t, id :: term) :: pid | nil
  def whereis(plain, id), do: GenServer.whereis(name(plain, id))

  @doc "Stops all children; the supervisor and the registry stay."
  @spec empty(t) :: :ok
  def empty(%{supervisor: supervisor} = plain) do
    for {_, pid, _, _} <- DynamicSupervisor.which_children(supervisor), is_pid(pid) do
      DynamicSupervisor.terminate_child(supervisor, pid)
    end

    await_empty(plain)
  end

  @spec close(t) :: :ok
  def close(plain) do
    DynamicSupervisor.stop(plain.supervisor)
    Supervisor.stop(plain.registry_pid)
  end

  defp await_empty(%{registry: registry} = plain) do
    unless Registry.count(registry) == 0 do
      Process.sleep(1)
      await_empty(plain)
    end
  end
end

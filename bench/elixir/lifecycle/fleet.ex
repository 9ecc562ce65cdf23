defmodule Bench.Lifecycle.Fleet do
  @moduledoc false
  # Our side: an instance with one domain whose patience is switched off (first restart at once, no token bucket, no
  # end of the budget), so that what is timed is the machinery and not its good manners.

  alias Bench.Lifecycle.{Counter, Worker}
  alias Bench.Options

  @type t :: %{instance: atom, supervisor: pid}

  @spec open(Options.t()) :: t
  def open(%Options{engine: engine}) do
    instance = :"bench_fleet_#{System.unique_integer([:positive])}"
    {:ok, supervisor} = Kantoku.start_link(name: instance, engine: engine, domains: [domain()])
    %{instance: instance, supervisor: supervisor}
  end

  @spec start(t, id :: term, watcher :: pid | nil) :: pid
  def start(%{instance: instance}, id, watcher \\ nil) do
    {:ok, pid} = Kantoku.start_agent(instance, {Worker, watcher: watcher}, id: id)
    pid
  end

  @spec start_data(t, id :: term) :: pid
  def start_data(%{instance: instance}, id) do
    {:ok, pid} = Kantoku.start_agent(instance, Counter, id: id)
    pid
  end

  @spec whereis(t, id :: term) :: pid | nil
  def whereis(%{instance: instance}, id), do: Kantoku.whereis(instance, id)

  @spec add(t, id :: term) :: {:ok, term} | {:error, term}
  def add(%{instance: instance}, id), do: Kantoku.call(instance, id, :add)

  @doc "Stops these agents for good; the instance stays."
  @spec empty(t, ids :: [term]) :: :ok
  def empty(%{instance: instance}, ids) do
    Enum.each(ids, fn id -> :ok = Kantoku.stop_agent(instance, id) end)
  end

  @spec close(t) :: :ok
  def close(%{supervisor: supervisor}), do: Supervisor.stop(supervisor, :normal, 120_000)

  # A crash after a millisecond of health counts as the first again, so that rounds can follow one another.
  defp domain do
    [name: :default, budget: [crashes: :infinity], backoff: [reset_after: 1], storm: :infinity]
  end
end

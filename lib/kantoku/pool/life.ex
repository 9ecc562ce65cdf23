defmodule Kantoku.Pool.Life do
  # A pool's begin and end: its place in the book, its domain, its foreman; and what an instance waits for before it has started. Of
  # two that start or stop a pool of one name at once, one waits for the other.
  @moduledoc false

  alias Kantoku.Domain.{Book, Gauges, Turn}
  alias Kantoku.Drain
  alias Kantoku.Engine.Pools
  alias Kantoku.{Error, Instances, Memory, Telemetry, Trace}
  alias Kantoku.Instance.Core
  alias Kantoku.Metrics.Own
  alias Kantoku.Pool.{Config, Guard, Foremen, Notes, Scaling, Shed, Strategy}

  # Between two looks for a foreman, in ms.
  @look 5

  @doc "Enters a pool and its domain in the book; `false` if one of that name is there."
  @spec enter(:ets.tid(), Config.t()) :: boolean
  def enter(book, %{domain: domain} = config) do
    if Notes.config(book, config.name) do
      false
    else
      shape = %{
        parent: nil,
        strategy: :one_for_one,
        declared: [],
        nested: [],
        partitions: domain.partitions,
        stop_order: domain.stop_order
      }

      Book.add(book, domain.name, domain.policy, shape, Book.chain(book, nil))
      Book.nest(book, domain.name, true)
      Notes.put(book, config)
    end
  end

  # Starting ---------------------------------------------------------------------------------------------------------------

  @doc "See `Kantoku.Pool.start/2`."
  @spec start(atom, Config.t()) :: {:ok, Kantoku.Pool.t()} | {:error, Error.t() | {:already_started, pid | nil}}
  def start(instance, config) do
    Instances.reading(instance, fn _rows, book ->
      with :ok <- Memory.Notes.room(book, instance, [:pools]),
           :ok <- in_turn(book, fn -> open(book, instance, config) end),
           :ok <- warmed(book, instance, config.name) do
        {:ok, {instance, config.name}}
      end
    end)
  end

  defp open(book, instance, %{name: pool, domain: domain} = config) do
    cond do
      Gauges.draining?(Book.chain(book, nil)) ->
        {:error, Error.new(:draining, instance: instance, pool: {instance, pool})}

      enter(book, config) ->
        Core.start_domain(instance, book, domain.name)
        Foremen.add(book, instance, pool)

      true ->
        {:error, {:already_started, Notes.foreman(book, pool)}}
    end
  end

  # All pools of an instance are nested in one list of the book, so they take turns; and whoever asked may die of it, but not
  # leave half of it done.
  defp in_turn(book, fun) do
    {pid, ref} = spawn_monitor(fn -> exit({:done, Turn.take(book, :pools, fun)}) end)

    receive do
      {:DOWN, ^ref, :process, ^pid, {:done, result}} -> result
      # The tables went with the instance; see `Instances.reading/2`.
      {:DOWN, ^ref, :process, ^pid, {%ArgumentError{} = error, stacktrace}} -> reraise(error, stacktrace)
      {:DOWN, ^ref, :process, ^pid, reason} -> exit(reason)
    end
  end

  defp warmed(book, instance, pool) do
    with {:error, error} <- warm(book, instance, pool) do
      _ = stop(instance, pool, 0)
      {:error, error}
    end
  end

  @doc "Waits until a pool has as many workers as it is to begin with; an error after `:warm_up_timeout`."
  @spec warm(:ets.tid(), atom, atom) :: :ok | {:error, Error.t()}
  def warm(book, instance, pool) do
    %{warm_up: count, warm_up_timeout: timeout} = Notes.config(book, pool)
    if count == 0, do: :ok, else: warm(book, instance, pool, now() + timeout)
  end

  defp warm(book, instance, pool, deadline) do
    GenServer.call(Notes.foreman(book, pool), :warm, max(deadline - now(), 1))
  catch
    :exit, _late_or_gone ->
      if now() >= deadline do
        {:error, cold(book, instance, pool)}
      else
        Process.sleep(@look)
        warm(book, instance, pool, deadline)
      end
  end

  defp cold(book, instance, pool) do
    condition = Notes.condition(book, pool)
    ready = condition.wanted - condition.missing
    Error.new(:start_failed, pool: {instance, pool}, ready: ready, wanted: condition.wanted, exit: condition.reason)
  end

  @doc "The child of an instance that has started when the pools are warm, and is no process."
  @spec warming(atom, [atom]) :: Supervisor.child_spec()
  def warming(instance, pools), do: %{id: :warm_pools, start: {__MODULE__, :warm_all, [instance, pools]}}

  @doc "Waits for the pools of an instance."
  @spec warm_all(atom, [atom]) :: :ignore | {:error, Error.t()}
  def warm_all(instance, pools) do
    {_rows, book} = Instances.tables!(instance)
    Enum.find_value(pools, :ignore, fn pool -> with :ok <- warm(book, instance, pool), do: nil end)
  end

  # Stopping ---------------------------------------------------------------------------------------------------------------

  @doc "See `Kantoku.Pool.stop/2`."
  @spec stop(atom, atom, non_neg_integer | nil) :: {:ok, Kantoku.drained()} | {:error, Error.t()}
  def stop(instance, pool, timeout) do
    Instances.reading(instance, fn _rows, book ->
      if Notes.config(book, pool), do: drain(book, instance, pool, timeout), else: {:error, absent(instance, pool)}
    end)
  end

  defp drain(book, instance, pool, timeout) do
    begun = System.monotonic_time()
    report = Drain.Server.drain(book, {:pool, pool}, timeout)
    in_turn(book, fn -> close(book, instance, pool) end)
    measurements = %{duration: System.monotonic_time() - begun, cut_off: length(report.cut_off)}
    Telemetry.emit(instance, [:pool, :stopped], measurements, %{pool: pool})
    {:ok, report}
  end

  # Its domain stays in the book without a place, for who still looks there; it drains for ever, and takes nobody.
  defp close(book, instance, pool) do
    if Notes.config(book, pool) do
      forget(book, pool)
      Book.nest(book, {:pool, pool}, false)
      Foremen.remove(book, pool)
      Own.unbind_pool(book, instance, pool)
      Pools.pool_close(instance, pool)
      Strategy.set({instance, pool}, nil)
      Guard.set({instance, pool}, nil)
      Shed.forget({instance, pool})
      Trace.Pools.forget({instance, pool})
      Core.stop_domain(book, {:pool, pool})
      # Of what the foreman wrote last.
      forget(book, pool)
      Gauges.retire(Book.chain(book, {:pool, pool}))
    end
  end

  defp forget(book, pool) do
    Notes.delete(book, pool)
    Scaling.delete(book, pool)
  end

  defp absent(instance, pool), do: Error.new(:not_found, pool: {instance, pool})

  # Draining ---------------------------------------------------------------------------------------------------------------

  @doc "Has pools look whether they drain, and are counted. A foreman that is being started again does so by itself."
  @spec refresh(:ets.tid(), [atom]) :: :ok
  def refresh(book, pools), do: Enum.each(pools, &refresh_one(book, &1))

  defp refresh_one(book, pool) do
    GenServer.call(Notes.foreman(book, pool), :refresh, :infinity)
  catch
    :exit, _gone -> :ok
  end

  @doc "The ids of pools that have requests waiting or being served."
  @spec unfinished(atom, [atom]) :: [{:pool, atom}]
  def unfinished(instance, pools) do
    for pool <- pools,
        %{queue: queue, ongoing: ongoing, abandoned: abandoned} <- [Pools.pool_status(instance, pool)],
        queue + ongoing - abandoned > 0,
        do: {:pool, pool}
  end

  @doc "Refuses who still waits, when workers are about to be stopped."
  @spec cut_off(:ets.tid(), atom, [atom]) :: :ok
  def cut_off(book, instance, pools) do
    Enum.each(pools, &Pools.pool_close(instance, &1))
    refresh(book, pools)
  end

  @doc "Has a pool's foreman change its options, which have been checked; `:raise` if they do not go with those of another change."
  @spec update(:ets.tid(), Kantoku.Pool.t(), keyword) :: :ok | {:error, Error.t()} | {:raise, Exception.t()}
  def update(book, {instance, pool}, changes) do
    GenServer.call(Notes.foreman(book, pool), {:update, changes}, :infinity)
  catch
    :exit, _gone ->
      Process.sleep(@look)

      if Notes.config(book, pool),
        do: update(book, {instance, pool}, changes),
        else: {:error, absent(instance, pool)}
  end

  defp now, do: System.monotonic_time(:millisecond)
end

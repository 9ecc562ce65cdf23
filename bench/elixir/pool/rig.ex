defmodule Bench.Pool.Rig do
  @moduledoc false
  # Pools of one size on both sides, and one piece of work through each.

  alias Bench.Options
  alias Bench.Pool.Echo

  @type t :: %{ours: Kantoku.Pool.t(), instance: pid, poolboy: pid}
  @type work :: :none | :call | :run | :rest

  # Nothing is refused: what is measured is waiting, not pushing back.
  @patient [max_queue: 1_000_000, queue_target: 60_000, queue_interval: 60_000]

  @spec open(pos_integer, Options.t(), keyword) :: t
  def open(size, options, limits \\ @patient) do
    {name, instance} = ours(size, options, limits)
    %{ours: {name, :workers}, instance: instance, poolboy: poolboy(size)}
  end

  @doc "An instance with a pool `:workers`."
  @spec ours(pos_integer, Options.t(), keyword) :: {atom, pid}
  def ours(size, %Options{engine: engine}, limits) do
    name = :"bench_pool_#{System.unique_integer([:positive])}"
    pool = [name: :workers, worker: Echo, target: size, min: size, max: size] ++ limits
    {:ok, instance} = Kantoku.start_link(name: name, engine: engine, pools: [pool])
    {name, instance}
  end

  @spec poolboy(pos_integer) :: pid
  def poolboy(size) do
    {:ok, poolboy} = :poolboy.start_link([worker_module: Echo, size: size, max_overflow: 0], nil)
    poolboy
  end

  @spec close(t) :: :ok
  def close(%{instance: instance, poolboy: poolboy}) do
    :poolboy.stop(poolboy)
    Supervisor.stop(instance)
  end

  @doc "One piece of work, from before a worker is asked for to after it was given back."
  @spec work(t, :ours | :poolboy, work) :: term
  def work(%{ours: pool}, :ours, :none) do
    {:ok, lease} = Kantoku.Pool.checkout(pool)
    :ok = Kantoku.Pool.checkin(lease)
  end

  def work(%{ours: pool}, :ours, :call), do: {:ok, :hello} = Kantoku.Pool.call(pool, :hello, timeout: :infinity)

  def work(%{ours: pool}, :ours, :run),
    do: {:ok, :hello} = Kantoku.Pool.run(pool, &GenServer.call(&1, :hello), timeout: :infinity)

  def work(%{ours: pool}, :ours, :rest),
    do: {:ok, :ok} = Kantoku.Pool.run(pool, fn _worker -> Process.sleep(1) end, timeout: :infinity)

  def work(%{poolboy: poolboy}, :poolboy, :none) do
    worker = :poolboy.checkout(poolboy)
    :ok = :poolboy.checkin(poolboy, worker)
  end

  def work(%{poolboy: poolboy}, :poolboy, :rest),
    do: :ok = :poolboy.transaction(poolboy, fn _worker -> Process.sleep(1) end, :infinity)

  def work(%{poolboy: poolboy}, :poolboy, _call_or_run),
    do: :hello = :poolboy.transaction(poolboy, &GenServer.call(&1, :hello), :infinity)
end

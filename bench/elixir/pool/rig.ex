defmodule Bench.Pool.Rig do
  @moduledoc false
  # Pools of one size on all sides, and one piece of work through each.

  alias Bench.Options
  alias Bench.Pool.{Echo, Nimble, Pulling}

  @type side :: :ours | :pulling | peer
  @type peer :: :poolboy | :nimble_pool
  @type t :: %{required(:ours) => Kantoku.Pool.t(), required(:instance) => pid, optional(peer) => pid}
  @type work :: :none | :call | :run | :rest | :slow_call

  # Nothing is refused: what is measured is waiting, not pushing back.
  @patient [max_queue: 1_000_000, queue_target: 60_000, queue_interval: 60_000]

  @spec open(pos_integer, Options.t(), [peer], keyword) :: t
  def open(size, options, peers, limits \\ @patient) do
    {name, instance} = ours(size, options, limits)
    Map.merge(%{ours: {name, :workers}, instance: instance}, Map.new(peers, &{&1, start(&1, size)}))
  end

  @doc "An instance with a pool `:workers`, and one `:pulling` of workers that answer by `Kantoku.Pool.reply/3`."
  @spec ours(pos_integer, Options.t(), keyword) :: {atom, pid}
  def ours(size, %Options{engine: engine}, limits) do
    name = :"bench_pool_#{System.unique_integer([:positive])}"
    size = [target: size, min: size, max: size]
    plain = [name: :workers, worker: Echo] ++ size ++ limits
    pulling = [name: :pulling, worker: {Pulling, {name, :pulling}}] ++ size ++ limits
    {:ok, instance} = Kantoku.start_link(name: name, engine: engine, pools: [plain, pulling])
    {name, instance}
  end

  defp start(:nimble_pool, size), do: Nimble.start(size)

  defp start(:poolboy, size) do
    {:ok, poolboy} = :poolboy.start_link([worker_module: Echo, size: size, max_overflow: 0], nil)
    poolboy
  end

  @spec close(t) :: :ok
  def close(%{instance: instance} = rig) do
    for {peer, pool} when peer in [:poolboy, :nimble_pool] <- rig, do: stop(peer, pool)
    Supervisor.stop(instance)
  end

  defp stop(:poolboy, pool), do: :poolboy.stop(pool)
  defp stop(:nimble_pool, pool), do: Nimble.stop(pool)

  @doc "One piece of work, from before a worker is asked for to after it was given back."
  @spec work(t, side, work) :: term
  def work(%{ours: pool}, :ours, :none) do
    {:ok, lease} = Kantoku.Pool.checkout(pool)
    :ok = Kantoku.Pool.checkin(lease)
  end

  def work(%{ours: {name, _workers}}, :pulling, :call),
    do: {:ok, :hello} = Kantoku.Pool.call({name, :pulling}, :hello, timeout: :infinity)

  def work(%{ours: pool}, :ours, :call), do: {:ok, :hello} = Kantoku.Pool.call(pool, :hello, timeout: :infinity)

  def work(%{ours: pool}, :ours, :run),
    do: {:ok, :hello} = Kantoku.Pool.run(pool, &GenServer.call(&1, :hello), timeout: :infinity)

  def work(%{ours: pool}, :ours, :slow_call),
    do: {:ok, _worker} = Kantoku.Pool.call(pool, {:rest, 1}, timeout: :infinity)

  def work(%{ours: pool}, :ours, :rest),
    do: {:ok, :ok} = Kantoku.Pool.run(pool, fn _worker -> Process.sleep(1) end, timeout: :infinity)

  def work(%{poolboy: poolboy}, :poolboy, :none) do
    worker = :poolboy.checkout(poolboy)
    :ok = :poolboy.checkin(poolboy, worker)
  end

  def work(%{poolboy: poolboy}, :poolboy, :rest),
    do: :ok = :poolboy.transaction(poolboy, fn _worker -> Process.sleep(1) end, :infinity)

  def work(%{poolboy: poolboy}, :poolboy, :slow_call),
    do: :poolboy.transaction(poolboy, &GenServer.call(&1, {:rest, 1}), :infinity)

  def work(%{poolboy: poolboy}, :poolboy, _call_or_run),
    do: :hello = :poolboy.transaction(poolboy, &GenServer.call(&1, :hello), :infinity)

  def work(%{nimble_pool: pool}, :nimble_pool, :none), do: :ok = Nimble.run(pool, fn _worker -> :ok end)

  def work(%{nimble_pool: pool}, :nimble_pool, :rest),
    do: :ok = Nimble.run(pool, fn _worker -> Process.sleep(1) end)

  def work(%{nimble_pool: pool}, :nimble_pool, :slow_call),
    do: Nimble.run(pool, &GenServer.call(&1, {:rest, 1}))

  def work(%{nimble_pool: pool}, :nimble_pool, _call_or_run),
    do: :hello = Nimble.run(pool, &GenServer.call(&1, :hello))

  @doc "As many check-outs, each followed by its check-in, with nothing around them: one costs less than to choose what to do."
  @spec checkouts(t, side, non_neg_integer) :: :ok
  def checkouts(%{ours: pool}, :ours, count), do: ours_again(pool, count)
  def checkouts(%{poolboy: poolboy}, :poolboy, count), do: poolboy_again(poolboy, count)
  def checkouts(rig, peer, count), do: Enum.each(1..count, fn _ -> work(rig, peer, :none) end)

  defp ours_again(_pool, 0), do: :ok

  defp ours_again(pool, count) do
    {:ok, lease} = Kantoku.Pool.checkout(pool)
    :ok = Kantoku.Pool.checkin(lease)
    ours_again(pool, count - 1)
  end

  defp poolboy_again(_poolboy, 0), do: :ok

  defp poolboy_again(poolboy, count) do
    worker = :poolboy.checkout(poolboy)
    :ok = :poolboy.checkin(poolboy, worker)
    poolboy_again(poolboy, count - 1)
  end

  @doc "What a side does for a piece of work, in words."
  @spec does(side, work) :: String.t()
  def does(:ours, :none), do: "Kantoku.Pool.checkout and checkin"
  def does(:pulling, :call), do: "Kantoku.Pool.call/3, strict replies, workers that answer by Kantoku.Pool.reply/3"
  def does(:ours, :call), do: "Kantoku.Pool.call/3, strict replies"
  def does(:ours, :run), do: "Kantoku.Pool.run/3 around GenServer.call/2"
  def does(:ours, :rest), do: "Kantoku.Pool.run/3, the holder sleeps 1 ms"
  def does(side, :slow_call), do: "#{does(side, :call)}, the worker sleeps 1 ms"
  def does(:poolboy, :none), do: ":poolboy.checkout and checkin"
  def does(:poolboy, :rest), do: ":poolboy.transaction, the holder sleeps 1 ms"
  def does(:poolboy, _call_or_run), do: ":poolboy.transaction around GenServer.call/2"
  def does(:nimble_pool, :none), do: "NimblePool.checkout! with nothing in it"
  def does(:nimble_pool, :rest), do: "NimblePool.checkout!, the holder sleeps 1 ms"
  def does(:nimble_pool, _call_or_run), do: "NimblePool.checkout! around GenServer.call/2"
end

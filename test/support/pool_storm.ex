defmodule Kantoku.PoolStorm do
  @moduledoc """
  Callers that use a pool in every way, a foreman that keeps it in workers, and a chaos that kills both.
  """
  alias Kantoku.Engine.Pools
  alias Kantoku.{TestOwner, TestPool}

  @members 4
  @callers 16
  # Nobody waits so long for anything, in ms, unless it was lost.
  @stuck 20_000

  @doc "Opens a pool again under a foreman of its own, and lets callers loose on it, each replaced when it is killed."
  def start(pool, opts) do
    foreman = TestOwner.start()
    :ok = TestPool.reopen(pool, opts, foreman)
    send(foreman, {:run, self(), make_ref(), fn -> manage(pool) end})
    for member <- 0..(@members - 1), do: :ok = TestPool.join(pool, work(foreman), member)
    %{pool: pool, foreman: foreman, callers: for(_ <- 1..@callers, do: call(pool))}
  end

  @doc "Kills so many callers, and a worker with every third."
  def kill(storm, times) do
    Enum.reduce(1..times, storm, fn n, storm ->
      [caller | callers] = Enum.shuffle(storm.callers)
      TestOwner.kill(caller)
      if rem(n, 3) == 0, do: kill_worker(storm.pool)
      Process.sleep(:rand.uniform(3))
      %{storm | callers: [call(storm.pool) | callers]}
    end)
  end

  @doc "Has all callers end what they are at; raises if one waits for what does not come."
  def stop(storm) do
    refs = for pid <- storm.callers, do: Process.monitor(pid)
    for pid <- storm.callers, do: send(pid, :stop)

    for ref <- refs do
      receive do
        {:DOWN, ^ref, :process, _pid, _reason} -> :ok
      after
        @stuck -> raise "a caller waits for what does not come"
      end
    end
  end

  defp kill_worker(pool) do
    with [_ | _] = workers <- TestPool.workers(pool), do: workers |> Enum.random() |> elem(0) |> TestOwner.kill()
  end

  # A worker answers calls, and ends with the foreman.
  defp work(foreman) do
    spawn(fn -> work_on(Process.monitor(foreman)) end)
  end

  defp work_on(ref) do
    receive do
      {:"$gen_call", from, request} -> GenServer.reply(from, {:done, request})
      {:DOWN, ^ref, :process, _pid, _reason} -> exit(:normal)
      _cast -> :ok
    end

    work_on(ref)
  end

  # Each dead worker has a successor in its place; what is abandoned is answered for.
  defp manage(pool) do
    receive do
      {:kantoku_pool, _pool, {kind, ticket, _pid}} when kind in [:abandoned, :cast] -> TestPool.answered(pool, ticket)
      {:kantoku_pool, _pool, {:down, _pid}} -> refill(pool)
      _other -> :ok
    after
      20 -> TestPool.tick(pool)
    end

    if TestPool.status(pool) == :unknown, do: :ok, else: manage(pool)
  end

  defp refill(pool) do
    taken = for worker <- TestPool.workers(pool), do: elem(worker, 1)
    for member <- 0..(@members - 1), member not in taken, do: TestPool.join(pool, work(self()), member)
  end

  # Callers -----------------------------------------------------------------------------------------------------------

  defp call(pool) do
    to = self()

    spawn(fn ->
      Process.monitor(to)
      ask(pool)
    end)
  end

  defp ask(pool) do
    receive do
      :stop -> :ok
      {:DOWN, _ref, :process, _pid, _reason} -> :ok
    after
      0 ->
        one(Enum.random([:call, :call, :checkout, :take, :cast, :cancel]), pool, make_ref())
        ask(pool)
    end
  end

  defp one(:cast, pool, tag), do: Pools.pool_cast(pool.instance, pool.name, tag, params())

  defp one(:take, pool, tag) do
    case TestPool.take(pool) do
      [ticket | _pid] -> give_back(pool, ticket)
      _none -> one(:checkout, pool, tag)
    end
  end

  defp one(:checkout, pool, tag) do
    case Pools.pool_checkout(pool.instance, pool.name, tag, params()) do
      {:granted, ticket, _pid} -> give_back(pool, ticket)
      {:queued, ticket} -> granted(pool, tag, ticket)
      _refused -> :ok
    end
  end

  defp one(kind, pool, tag) do
    case Pools.pool_call(pool.instance, pool.name, tag, tag, params()) do
      {:sent, ticket, _pid} -> answer(kind, pool, tag, ticket)
      {:queued, ticket} -> answer(kind, pool, tag, ticket)
      _refused -> :ok
    end
  end

  defp params,
    do: {Enum.random([:a, :b, "c"]), Enum.random(0..2), Enum.random(1..3), Enum.random([:infinity, 5_000]), nil}

  # Gone means that the pool ended it, and says so.
  defp answer(:cancel, pool, tag, ticket) do
    if TestPool.cancel(pool, ticket) == :gone do
      receive do: ({:kantoku_pool, ^tag, _down_or_refused} -> :ok)
    end
  end

  defp answer(:call, pool, tag, ticket) do
    receive do
      {^tag, {:done, ^tag}} -> TestPool.checkin(pool, ticket)
      {:kantoku_pool, ^tag, _down_or_refused} -> :ok
    end
  end

  defp granted(pool, tag, ticket) do
    receive do
      {:kantoku_pool, ^tag, {:granted, _pid}} -> give_back(pool, ticket)
      {:kantoku_pool, ^tag, _refused} -> :ok
    end
  end

  defp give_back(pool, ticket) do
    case :rand.uniform(4) do
      1 -> TestPool.cancel(pool, ticket)
      2 -> TestPool.checkin(pool, ticket, :abandoned)
      _often -> TestPool.checkin(pool, ticket)
    end
  end
end

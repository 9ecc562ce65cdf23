defmodule Kantoku.TestPool do
  @moduledoc """
  A pool of an instance of its own, workers that show what they are sent, and requests whose tag is what is asked.

  Who calls `worker/2` or `foreman/1` hears of every message to it as `{:at, pid, message}`.
  """
  import ExUnit.Assertions

  alias Kantoku.{Engine, TestOwner}
  alias Kantoku.Engine.Pools

  @enforce_keys [:instance, :name]
  defstruct @enforce_keys

  # What has to happen happens; how soon, no test says.
  @patience 10_000

  @doc "A configuration; options differ from one worker at a time, a queue of 100, and no limits."
  def config(opts \\ []) do
    Map.merge(
      %{
        strategy: :round_robin,
        max_ongoing: 1,
        max_queue: 100,
        queue_target: 1_000,
        queue_interval: 60_000,
        decay_time: 10_000,
        codel: true,
        draining: false,
        over_quota: false,
        direct: true,
        weights: [],
        quotas: [],
        ejection: nil,
        slow_start: nil,
        healthy_panic_threshold: 0
      },
      Map.new(opts)
    )
  end

  @doc "Envoy's rules of ejection and ours for latency, but for some."
  def ejection(opts \\ []) do
    Map.merge(
      %{
        enforced: true,
        consecutive_failures: 5,
        interval: 10_000,
        base_ejection_time: 30_000,
        max_ejection_time: 300_000,
        max_ejection_time_jitter: 0,
        max_ejection_percent: 10,
        success_rate_minimum_hosts: 5,
        success_rate_request_volume: 100,
        success_rate_stdev_factor: 1_900,
        latency_minimum_hosts: 5,
        latency_request_volume: 10,
        latency_multiple: 5,
        latency_floor: 100
      },
      Map.new(opts)
    )
  end

  @doc "Opens a pool that the calling process manages, in an instance that ends with the test."
  def open(engine, opts \\ []) do
    instance = :"pool_#{engine}_#{System.unique_integer([:positive])}"
    holder = TestOwner.start()
    :ok = TestOwner.run(holder, fn -> Engine.open(instance, :unique, 1, [], engine) end)
    ExUnit.Callbacks.on_exit(fn -> Engine.close(instance) end)
    pool = %__MODULE__{instance: instance, name: :pool}
    :ok = reopen(pool, opts)
    pool
  end

  @doc "Opens it again, with another configuration."
  def reopen(pool, opts, foreman \\ self()), do: Pools.pool_open(pool.instance, pool.name, foreman, config(opts))

  @doc "A worker that has joined; what it is sent comes here."
  def worker(pool, member) do
    pid = relay()
    :ok = join(pool, pid, member)
    pid
  end

  @doc "A process that hands on what it is sent, and ends with the caller."
  def relay do
    to = self()
    spawn(fn -> relay(to, Process.monitor(to)) end)
  end

  defp relay(to, ref) do
    receive do
      {:DOWN, ^ref, :process, _pid, _reason} ->
        :ok

      message ->
        send(to, {:at, self(), message})
        relay(to, ref)
    end
  end

  def close(pool), do: Pools.pool_close(pool.instance, pool.name)
  def join(pool, pid, member), do: Pools.pool_join(pool.instance, pool.name, pid, member)
  def leave(pool, pid), do: Pools.pool_leave(pool.instance, pool.name, pid)

  def shut(pool, pid), do: Pools.pool_shut(pool.instance, pool.name, pid)
  def eject(pool, member, ms), do: Pools.pool_eject(pool.instance, pool.name, member, ms)
  def readmit(pool, member), do: Pools.pool_readmit(pool.instance, pool.name, member)
  def ejections(pool), do: Pools.pool_ejections(pool.instance, pool.name)

  @doc "Asks as the calling process; the request is its own tag."
  def call(pool, request, opts \\ []), do: Pools.pool_call(pool.instance, pool.name, request, request, params(opts))
  def checkout(pool, tag, opts \\ []), do: Pools.pool_checkout(pool.instance, pool.name, tag, params(opts))
  def take(pool), do: Pools.pool_take(pool.instance, pool.name)
  def cast(pool, request, opts \\ []), do: Pools.pool_cast(pool.instance, pool.name, request, params(opts))

  def room(pool, tenant \\ nil, cost \\ 1), do: Pools.pool_room(pool.instance, pool.name, tenant, cost)

  @doc "A loan with these terms, whose messages carry `tag`."
  def lend(pool, tag, opts \\ []) do
    opts = Keyword.merge([tenant: nil, cost: 1, ttl: 60_000], opts)
    {:ok, loan} = Pools.pool_lend(pool.instance, pool.name, tag, {opts[:tenant], opts[:cost], opts[:ttl]})
    loan
  end

  def deal(pool, loan, dealing, count \\ 0), do: Pools.pool_loan(pool.instance, pool.name, loan, dealing, count)

  def checkin(pool, ticket, outcome \\ :ok), do: Pools.pool_checkin(pool.instance, pool.name, ticket, outcome)
  def cancel(pool, ticket), do: Pools.pool_cancel(pool.instance, pool.name, ticket)
  def answered(pool, ticket), do: Pools.pool_answered(pool.instance, pool.name, ticket)
  def abandoned(pool), do: Pools.pool_abandoned(pool.instance, pool.name)
  def tick(pool), do: Pools.pool_tick(pool.instance, pool.name)
  def status(pool), do: Pools.pool_status(pool.instance, pool.name)
  def workers(pool), do: Pools.pool_workers(pool.instance, pool.name)

  defp params([]), do: nil

  defp params(opts) do
    opts = Keyword.merge([tenant: nil, priority: 1, cost: 1, wait: :infinity, route: nil], opts)
    {opts[:tenant], opts[:priority], opts[:cost], opts[:wait], opts[:route]}
  end

  @doc "Queues a call for each request, given with its options or without; the tickets by request."
  def queue(pool, requests) do
    for request <- requests, into: %{} do
      {request, opts} = if is_tuple(request), do: request, else: {request, []}
      {:queued, ticket} = call(pool, request, opts)
      {request, ticket}
    end
  end

  @doc "Checks in one ticket after the other, each as soon as its call is at the worker; the requests in that order."
  def serve(_pool, _worker, tickets) when tickets == %{}, do: []

  def serve(pool, worker, tickets) do
    assert_receive {:at, ^worker, {:"$gen_call", _from, request}}, @patience
    {ticket, tickets} = Map.pop!(tickets, request)
    assert checkin(pool, ticket) == :ok
    [request | serve(pool, worker, tickets)]
  end

  @doc "Waits for a message that fits."
  defmacro hear(pattern) do
    quote do: assert_receive(unquote(pattern), unquote(@patience))
  end

  @doc "Waits until what `fun` answers is true; ticks before it asks."
  def ticking(pool, fun) do
    TestOwner.eventually(fn ->
      :ok = tick(pool)
      fun.()
    end)
  end
end

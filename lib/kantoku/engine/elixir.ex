defmodule Kantoku.Engine.Elixir do
  @moduledoc """
  The engine on ETS and plain processes: the reference for the native one, and what serves where no library loads.

  Reads go straight to the tables, from any process. Writes of an instance go one by one through its keeper, a process
  that owns the tables; so each is one step, and the deaths of owners are seen in one place. A read looks at
  `Process.alive?/1` itself and never waits for the keeper to hear of a death.

  All breakers are kept by one process, which is passed by where a breaker lets everybody pass; all trees of health by another,
  which is passed by when an agent says how it fares; finished spans lie in the table of a third, which is passed by always.

  A pool is a process of its own around a core of functions, and every call about it goes through that process.
  """
  @behaviour Kantoku.Engine
  @behaviour Kantoku.Engine.Pools
  @behaviour Kantoku.Engine.Breakers
  @behaviour Kantoku.Engine.Health
  @behaviour Kantoku.Engine.Traces

  alias Kantoku.Engine.Elixir.Breaker.Shape, as: BreakerShape
  alias Kantoku.Engine.Elixir.{Breakers, Health, Instances, Pools, Query, Server, Tables, Traces}
  alias Kantoku.Engine.Elixir.Health.Shape, as: HealthShape
  alias Kantoku.Engine.Elixir.Pool.Shape

  @impl true
  def open(instance, keys, servers, listeners), do: Instances.open(instance, keys, servers, listeners)

  @impl true
  def close(instance), do: Instances.close(instance)

  @doc "The live process that holds the instance open, if this engine keeps it."
  @spec holder(Kantoku.Engine.instance()) :: pid | nil
  def holder(instance) do
    case Instances.fetch(instance) do
      {:ok, tables} -> tables.holder
      :unknown -> nil
    end
  end

  @impl true
  def seat(instance, index, pid), do: write(instance, {:seat, index, pid})

  @impl true
  def register(instance, key, value), do: write(instance, {:register, key, value})

  @impl true
  def take_over(instance, key, value, from), do: write(instance, {:take_over, key, value, from})

  @impl true
  def claim(instance, key, pid, value), do: write(instance, {:claim, key, pid, value})

  @impl true
  def introduce(instance, key, pid, value, attributes, facets),
    do: write(instance, {:introduce, key, pid, value, attributes, facets})

  @impl true
  def disclaim(instance, key, pid), do: write(instance, {:disclaim, key, pid})

  @impl true
  def unregister(instance, key), do: write(instance, {:unregister, key, :all})

  @impl true
  def unregister(instance, key, incarnations), do: write(instance, {:unregister, key, incarnations})

  @impl true
  def whereis(instance, key), do: read(instance, &Tables.whereis(&1, key))

  @impl true
  def lookup(instance, key), do: read(instance, &Tables.lookup(&1, key))

  @impl true
  def keys(instance, pid), do: read(instance, &Tables.keys(&1, pid))

  @impl true
  def own(instance, key, pid), do: read(instance, &Tables.own(&1, key, pid))

  @impl true
  def put_value(instance, key, incarnation, value), do: write(instance, {:put_value, key, incarnation, value})

  @impl true
  def slice(instance, cursor, limit), do: read(instance, &Tables.slice(&1, cursor, limit))

  @impl true
  def count_slice(instance, cursor, limit) do
    with {entries, next} <- slice(instance, cursor, limit), do: {length(entries), next}
  end

  @impl true
  def describe(instance, key, pid, expected, attributes, facets) do
    write(instance, {:describe, key, pid, expected, attributes, facets})
  end

  @impl true
  def entry(instance, key), do: read(instance, &Tables.entry(&1, key))

  @impl true
  def set_load(instance, handle, load), do: read(instance, &Tables.set_load(&1, handle, load))

  @impl true
  def add_load(instance, handle, change), do: read(instance, &Tables.add_load(&1, handle, change))

  @impl true
  def find(instance, query), do: query(instance, &Query.find(&1, query))

  @impl true
  def find_pids(instance, query) do
    with records when is_list(records) <- find(instance, query) do
      for {key, pid, _value, _attributes, _load, _incarnation} <- records, do: {key, pid}
    end
  end

  @impl true
  def count(instance, query), do: query(instance, &Query.count(&1, query))

  @impl true
  def watch(instance, query, pid), do: write(instance, {:watch, query, pid})

  @impl true
  def unwatch(instance, ref), do: write(instance, {:unwatch, ref})

  @impl true
  def pool_open(instance, pool, foreman, config) do
    Pools.open(instance, pool, Shape.pid!(foreman), Shape.config!(config))
  end

  @impl true
  def pool_close(instance, pool), do: Pools.close(instance, pool)

  @impl true
  def pool_join(instance, pool, pid, member) do
    Pools.ask(instance, pool, {:join, Shape.pid!(pid), Shape.number!(member)})
  end

  @impl true
  def pool_leave(instance, pool, pid), do: Pools.ask(instance, pool, {:leave, Shape.pid!(pid)})

  @impl true
  def pool_shut(instance, pool, pid), do: Pools.ask(instance, pool, {:shut, Shape.pid!(pid)})

  @impl true
  def pool_eject(instance, pool, member, ms) do
    Pools.ask(instance, pool, {:eject, Shape.number!(member), Shape.length!(ms)})
  end

  @impl true
  def pool_readmit(instance, pool, member), do: Pools.ask(instance, pool, {:readmit, Shape.number!(member)})

  @impl true
  def pool_ejections(instance, pool), do: Pools.ask(instance, pool, :ejections)

  @impl true
  def pool_call(instance, pool, tag, request, params) do
    Pools.ask(instance, pool, {:request, Shape.ticket!(:call, self(), tag, request, params)})
  end

  @impl true
  def pool_checkout(instance, pool, tag, params) do
    Pools.ask(instance, pool, {:request, Shape.ticket!(:checkout, self(), tag, nil, params)})
  end

  @impl true
  def pool_take(instance, pool), do: Pools.short_way(instance, pool)

  @impl true
  def pool_cast(instance, pool, request, params) do
    Pools.ask(instance, pool, {:request, Shape.ticket!(:cast, nil, nil, request, params)})
  end

  @impl true
  def pool_checkin(instance, pool, ticket, outcome) do
    Pools.ask(instance, pool, {:checkin, Shape.number!(ticket), Shape.outcome!(outcome)})
  end

  @impl true
  def pool_reply(instance, pool, tag, reply), do: Pools.ask(instance, pool, {:reply, tag, reply})

  @impl true
  def pool_cancel(instance, pool, ticket), do: Pools.ask(instance, pool, {:cancel, Shape.number!(ticket)})

  @impl true
  def pool_room(instance, pool, tenant, cost) do
    {tenant, cost, _ttl} = Shape.terms!({tenant, cost, 1})
    Pools.ask(instance, pool, {:room, tenant, cost})
  end

  @impl true
  def pool_lend(instance, pool, tag, terms), do: Pools.ask(instance, pool, {:lend, tag, Shape.terms!(terms)})

  @impl true
  def pool_loan(instance, pool, loan, dealing, count) do
    Pools.ask(instance, pool, {:deal, Shape.number!(loan), Shape.dealing!(dealing), Shape.word!(count)})
  end

  @impl true
  def pool_answered(instance, pool, ticket), do: Pools.ask(instance, pool, {:answered, Shape.number!(ticket)})

  @impl true
  def pool_abandoned(instance, pool), do: Pools.ask(instance, pool, :abandoned)

  @impl true
  def pool_tick(instance, pool), do: Pools.ask(instance, pool, :tick)

  @impl true
  def pool_status(instance, pool), do: Pools.ask(instance, pool, :status)

  @impl true
  def pool_workers(instance, pool), do: Pools.ask(instance, pool, :workers)

  @impl true
  def breaker_open(instance, name, config, now) do
    Breakers.open(instance, name, BreakerShape.config!(config), BreakerShape.time!(now))
  end

  @impl true
  def breaker_close(instance, name), do: Breakers.close(instance, name)

  @impl true
  def breaker_allow(instance, name), do: Breakers.allow(instance, name)

  @impl true
  def breaker_record(instance, name, ticket, ending, duration) do
    breaker_ask(instance, name, {:record, ticket, ending, duration}, nil)
  end

  @impl true
  def breaker_ask(instance, name, command, now) do
    Breakers.ask(instance, name, BreakerShape.command!(command), BreakerShape.time!(now))
  end

  @impl true
  def breaker_beat(instance, now), do: Breakers.beat(instance, BreakerShape.time!(now))

  @impl true
  def health_add(instance, parent, spec, pid, now) do
    {parent, spec, process} = {HealthShape.parent!(parent), HealthShape.spec!(spec), HealthShape.process!(pid)}
    Health.ask(instance, {:add, parent, spec, process, BreakerShape.now!(now)})
  end

  @impl true
  def health_change(instance, node, spec, now),
    do: Health.ask(instance, {:change, HealthShape.handle!(node), HealthShape.spec!(spec), BreakerShape.now!(now)})

  @impl true
  def health_remove(instance, node, now),
    do: Health.ask(instance, {:remove, HealthShape.handle!(node), BreakerShape.now!(now)})

  @impl true
  def health_clear(instance), do: Health.ask(instance, :clear)

  @impl true
  def health_report(instance, node, probe, outcome, now) do
    {node, probe, outcome} = {HealthShape.handle!(node), HealthShape.count!(probe), HealthShape.outcome!(outcome)}
    Health.ask(instance, {:report, node, probe, outcome, BreakerShape.now!(now)})
  end

  @impl true
  def health_status(instance, node, now),
    do: Health.ask(instance, {:status, HealthShape.handle!(node), BreakerShape.now!(now)})

  @impl true
  def health_beat(instance, node, limit),
    do: Health.beat(instance, HealthShape.handle!(node), HealthShape.ms!(limit))

  @impl true
  def health_put_off(instance, node, left),
    do: Health.put_off(instance, HealthShape.handle!(node), left && HealthShape.ms!(left))

  @impl true
  def health_look(instance, cursor, limit, least, now) do
    {cursor, limit, least} = {HealthShape.count!(cursor), HealthShape.positive!(limit), HealthShape.ms!(least)}
    Health.ask(instance, {:look, cursor, limit, least, BreakerShape.now!(now)})
  end

  @impl true
  def trace_open(instance, most, most_bytes),
    do: Traces.open(instance, HealthShape.positive!(most), HealthShape.positive!(most_bytes))

  @impl true
  def trace_put(instance, span), do: Traces.put(instance, span)

  @impl true
  def trace_take(instance, most), do: Traces.take(instance, HealthShape.positive!(most))

  @impl true
  def trace_counts(instance), do: Traces.counts(instance)

  defp write(instance, request) do
    with {:ok, tables} <- Instances.fetch(instance), do: Server.call(tables.keeper, request)
  end

  # Tables vanish with their keeper; what a reader then stumbles over means that there is no such instance any more.
  defp read(instance, fun) do
    with {:ok, tables} <- Instances.fetch(instance) do
      try do
        fun.(tables)
      rescue
        error in ArgumentError ->
          if Process.alive?(tables.keeper), do: reraise(error, __STACKTRACE__), else: :unknown
      end
    end
  end

  # A query touches many rows: it is repeated if a description changed meanwhile, and left to the keeper if they
  # change without a pause.
  defp query(instance, fun), do: query(instance, fun, 3)

  defp query(instance, fun, 0), do: write(instance, {:read, fun})

  defp query(instance, fun, tries) do
    case read(instance, &Tables.undisturbed(&1, fun)) do
      :disturbed -> query(instance, fun, tries - 1)
      {:ok, answer} -> answer
      :unknown -> :unknown
    end
  end
end

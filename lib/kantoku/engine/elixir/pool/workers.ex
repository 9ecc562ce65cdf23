defmodule Kantoku.Engine.Elixir.Pool.Workers do
  # The workers of a pool, their permits, and which of them have one free, in the order that the strategy looks at them. Knows
  # tickets by their numbers, and chooses nobody.
  #
  #   P1. A ticket is at one worker at most, and uses one permit there.
  #   P2. `free` has exactly the ready workers that have fewer tickets than `max_ongoing`, and are not aside, or all of them in a
  #       panic.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.{Latency, Toll, Worker}

  @enforce_keys [:strategy, :max_ongoing, :decay, :random]
  defstruct @enforce_keys ++
              [
                workers: %{},
                members: %{},
                free: :gb_sets.new(),
                last: -1,
                clock: 0,
                panic: false,
                slow_start: nil,
                growing: 0
              ]

  @type t :: %__MODULE__{
          strategy: Kantoku.Engine.Pools.strategy(),
          max_ongoing: pos_integer,
          decay: pos_integer,
          random: :rand.state(),
          workers: %{pid => Worker.t()},
          members: %{non_neg_integer => pid},
          free: :gb_sets.set(),
          last: integer,
          clock: non_neg_integer,
          panic: boolean,
          slow_start: Kantoku.Engine.Pools.Standing.slow_start() | nil,
          growing: non_neg_integer
        }

  @spec new(map, :rand.state()) :: t
  def new(config, random) do
    %__MODULE__{
      strategy: config.strategy,
      max_ongoing: config.max_ongoing,
      decay: decay(config),
      random: random,
      slow_start: config.slow_start
    }
  end

  @doc "Takes over another strategy and other limits. A worker that has more than the new limit gives none of it up."
  @spec configure(t, map) :: t
  def configure(workers, config) do
    workers
    |> all()
    |> Enum.reduce(slow(workers, config.slow_start), fn worker, workers ->
      if config.slow_start, do: workers, else: grown(workers, worker.pid)
    end)
    |> again(&%{&1 | strategy: config.strategy, max_ongoing: config.max_ongoing, decay: decay(config)})
  end

  defp slow(workers, slow_start), do: %{workers | slow_start: slow_start}

  # Who is free is looked at anew after a change.
  defp again(workers, change) do
    was_free = for {_rank, _member, pid} <- :gb_sets.to_list(workers.free), into: MapSet.new(), do: pid
    workers = change.(workers)

    Enum.reduce(all(workers), %{workers | free: :gb_sets.new()}, fn worker, workers ->
      put(workers, worker, worker.pid in was_free)
    end)
  end

  defp decay(config), do: config.decay_time * 1_000_000

  @spec fetch(t, pid) :: Worker.t() | nil
  def fetch(workers, pid), do: Map.get(workers.workers, pid)

  @doc "Who has a member's place. Who leaves has it until another takes it."
  @spec holder(t, non_neg_integer) :: Worker.t() | nil
  def holder(workers, member) do
    with pid when pid != nil <- Map.get(workers.members, member), do: fetch(workers, pid)
  end

  @spec add(t, pid, non_neg_integer) :: t
  def add(workers, pid, member) do
    put(%{workers | members: Map.put(workers.members, member, pid)}, %Worker{pid: pid, member: member})
  end

  @doc "Removes a worker with all it has."
  @spec drop(t, pid) :: t
  def drop(workers, pid) do
    workers = grown(workers, pid)
    {worker, left} = Map.pop!(workers.workers, pid)
    %{workers | workers: left, members: vacate(workers.members, worker), free: without(workers, worker)}
  end

  defp vacate(members, %{member: member, pid: pid}) do
    case members do
      %{^member => ^pid} -> Map.delete(members, member)
      _succeeded -> members
    end
  end

  @doc "From now on a worker takes no work."
  @spec leave(t, pid) :: t
  def leave(workers, pid), do: put(workers, %{Map.fetch!(workers.workers, pid) | state: :leaving})

  @doc "A worker that was leaving takes work again, in its place."
  @spec stay(t, pid) :: t
  def stay(workers, pid) do
    worker = Map.fetch!(workers.workers, pid)
    put(%{workers | members: Map.put(workers.members, worker.member, pid)}, %{worker | state: :ready})
  end

  @doc "Gives a worker a ticket."
  @spec take(t, pid, non_neg_integer) :: t
  def take(workers, pid, ticket) do
    {stamp, workers} = stamp(workers)
    worker = Map.fetch!(workers.workers, pid)
    put(workers, %{worker | tickets: MapSet.put(worker.tickets, ticket), served: worker.served + 1, given: stamp})
  end

  @doc "Takes a ticket from a worker. `hold` is how long it had it, in ns; `nil` if that tells nothing of the worker."
  @spec give_back(t, pid, non_neg_integer, non_neg_integer | nil, integer) :: t
  def give_back(workers, pid, ticket, hold, now) do
    worker = Map.fetch!(workers.workers, pid)
    put(workers, measured(%{worker | tickets: MapSet.delete(worker.tickets, ticket)}, hold, now, workers.decay))
  end

  defp measured(worker, nil, _now, _decay), do: worker

  defp measured(worker, hold, now, decay),
    do: %{worker | latency: Latency.hear(worker.latency, hold, now, decay), toll: Toll.took(worker.toll, hold)}

  @doc "What a worker's requests came to."
  @spec toll(t, pid, (Toll.t() -> Toll.t())) :: t
  def toll(workers, pid, change) do
    worker = Map.fetch!(workers.workers, pid)
    keep(workers, %{worker | toll: change.(worker.toll)})
  end

  @doc "The same of all."
  @spec tolls(t, (Toll.t() -> Toll.t())) :: t
  def tolls(workers, change), do: workers.workers |> Map.keys() |> Enum.reduce(workers, &toll(&2, &1, change))

  @doc "Says whether a worker is aside for a reason."
  @spec set_aside(t, pid, :ejected | :shut, boolean) :: t
  def set_aside(workers, pid, why, aside), do: put(workers, Map.put(Map.fetch!(workers.workers, pid), why, aside))

  @doc "Who is aside takes work, or does not."
  @spec set_panic(t, boolean) :: t
  def set_panic(workers, panic), do: again(workers, &%{&1 | panic: panic})

  @doc "Whether a worker is given nothing new for being aside."
  @spec barred?(t, Worker.t()) :: boolean
  def barred?(workers, worker), do: not workers.panic and (worker.ejected or worker.shut)

  @doc "A worker's share begins to grow, if that is wanted."
  @spec grow(t, pid, integer) :: t
  def grow(%{slow_start: nil} = workers, _pid, _now), do: workers
  def grow(workers, pid, now), do: growing(workers, pid, now)

  @doc "A worker has all of its share."
  @spec grown(t, pid) :: t
  def grown(workers, pid), do: growing(workers, pid, nil)

  defp growing(workers, pid, since) do
    worker = Map.fetch!(workers.workers, pid)
    growing = workers.growing + grows(since) - grows(worker.grows)
    keep(%{workers | growing: growing}, %{worker | grows: since})
  end

  defp grows(nil), do: 0
  defp grows(_since), do: 1

  @doc "Whose part is all has all of its share from now on."
  @spec ripen(t, (t, Worker.t() -> float)) :: t
  def ripen(%{growing: 0} = workers, _part), do: workers

  def ripen(workers, part) do
    for %{grows: since, pid: pid} = worker when since != nil <- all(workers),
        part.(workers, worker) >= 1.0,
        reduce: workers,
        do: (workers -> grown(workers, pid))
  end

  @doc "It was a worker's turn, and another was taken."
  @spec passed_over(t, pid) :: t
  def passed_over(workers, pid) do
    {stamp, workers} = stamp(workers)
    put(workers, %{Map.fetch!(workers.workers, pid) | given: stamp})
  end

  @doc "A random number up to `most`."
  @spec jitter(t, non_neg_integer) :: {non_neg_integer, t}
  def jitter(workers, 0), do: {0, workers}

  def jitter(workers, most) do
    {drawn, random} = :rand.uniform_s(most + 1, workers.random)
    {drawn - 1, %{workers | random: random}}
  end

  defp put(workers, worker), do: put(workers, worker, free_at?(workers, worker.pid))

  defp put(workers, worker, was_free) do
    free = without(workers, fetch(workers, worker.pid))

    if free?(workers, worker) do
      {stamp, workers} = if was_free, do: {worker.freed, workers}, else: stamp(workers)
      worker = %{worker | freed: stamp}
      keep(%{workers | free: :gb_sets.add_element(rank(workers, worker), free)}, worker)
    else
      keep(%{workers | free: free}, worker)
    end
  end

  defp keep(workers, worker), do: %{workers | workers: Map.put(workers.workers, worker.pid, worker)}

  defp stamp(%{clock: clock} = workers), do: {clock + 1, %{workers | clock: clock + 1}}

  defp without(workers, nil), do: workers.free
  defp without(workers, before), do: :gb_sets.del_element(rank(workers, before), workers.free)

  defp free?(workers, worker),
    do:
      worker.state == :ready and Worker.ongoing(worker) < workers.max_ongoing and
        not barred?(workers, worker)

  # What the strategy looks at comes first. Of equally loaded ones that comes first which was given nothing for longest.
  defp rank(workers, worker), do: {rank(workers.strategy, worker, workers), worker.member, worker.pid}

  defp rank(:least_loaded, worker, _workers), do: {Worker.ongoing(worker), worker.given}
  defp rank(:lifo, worker, _workers), do: -worker.freed
  defp rank(_by_member, _worker, _workers), do: 0

  @doc "Whether anyone has a permit free."
  @spec any_free?(t) :: boolean
  def any_free?(workers), do: not :gb_sets.is_empty(workers.free)

  @doc "Whether this one has a permit free."
  @spec free_at?(t, pid) :: boolean
  def free_at?(workers, pid) do
    case workers.workers do
      %{^pid => worker} -> free?(workers, worker)
      _none -> false
    end
  end

  @doc "Those with a permit free, in the strategy's order."
  @spec free(t) :: [Worker.t()]
  def free(workers) do
    for {_rank, _member, pid} <- :gb_sets.to_list(workers.free), do: Map.fetch!(workers.workers, pid)
  end

  @doc "The first in the strategy's order, of those with a permit free."
  @spec first(t) :: Worker.t()
  def first(workers) do
    {_rank, _member, pid} = :gb_sets.smallest(workers.free)
    Map.fetch!(workers.workers, pid)
  end

  @doc "The first in order of number after a member, of those with a permit free; from the lowest again after the highest."
  @spec following(t, integer) :: Worker.t()
  def following(workers, member) do
    case :gb_sets.next(:gb_sets.iterator_from({0, member + 1, 0}, workers.free)) do
      {{_rank, _member, pid}, _iterator} -> Map.fetch!(workers.workers, pid)
      :none -> first(workers)
    end
  end

  @doc "All of them, in order of member."
  @spec all(t) :: [Worker.t()]
  def all(workers), do: workers.workers |> Map.values() |> Enum.sort_by(& &1.member)
end

defmodule Kantoku.Domain.Gauges do
  # A domain's numbers that many processes write at once, as atomics held by the instance. Knows no agent.
  #
  # A chain is a domain's gauges followed by those of the levels above it: what is asked of a domain is asked of all.
  @moduledoc false

  alias Kantoku.Error

  @bucket 1
  @agents 2
  @draining 3
  @max_agents 4
  # Of the instance itself only: how many levels drain.
  @drains 5
  # 1 + where the run of starts that share a partition has got to; 0 while someone starts there.
  @cursor 6

  # At most so many starts follow one another into one partition, and never more than a partition's share of the agents: agents
  # that come together would all wait for the same supervisor's slowest child.
  @run 64

  @type t :: {domain :: Kantoku.Domain.name() | nil, :atomics.atomics_ref()}
  @type chain :: [t, ...]

  @spec new(Kantoku.Domain.name() | nil, pos_integer | :infinity) :: t
  def new(domain, max_agents) do
    gauges = {domain, :atomics.new(6, [])}
    put_max_agents(gauges, max_agents)
    # Monotonic time is negative at first; a bucket that was never used lies before all of it.
    :atomics.put(elem(gauges, 1), @bucket, -(2 ** 62))
    :atomics.put(elem(gauges, 1), @cursor, 1)
    gauges
  end

  # 0 stands for no limit.
  @spec put_max_agents(t, pos_integer | :infinity) :: :ok
  def put_max_agents({_domain, cells}, :infinity), do: :atomics.put(cells, @max_agents, 0)
  def put_max_agents({_domain, cells}, max), do: :atomics.put(cells, @max_agents, max)

  @doc "Takes a place for one agent on every level, or on none."
  @spec enter(chain, atom) :: :ok | {:error, Error.t()}
  def enter(chain, instance), do: enter(chain, instance, [])

  defp enter([], _instance, _entered), do: :ok

  defp enter([{domain, cells} = gauges | above], instance, entered) do
    agents = :atomics.add_get(cells, @agents, 1)
    max = :atomics.get(cells, @max_agents)

    cond do
      :atomics.get(cells, @draining) == 1 -> refuse([gauges | entered], :draining, instance: instance, domain: domain)
      max > 0 and agents > max -> refuse([gauges | entered], :limit, domain: domain, max_agents: max)
      true -> enter(above, instance, [gauges | entered])
    end
  end

  defp refuse(entered, reason, details) do
    leave(entered)
    {:error, Error.new(reason, details)}
  end

  @doc "Gives the place back."
  @spec leave([t]) :: :ok
  def leave(chain), do: Enum.each(chain, fn {_domain, cells} -> :atomics.sub(cells, @agents, 1) end)

  @doc """
  Runs `fun` with a partition out of the domain's `count` for a new agent. Starts that follow one another share one for a while, which
  saves most of what waking another supervisor costs; those that overlap are spread by `key`, so that a slow start delays few.

  Whoever is killed in `fun` takes the cursor along; the next one that ends its start puts it back where that was.
  """
  @spec with_partition(chain, key :: term, count :: pos_integer, (non_neg_integer -> result)) :: result
        when result: term
  def with_partition([{_domain, cells} | _above], key, count, fun) do
    case :atomics.exchange(cells, @cursor, 0) do
      0 ->
        part = :erlang.phash2(key, count)
        result = fun.(part)
        _ = :atomics.compare_exchange(cells, @cursor, 0, part * @run + 1)
        result

      at ->
        part = div(at - 1, @run)
        result = fun.(part)
        :atomics.put(cells, @cursor, following(at, part, count, div(:atomics.get(cells, @agents), count)))
        result
    end
  end

  # `at` counts the starts of all runs, from 1 on.
  defp following(at, part, count, share) do
    if at - part * @run < min(share, @run), do: at + 1, else: rem(part + 1, count) * @run + 1
  end

  @doc "How many agents hold a place."
  @spec agents(t) :: integer
  def agents({_domain, cells}), do: :atomics.get(cells, @agents)

  @doc "Puts the count right, if it is still what was seen: whoever should have given a place back may have been killed."
  @spec correct(t, seen :: integer, integer) :: boolean
  def correct({_domain, cells}, seen, right), do: :atomics.compare_exchange(cells, @agents, seen, right) == :ok

  @doc "Says that the first level of a chain drains, or not any more."
  @spec set_draining(chain, boolean) :: :ok
  def set_draining([{_domain, cells} | _] = chain, draining?) do
    {nil, root} = List.last(chain)
    was = :atomics.exchange(cells, @draining, flag(draining?))
    :atomics.add(root, @drains, flag(draining?) - was)
  end

  @doc "Of a level that is taken away for good while it drains: it goes on refusing who comes late, but drains no more."
  @spec retire(chain) :: :ok
  def retire(chain) do
    {nil, root} = List.last(chain)
    :atomics.sub(root, @drains, 1)
  end

  defp flag(true), do: 1
  defp flag(false), do: 0

  @doc "Whether anything in an instance drains; asked before it is looked up what."
  @spec any_draining?(t) :: boolean
  def any_draining?({nil, root}), do: :atomics.get(root, @drains) > 0

  @doc "Whether any level of the chain is draining."
  @spec draining?([t]) :: boolean
  def draining?(chain), do: Enum.any?(chain, fn {_domain, cells} -> :atomics.get(cells, @draining) == 1 end)

  @doc "Reserves a restart at `at` (ms) in the domain's token bucket; the delay in ms."
  @spec reserve(t, integer, Kantoku.Domain.Bucket.rule()) :: non_neg_integer
  def reserve({_domain, cells}, at, rule),
    do: div(Kantoku.Domain.Bucket.reserve(cells, @bucket, at * 1_000, rule) + 999, 1_000)
end

defmodule Kantoku.Domain.Book do
  # What an instance knows of its domains: their options, their places and who sits there. Held by the instance. Knows no agent.
  #
  # Places are published with an epoch: a list of integers, one per level of supervisors down to the place, each taken when
  # that level was started. A supervisor that was cut off from above has an older one, so what it still publishes loses.
  @moduledoc false

  alias Kantoku.Domain.{Gauges, Policy}

  @typep domain :: Kantoku.Domain.name()

  @type epoch :: [integer, ...]
  @type part :: non_neg_integer | :group
  @type shape :: %{
          parent: domain | nil,
          strategy: Supervisor.strategy(),
          declared: [term],
          nested: [domain],
          partitions: non_neg_integer,
          stop_order: :dynamic_first | :declared_first
        }

  @doc "Makes the table, which lives as long as the calling process."
  @spec new_table() :: :ets.tid()
  def new_table, do: :ets.new(__MODULE__, [:public, read_concurrency: true])

  @doc "Says that the instance begins to start now."
  @spec put_started_at(:ets.tid()) :: true
  def put_started_at(book), do: :ets.insert(book, {:started_at, System.system_time(:millisecond)})

  @doc "Ms of system time when the instance began to start."
  @spec started_at(:ets.tid()) :: integer
  def started_at(book), do: :ets.lookup_element(book, :started_at, 2)

  @doc "A newer epoch below that of the level above."
  @spec next_epoch(epoch | []) :: epoch
  def next_epoch(above), do: above ++ [:erlang.unique_integer([:monotonic])]

  @doc "What data agents do unless told otherwise, and where they keep their snapshots."
  @spec put_agent_options(:ets.tid(), Kantoku.Agent.Options.t()) :: true
  def put_agent_options(book, options), do: :ets.insert(book, {:agent_options, options})

  @spec agent_options(:ets.tid()) :: Kantoku.Agent.Options.t()
  def agent_options(book), do: :ets.lookup_element(book, :agent_options, 2)

  # Domains ------------------------------------------------------------------------------------------------------------

  @doc "Enters a domain. `above` is the chain of its parent, `[]` for the instance itself, whose name here is `nil`."
  @spec add(:ets.tid(), domain | nil, Policy.t(), shape, [Gauges.t()]) :: Gauges.chain()
  def add(book, domain, policy, shape, above) do
    chain = [Gauges.new(domain, policy.limits.max_agents) | above]

    :ets.insert(book, [
      {{:policy, domain}, 0, policy},
      {{:shape, domain}, shape},
      entrance(domain, policy, shape, chain)
    ])

    chain
  end

  defp entrance(domain, policy, shape, chain),
    do: {{:entrance, domain}, shape.partitions, chain, policy.restart, policy.shutdown}

  @spec policy(:ets.tid(), domain | nil) :: Policy.t()
  def policy(book, domain), do: :ets.lookup_element(book, {:policy, domain}, 3)

  @spec shape(:ets.tid(), domain | nil) :: shape
  def shape(book, domain), do: :ets.lookup_element(book, {:shape, domain}, 2)

  @spec chain(:ets.tid(), domain | nil) :: Gauges.chain()
  def chain(book, domain), do: :ets.lookup_element(book, {:entrance, domain}, 3)

  @doc "What a start needs to know of a domain, in one look-up."
  @spec entrance(:ets.tid(), domain) :: {non_neg_integer, Gauges.chain(), atom, timeout | :brutal_kill} | nil
  def entrance(book, domain) do
    case :ets.lookup(book, {:entrance, domain}) do
      [{_key, partitions, chain, restart, shutdown}] -> {partitions, chain, restart, shutdown}
      [] -> nil
    end
  end

  @doc "The names of all domains, sorted."
  @spec domains(:ets.tid()) :: [domain]
  def domains(book), do: book |> below(nil) |> Enum.sort()

  defp below(book, domain), do: Enum.flat_map(shape(book, domain).nested, &[&1 | below(book, &1)])

  @doc "Places a domain among the outermost ones, or removes it from there. For one process at a time."
  @spec nest(:ets.tid(), domain, boolean) :: true
  def nest(book, domain, nested?) do
    %{nested: nested} = shape = shape(book, nil)
    rest = List.delete(nested, domain)
    :ets.insert(book, {{:shape, nil}, %{shape | nested: if(nested?, do: rest ++ [domain], else: rest)}})
  end

  @doc "Changes a domain's policy by a function; concurrent changes follow one another."
  @spec change_policy(:ets.tid(), domain, (Policy.t() -> Policy.t())) :: Policy.t()
  def change_policy(book, domain, fun) do
    [{key, version, old}] = :ets.lookup(book, {:policy, domain})
    policy = fun.(old)
    new = {{{:const, key}, version + 1, {:const, policy}}}

    case :ets.select_replace(book, [{{key, version, :_}, [], [new]}]) do
      1 -> spread(book, domain)
      0 -> change_policy(book, domain, fun)
    end
  end

  # Reads again, so that of two changes at once the later one is what stays.
  defp spread(book, domain) do
    policy = policy(book, domain)
    fields = [{4, policy.restart}, {5, policy.shutdown}]
    :ets.update_element(book, {:entrance, domain}, fields)
    Gauges.put_max_agents(hd(chain(book, domain)), policy.limits.max_agents)
    policy
  end

  # Places -------------------------------------------------------------------------------------------------------------

  @doc "Says who sits at a place, unless someone of a later epoch does."
  @spec seat(:ets.tid(), term, epoch, term) :: boolean
  def seat(book, place, epoch, who) do
    row = {{:seat, place}, epoch, who}
    :ets.insert_new(book, row) or reseat(book, row)
  end

  defp reseat(book, {key, epoch, who}) do
    new = {{{:const, key}, {:const, epoch}, {:const, who}}}
    :ets.select_replace(book, [{{key, :"$1", :_}, [{:<, :"$1", {:const, epoch}}], [new]}]) == 1
  end

  @spec seated(:ets.tid(), term) :: term | nil
  def seated(book, place) do
    case :ets.lookup(book, {:seat, place}) do
      [{_key, _epoch, who}] -> who
      [] -> nil
    end
  end

  # Between two looks for who sits in a place, in ms.
  @look 5

  @doc "Does something with whoever sits in a place, and again with the successor of one that dies at it: that has read the book anew."
  @spec in_office(:ets.tid(), place :: term, (term -> term)) :: :ok
  def in_office(book, place, fun) do
    _ = fun.(seated(book, place))
    :ok
  catch
    :exit, _reason ->
      Process.sleep(@look)
      in_office(book, place, fun)
  end

  @doc "The supervisor that holds the agents of a part, dead or alive."
  @spec supervisor(:ets.tid(), domain, part) :: pid | nil
  def supervisor(book, domain, part), do: seated(book, {:agents, domain, part})

  @doc "The keeper of a part, dead or alive."
  @spec keeper(:ets.tid(), domain, part) :: pid | nil
  def keeper(book, domain, part), do: seated(book, {:keeper, domain, part})

  # Restarts of the domain as a whole ------------------------------------------------------------------------------------

  @doc "Counts a restart at `now` (ms); whether there are more than the policy's `max_restarts` in `max_seconds`."
  @spec exceeded?(:ets.tid(), domain | nil, integer) :: boolean
  def exceeded?(book, domain, now) do
    %{max_restarts: most, max_seconds: seconds} = policy(book, domain)
    _ = :ets.insert_new(book, {{:restarts, domain}, []})
    restarts = count(book, {:restarts, domain}, now, now - seconds * 1_000, most)
    restarts > most
  end

  defp count(book, key, now, since, most) do
    [{^key, old}] = :ets.lookup(book, key)
    times = Enum.take([now | Enum.take_while(old, &(&1 > since))], most + 1)
    new = {{{:const, key}, {:const, times}}}

    case :ets.select_replace(book, [{{key, :"$1"}, [{:"=:=", :"$1", {:const, old}}], [new]}]) do
      1 -> length(times)
      0 -> count(book, key, now, since, most)
    end
  end

  @doc "Marks a domain as given up; whether this call did it."
  @spec blow(:ets.tid(), domain | nil) :: boolean
  def blow(book, domain), do: :ets.insert_new(book, {{:blown, domain}, true})

  @spec blown?(:ets.tid(), domain | nil) :: boolean
  def blown?(book, domain), do: :ets.member(book, {:blown, domain})

  @doc "A domain that is started anew has a clean slate."
  @spec renew(:ets.tid(), domain | nil) :: :ok
  def renew(book, domain) do
    for key <- [{:blown, domain}, {:restarts, domain}], do: :ets.delete(book, key)
    :ok
  end
end

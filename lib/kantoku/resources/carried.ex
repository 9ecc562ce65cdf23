defmodule Kantoku.Resources.Carried do
  @moduledoc false
  # Who carried how many bytes, in a table of the application's, so that it outlives who looks (`Kantoku.Resources.Traffic`). Rows:
  #
  #   {{:open, carrier}, input, output}                     of a port or socket that is open, as it was noted last
  #   {{:agent, instance, pid}, input, output, id, ports}   of an agent that lives, closed ports included
  #   {{:place, rows, domain}, input, output}               of all agents that were there; by the rows of their instance
  #   {:attributed, input, output}                          of all agents that ever were
  #   {:sockets, input, output}                             of all sockets that were noted
  #   {:nobodys, input, output, ports}
  #
  # C1  One process writes, and what one look found at one stroke: who is killed meanwhile leaves what was there before, or all of it.
  # C2  What a port carried between two looks belongs to whom it belongs at the later one. While that is not known, it is not noted,
  #     and is nobody's until it is.
  # C3  What is nobody's is all that the VM carried without what was found to be somebody's, and never less than it was. So bytes of
  #     ports that were opened and closed between two looks are there; such sockets are in no sum, as the VM does not count them.

  alias Kantoku.Instances
  alias Kantoku.Resources.{Owners, Ports}

  @table __MODULE__
  @none {0, 0}

  @type bytes :: {input :: non_neg_integer, output :: non_neg_integer}

  @typedoc "What is open, with what it had carried by now, and of that since it was noted."
  @type move :: {Ports.carrier(), owner :: pid, now :: bytes, since :: bytes}

  @typedoc "`input` and `output` in bytes, with those of ports that are closed again; `ports` are open, sockets included."
  @type io :: %{ports: non_neg_integer, input: non_neg_integer, output: non_neg_integer}

  @doc "Makes the table, which lives as long as the calling process."
  @spec new_table() :: :ok
  def new_table do
    # Ordered, so that the rows of one kind are found without those of others.
    :ets.new(@table, [:named_table, :public, :ordered_set, read_concurrency: true])
    :ok
  end

  # Reading ------------------------------------------------------------------------------------------------------------------

  @doc "What the agent of a process carried."
  @spec by(atom, pid) :: io
  def by(instance, pid) do
    case :ets.lookup(@table, {:agent, instance, pid}) do
      [{_key, input, output, _id, ports}] -> io({input, output}, ports)
      [] -> io(@none, 0)
    end
  end

  @doc "What the living agents of an instance carried that had any ports."
  @spec by_agents(atom) :: [%{id: term, io: io}]
  def by_agents(instance) do
    for {{:agent, _instance, pid}, input, output, id, ports} <- agents(instance),
        Process.alive?(pid),
        do: %{id: id, io: io({input, output}, ports)}
  end

  @doc "What agents of an instance carried, by domain (`{:pool, name}` of workers), whether they live or not."
  @spec by_places(atom) :: %{Kantoku.Domain.name() => %{input: non_neg_integer, output: non_neg_integer}}
  def by_places(instance) do
    case Instances.tables(instance) do
      {:ok, {rows, _book}} ->
        for {{_place, _rows, domain}, input, output} <- places(rows),
            into: %{},
            do: {domain, %{input: input, output: output}}

      {:error, _ended} ->
        %{}
    end
  end

  @spec nobodys() :: io
  def nobodys do
    case :ets.lookup(@table, :nobodys) do
      [{_key, input, output, ports}] -> io({input, output}, ports)
      [] -> io(@none, 0)
    end
  end

  defp io({input, output}, ports), do: %{ports: ports, input: input, output: output}

  defp agents(instance), do: :ets.match_object(@table, {{:agent, instance, :_}, :_, :_, :_, :_})

  defp places(rows), do: :ets.match_object(@table, {{:place, rows, :_}, :_, :_})

  defp sum(key) do
    case :ets.lookup(@table, key) do
      [row] -> {elem(row, 1), elem(row, 2)}
      [] -> @none
    end
  end

  # Writing ------------------------------------------------------------------------------------------------------------------

  @doc "What each of these carried since it was noted."
  @spec moves([Ports.open()]) :: [move]
  def moves(open) do
    noted = for {{:open, carrier}, input, output} <- noted(), into: %{}, do: {carrier, {input, output}}
    for {carrier, owner, now} <- open, do: {carrier, owner, now, less(now, Map.get(noted, carrier, @none))}
  end

  defp noted, do: :ets.match_object(@table, {{:open, :_}, :_, :_})

  @doc "Notes what moved, as its owners are known, of all that the VM's ports carried; and forgets who is gone."
  @spec note([move], %{pid => Owners.agent() | nil}, all :: bytes) :: :ok
  def note(moves, known, all) do
    told = for {carrier, owner, now, by} <- moves, is_map_key(known, owner), do: {carrier, known[owner], now, by}
    moved = Enum.reject(told, fn {_carrier, _agent, _now, by} -> by == @none end)
    sums = Enum.reduce(moved, %{}, &post/2)
    ports = Enum.frequencies_by(told, fn {_carrier, agent, _now, _by} -> agent end)
    {nobodys, owned} = Map.pop(ports, nil, 0)
    unknown = length(moves) - length(told)

    # C1
    :ets.insert(@table, opened(moved) ++ agents(sums, owned) ++ others(sums, all, nobodys + unknown))
    forget(MapSet.new(moves, &elem(&1, 0)))
  end

  defp post({carrier, agent, _now, by}, sums) do
    keys = if(Ports.socket?(carrier), do: [:sockets], else: []) ++ accounts(agent)
    Enum.reduce(keys, sums, fn key, sums -> Map.update(sums, key, by, &plus(&1, by)) end)
  end

  defp accounts(nil), do: []

  defp accounts({instance, rows, _id, domain, pid}),
    do: [{:agent, instance, pid}, {:place, rows, domain}, :attributed]

  defp opened(moved), do: for({carrier, _agent, {input, output}, _by} <- moved, do: {{:open, carrier}, input, output})

  # Those that have ports, and those that had some.
  defp agents(sums, ports) do
    having = for {{instance, _rows, id, _domain, pid}, n} <- ports, into: %{}, do: {{:agent, instance, pid}, {id, n}}
    had = for {{:agent, _, _} = key, _, _, id, _} <- agents(:_), into: %{}, do: {key, {id, 0}}

    for {key, {id, n}} <- Map.merge(had, having) do
      {input, output} = plus(sum(key), Map.get(sums, key, @none))
      {key, input, output, id, n}
    end
  end

  defp others(sums, all, ports) do
    places = for {{:place, _, _} = key, by} <- sums, do: row(key, plus(sum(key), by))
    [attributed, sockets] = for key <- [:attributed, :sockets], do: plus(sum(key), Map.get(sums, key, @none))
    {input, output} = all |> plus(sockets) |> less(attributed) |> most(sum(:nobodys))
    [row(:attributed, attributed), row(:sockets, sockets), {:nobodys, input, output, ports} | places]
  end

  defp row(key, {input, output}), do: {key, input, output}

  defp plus({input, output}, {more_in, more_out}), do: {input + more_in, output + more_out}
  defp less({input, output}, {less_in, less_out}), do: {max(input - less_in, 0), max(output - less_out, 0)}
  defp most({input, output}, {least_in, least_out}), do: {max(input, least_in), max(output, least_out)}

  defp forget(open) do
    closed = for {{:open, carrier} = key, _, _} <- noted(), carrier not in open, do: key
    ended = for {{:agent, _instance, pid} = key, _, _, _, _} <- agents(:_), not Process.alive?(pid), do: key
    gone = for {{:place, rows, _domain} = key, _, _} <- places(:_), :ets.info(rows, :id) == :undefined, do: key
    Enum.each(closed ++ ended ++ gone, &:ets.delete(@table, &1))
  end
end

defmodule Kantoku.Chaos do
  @moduledoc """
  An instance under a storm of kills, and what must be true of it after any number of them:

    * C1 every agent that is wanted is there (none lost);
    * C2 no id ever had two living processes (none doubled): each process looks at its start whether another one lives;
    * C3 every living process is the one registered under its id, and a child of the supervisor that is in office (none orphaned).
  """
  use GenServer

  import Kantoku.InstanceCase, only: [tables: 1, processes: 1]
  import Kantoku.TestOwner, only: [eventually: 1, eventually: 2]

  alias Kantoku.Domain.Resting

  # The agents ----------------------------------------------------------------------------------------------------------

  @doc "The child spec of an agent that enters itself in `census`; `init` is how many ms it takes to start, deaf to exits; three times that to stop."
  def agent(census, id, init), do: %{id: id, start: {__MODULE__, :start_link, [census, id, init]}}

  def start_link(census, id, init), do: GenServer.start_link(__MODULE__, {census, id, init})

  @impl true
  def init({census, id, init}) do
    Process.flag(:trap_exit, init > 0)
    others = for {^id, pid} <- :ets.lookup(census, id), Process.alive?(pid), do: pid
    if others != [], do: :ets.insert(census, {:doubles, {id, self(), others}})
    :ets.insert(census, {id, self()})
    if init > 0, do: Process.sleep(init)
    {:ok, init}
  end

  @impl true
  def handle_call(:pid, _from, state), do: {:reply, self(), state}

  @impl true
  def handle_cast({:stop, reason}, state), do: {:stop, reason, state}

  # Supervisors send their exit as a message to those who trap.
  @impl true
  def handle_info({:EXIT, _from, reason}, state), do: {:stop, reason, state}

  # Who starts slowly stops slowly, too: so it outlives its killed supervisor for a while.
  @impl true
  def terminate(_reason, init), do: Process.sleep(3 * init)

  @doc "A table in which all agents that ever started are entered."
  def census, do: :ets.new(:census, [:public, :bag, write_concurrency: true])

  # The storm ------------------------------------------------------------------------------------------------------------

  @doc "Kills `rounds` times something of an instance at random; how often what was hit."
  def storm(instance, rounds) do
    for _ <- 1..rounds, reduce: %{} do
      hits ->
        Process.sleep(Enum.random(0..4))
        Map.update(hits, strike(instance), 1, &(&1 + 1))
    end
  end

  # Walking down the tree waits for each supervisor to be at leisure; the book finds them at work, too.
  defp strike(instance), do: if(:rand.uniform(2) == 1, do: strike_by_tree(instance), else: strike_by_book(instance))

  defp strike_by_book(instance) do
    {_rows, book} = tables(instance)
    seats = :ets.match(book, {{:seat, {:"$1", :_, :_}}, :_, :"$2"})
    [kind, pid] = Enum.random(seats)
    Process.exit(pid, :kill)
    if kind == :agents, do: :supervisor, else: kind
  end

  defp strike_by_tree(instance) do
    case instance |> below_domains() |> Enum.flat_map(&victim/1) |> Enum.group_by(&elem(&1, 0)) |> Enum.to_list() do
      [] ->
        :none

      kinds ->
        {kind, victims} = Enum.random(kinds)
        {_kind, pid} = Enum.random(victims)
        Process.exit(pid, :kill)
        kind
    end
  end

  # What the instance itself restarts is left alone: a storm is more than OTP's own count allows there.
  defp below_domains(instance) do
    core = for {Kantoku.Instance.Core, pid, _} <- processes(instance), do: pid
    own = for pid <- [GenServer.whereis(Kantoku.Instance.address(instance)) | core], do: children_of(pid)
    processes(instance) -- List.flatten(own)
  end

  defp children_of(supervisor) do
    for {id, pid, type, _} <- Supervisor.which_children(supervisor), do: {id, pid, type}
  end

  defp victim({id, pid, type}), do: if(kind = kind(id, pid, type), do: [{kind, pid}], else: [])

  defp kind(Kantoku.Domain.Keeper, _pid, _type), do: :keeper
  defp kind(Kantoku.Domain.Fuse, _pid, _type), do: :fuse
  defp kind(:agents, _pid, _type), do: :supervisor
  defp kind(:partitions, _pid, _type), do: :partitions
  defp kind({:domain, _name}, _pid, _type), do: :tree
  defp kind(part, _pid, :supervisor) when is_integer(part) or part == :group, do: :pair
  defp kind(_id, pid, :worker), do: worker(:proc_lib.translate_initial_call(pid))
  defp kind(_id, _pid, _type), do: nil

  defp worker({Resting, :init, 1}), do: :resting
  defp worker({__MODULE__, :init, 1}), do: :agent
  defp worker(_other), do: nil

  # After it -------------------------------------------------------------------------------------------------------------

  @doc "Waits until every id serves (C1)."
  def all_back(instance, ids) do
    eventually(fn -> Enum.all?(ids, &match?({:ok, _}, Kantoku.call(instance, &1, :pid))) end, 3_000)
  end

  @doc "The ids of which two processes lived at once (C2)."
  def doubles(census), do: :ets.lookup(census, :doubles)

  @doc "Living agents that are not registered, or not children of a supervisor in office (C3); waits for what is being stopped."
  def orphans(instance, census) do
    eventually(fn -> orphans_now(instance, census) == [] end)
    []
  rescue
    RuntimeError -> orphans_now(instance, census)
  end

  @doc "As `orphans/2`, without waiting."
  def orphans_now(instance, census) do
    {_rows, book} = tables(instance)
    in_office = for [pid] <- :ets.match(book, {{:seat, {:agents, :_, :_}}, :_, :"$1"}), into: MapSet.new(), do: pid

    for {id, pid} <- :ets.tab2list(census), id != :doubles, Process.alive?(pid) do
      {:parent, parent} = :erlang.process_info(pid, :parent)
      unless Kantoku.whereis(instance, id) == pid and parent in in_office, do: {id, pid}
    end
    |> Enum.reject(&is_nil/1)
  end

  @doc "How many children the supervisors in office have; one that dies meanwhile has none."
  def children(instance) do
    {_rows, book} = tables(instance)

    for [pid] <- :ets.match(book, {{:seat, {:agents, :_, :_}}, :_, :"$1"}), reduce: 0 do
      count -> count + Enum.count(still_there(pid), &is_pid(elem(&1, 1)))
    end
  end

  defp still_there(supervisor) do
    Supervisor.which_children(supervisor)
  catch
    :exit, _reason -> []
  end
end

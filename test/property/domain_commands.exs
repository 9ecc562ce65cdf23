Code.require_file("statem.exs", __DIR__)
Code.require_file("domain_model.exs", __DIR__)

defmodule Kantoku.DomainCommands do
  @moduledoc """
  The commands of `Kantoku.DomainModel` and `Kantoku.PresenceModel` on a real instance: generated, run, and what is there compared.

  One after another, all is as the model has it after each command, within a bound. At once, only kills go on beside the commands; when all is
  quiet every agent that is there can be brought up, once, in its supervisor, under its name.
  """

  import Kantoku.Domain.Rows, only: [row: 1, row: 2]
  import Kantoku.InstanceCase, only: [tables: 1]

  alias Kantoku.{Chaos, DomainModel, Error, PresenceModel, Statem, TestOwner}
  alias Kantoku.Domain.{Book, Resting}

  # How long what is to come may take on a busy machine, in ms.
  @patience 8_000

  # Generating -----------------------------------------------------------------------------------------------------------

  def command([state | _]), do: {:call, __MODULE__, :run, [{:var, :world}, :proper_types.frequency(choices(state))]}

  def precondition(_states, _call), do: true

  def next_state(states, answer, {:call, _, :run, [_world, command]}),
    do: Statem.next(states, answer, command, &outcomes/2)

  def postcondition(states, {:call, _, :run, [world, _command]} = call, answer) do
    case next_state(states, answer, call) do
      [] -> false
      [%DomainModel{} | _] = next -> Enum.any?(next, &(unlike(world, &1) == []))
      _at_once -> true
    end
  end

  def outcomes(%module{} = state, command), do: module.outcomes(state, command)

  defp choices(%DomainModel{}) do
    common([:permanent, :permanent, :transient, :temporary]) ++ [{3, {:finish, id()}}, {1, {:kill_resting, id()}}]
  end

  defp choices(%PresenceModel{}), do: common([:permanent]) ++ [{1, {:stop_cut_short, id()}}]

  defp common(restarts) do
    what = :proper_types.elements([:supervisors, :pairs, :partitions, :tree])

    [
      {8, {:start, id(), domain(), :proper_types.elements(restarts)}},
      {3, {:stop, id()}},
      {2, {:restart, id()}},
      {3, {:unpark, id()}},
      {10, {:kill, id()}},
      {2, {:kill_all, domain(), what}},
      {1, {:kill_keeper, domain()}}
    ]
  end

  defp id, do: :proper_types.elements(DomainModel.dynamic() ++ DomainModel.declared())
  defp domain, do: :proper_types.elements([:hasty, :patient])

  # The world ------------------------------------------------------------------------------------------------------------

  @doc "An instance on the engine of the calling process, with its declared agents up."
  def open(_state, mode) do
    census = Chaos.census()
    engine = Process.get(:engine)
    name = :"#{__MODULE__}_#{engine}_#{mode}"
    {:ok, top} = Kantoku.start_link(name: name, engine: engine, sweep: 20, store: :none, domains: domains(census))
    world = %{name: name, top: top, census: census, mode: mode}
    wait(fn -> Enum.all?(DomainModel.declared(), &Kantoku.whereis(name, &1)) end)
    world
  end

  defp domains(census) do
    [hasty: hasty, patient: patient] = DomainModel.policies()
    agents = for id <- DomainModel.declared(), do: agent(census, id)
    [[name: :hasty, partitions: 2, agents: agents] ++ hasty, [name: :patient, partitions: 1] ++ patient]
  end

  # One of them starts slowly, and deaf to exits meanwhile.
  defp agent(census, id), do: Chaos.agent(census, id, if(id == :c, do: 3, else: 0))

  def close(world) do
    Supervisor.stop(world.top)
    :ets.delete(world.census)
  end

  # Running --------------------------------------------------------------------------------------------------------------

  @doc "Runs a command and answers as the models do."
  def run(world, command) do
    perform(world, command)
  rescue
    error -> {:raised, Exception.message(error)}
  end

  defp perform(world, {:start, id, domain, restart}) do
    opts = [domain: domain, restart: restart, shutdown: 500]
    answer(world, Kantoku.start_agent(world.name, agent(world.census, id), opts))
  end

  defp perform(world, {:stop, id}), do: answer(world, Kantoku.stop_agent(world.name, id))

  # At once with a kill it may say that the agent rests already.
  defp perform(world, {:restart, id}) do
    with :taken <- answer(world, Kantoku.restart_agent(world.name, id)), do: :failed
  end

  defp perform(world, {:unpark, id}), do: answer(world, Kantoku.unpark(world.name, id))

  defp perform(world, {:stop_cut_short, id}) do
    stopper = spawn(fn -> Kantoku.stop_agent(world.name, id) end)
    Process.sleep(:rand.uniform(2) - 1)
    TestOwner.kill(stopper)
  end

  defp perform(world, {:kill, id}), do: ended(Kantoku.whereis(world.name, id), &Process.exit(&1, :kill))
  defp perform(world, {:finish, id}), do: ended(Kantoku.whereis(world.name, id), &GenServer.cast(&1, {:stop, :normal}))
  defp perform(world, {:kill_resting, id}), do: ended(resting(world, id), &Process.exit(&1, :kill))

  defp perform(world, {:kill_keeper, domain}) do
    for part <- parts(domain, :tree), keeper = Book.keeper(book(world), domain, part), do: TestOwner.kill(keeper)
    :ok
  end

  # Answers when those below are dead and others are in office.
  defp perform(world, {:kill_all, domain, what}) do
    if world.mode == :sequential, do: wait(fn -> Enum.all?(rows(world), &settled_row?/1) end)
    before = places(world, domain, what)
    refs = for place <- before, pid <- members(place), do: Process.monitor(pid)
    Enum.each(victims(world, domain, what), &TestOwner.kill/1)
    for ref <- refs, do: receive(do: ({:DOWN, ^ref, :process, _pid, _reason} -> :ok))
    wait(fn -> Enum.all?(places(world, domain, what), &(&1 not in before and Process.alive?(&1))) end)
    :ok
  end

  defp ended(nil, _how), do: :ok

  defp ended(pid, how) do
    ref = Process.monitor(pid)
    how.(pid)
    receive(do: ({:DOWN, ^ref, :process, _pid, _reason} -> :ok))
  end

  defp answer(%{mode: :sequential}, answer), do: reason(answer)
  defp answer(_world, answer), do: answer |> reason() |> at_once()

  defp reason(:ok), do: :ok
  defp reason({:ok, pid}) when is_pid(pid), do: :up
  defp reason({:error, {:already_started, _pid}}), do: :already_started
  defp reason({:error, %Error{reason: reason}}), do: reason
  defp reason(other), do: other

  defp at_once(:up), do: :ok
  defp at_once(answer) when answer in [:ok, :not_found, :not_parked], do: answer
  defp at_once(answer) when answer in [:already_started, :restarting, :parked], do: :taken
  defp at_once(answer) when answer in [:stopping, :start_failed, :ignore], do: :failed

  # Places ---------------------------------------------------------------------------------------------------------------

  defp parts(:hasty, :partitions), do: [0, 1]
  defp parts(:hasty, _what), do: [0, 1, :group]
  defp parts(:patient, _what), do: [0]

  defp places(world, domain, what), do: for(part <- parts(domain, what), do: Book.supervisor(book(world), domain, part))

  defp victims(world, domain, :supervisors), do: places(world, domain, :supervisors)
  defp victims(world, domain, :pairs), do: for(part <- parts(domain, :pairs), do: pair(world, domain, part))
  defp victims(world, domain, :tree), do: [above_pair(world, domain, 2)]
  defp victims(world, domain, :partitions), do: [above_pair(world, domain, 1)]

  defp pair(world, domain, part), do: Book.seated(book(world), {:pair, domain, part})

  # Of a dead process there is nothing to be had: then there will be another soon.
  defp above_pair(world, domain, levels) do
    ancestor(pair(world, domain, 0), levels) || (Process.sleep(1) && above_pair(world, domain, levels))
  end

  defp ancestor(pid, 0), do: pid

  defp ancestor(pid, levels) do
    with {:parent, parent} <- :erlang.process_info(pid, :parent), do: ancestor(parent, levels - 1), else: (_dead -> nil)
  end

  defp members(supervisor) do
    for {_id, pid, _type, _modules} <- Supervisor.which_children(supervisor), is_pid(pid), do: pid
  catch
    :exit, _gone -> []
  end

  defp resting(world, id) do
    with [row(pid: pid)] when is_pid(pid) <- for(row(id: ^id) = row <- rows(world), do: row),
         {Resting, :init, 1} <- :proc_lib.translate_initial_call(pid) do
      pid
    else
      _not_resting -> nil
    end
  end

  defp book(world), do: world.name |> tables() |> elem(1)
  defp rows(world), do: world.name |> tables() |> elem(0) |> :ets.tab2list()

  # The end --------------------------------------------------------------------------------------------------------------

  @doc "What is otherwise than in a state after as long as it may take: `[]` if nothing is."
  def unlike(world, %DomainModel{} = state) do
    wait(fn -> differences(world, state.agents) == [] end)
    differences(world, state.agents)
  end

  # First all there is is brought up, whichever state it is.
  def unlike(world, %PresenceModel{present: present}) do
    quiet(world)
    Enum.reject([{:agents, there(world), present}], &agrees?/1) ++ wrong(world, there(world))
  end

  # Waited for once, not for each state that may be.
  defp quiet(%{top: top} = world) do
    unless Process.get(__MODULE__) == top, do: wait(fn -> all_up?(world) and wrong(world, there(world)) == [] end)
    Process.put(__MODULE__, top)
  end

  defp there(world),
    do: for(row(id: id, phase: phase) when phase != :stopped <- rows(world), into: MapSet.new(), do: id)

  defp wrong(world, ids), do: Enum.reject(ends(world, Map.new(ids, &{&1, %{status: :up}})), &agrees?/1)

  defp all_up?(world) do
    for row(id: id, phase: phase) when phase in [:resting, :parked] <- rows(world), do: Kantoku.unpark(world.name, id)
    Enum.all?(rows(world), &settled_row?/1) and Enum.all?(rows(world), &(row(&1, :phase) in [:up, :stopped]))
  end

  defp settled_row?(row(phase: :stopped)), do: true
  defp settled_row?(row(wanted: wanted, pid: pid)), do: wanted == true and is_pid(pid) and Process.alive?(pid)

  defp differences(world, agents), do: Enum.reject([listed(world, agents) | ends(world, agents)], &agrees?/1)

  defp agrees?({_question, answer, expected}), do: answer === expected

  # An agent that has ended may be listed until it is swept.
  defp listed(world, agents) do
    {:ok, list} = Kantoku.agents(world.name)
    listed = for agent <- list, agents[agent.id][:status] != :ended, into: %{}, do: {agent.id, told(agent)}
    {:agents, listed, for({id, agent} <- agents, agent.status != :ended, into: %{}, do: {id, told(agent)})}
  end

  defp told(agent), do: Map.take(agent, [:status, :domain, :restart, :restarts])

  defp ends(world, agents) do
    up = for {id, %{status: :up}} <- agents, into: %{}, do: {id, 1}
    held = Enum.count(agents, fn {_id, agent} -> agent.status in [:up, :restarting, :parked] end)

    [
      {:living, living(world), up},
      {:children_of_supervisors, Chaos.children(world.name), held},
      {:two_at_once, Chaos.doubles(world.census), []},
      {:strays, Chaos.orphans_now(world.name, world.census), []}
      | for(
          id <- DomainModel.dynamic() ++ DomainModel.declared(),
          do: {{:fetch, id}, fetched(world, id), status(agents[id])}
        )
    ]
  end

  defp living(world) do
    for({id, pid} <- :ets.tab2list(world.census), id != :doubles, Process.alive?(pid), do: id) |> Enum.frequencies()
  end

  defp fetched(world, id) do
    with {:ok, pid} <- Kantoku.fetch(world.name, id), {:ok, ^pid} <- Kantoku.call(world.name, id, :pid) do
      :up
    else
      {:error, %Error{reason: reason}} when reason in [:restarting, :parked] -> reason
      _no_agent -> :none
    end
  end

  defp status(%{status: status}) when status in [:up, :restarting, :parked], do: status
  defp status(_none), do: :none

  defp wait(fun, until \\ System.monotonic_time(:millisecond) + @patience) do
    cond do
      fun.() -> :ok
      System.monotonic_time(:millisecond) > until -> :too_long
      true -> Process.sleep(1) && wait(fun, until)
    end
  end
end

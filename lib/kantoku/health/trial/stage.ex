defmodule Kantoku.Health.Trial.Stage do
  # The agents of a trial and what becomes of them: the only one who knows which is of which class. Health is told what anybody would tell it:
  # limits, and a probe that all are asked. When something really was beyond its limit is noted in the world, a table of the trial's own:
  #
  #   {{:begun, id}, ms}    a message             {{:beyond, id}, ms}    a limit that is not a message's
  #   {{:answer, id}, ms}   how long an answer to the probe takes
  @moduledoc false

  alias Kantoku.Health
  alias Kantoku.Health.{Board, Burden, Entering}
  alias Kantoku.Health.Trial.{Parameters, Subject}

  # What is small enough for thousands on one machine: bytes and messages.
  @memory 512 * 1024
  @mailbox 500

  # Of a probe, in periods; and as many failures in a row.
  @timeout 0.5
  @failures 2

  # Which part of the busy holds memory for a while, and which gets messages in bursts; of those that loop, which never pauses.
  @swinging 0.2
  @spinning 0.01

  # Of the other classes, one in so many is asked by the probe as well.
  @asked 9

  @enforce_keys [:instance, :supervisor, :world, :period, :agents, :pids]
  defstruct @enforce_keys ++ [director: nil]

  @type agent :: %{
          id: pos_integer,
          class: Parameters.class(),
          parameters: Parameters.t(),
          domain: :default | :asked,
          partner: pos_integer | nil
        }
  @type t :: %__MODULE__{
          instance: atom,
          supervisor: pid,
          world: :ets.tid(),
          period: pos_integer,
          agents: [agent],
          pids: %{pos_integer => pid},
          director: pid | nil
        }

  @doc "Draws so many agents of each class, by the random state of the calling process. Their ids say nothing of their class."
  @spec draw(Parameters.set(), each :: pos_integer) :: [agent]
  def draw(set, each) do
    classes = Enum.flat_map(Parameters.classes(), &List.duplicate(&1, each))
    ids = Enum.shuffle(1..length(classes))
    agents = for {class, id} <- Enum.zip(classes, ids), do: agent(class, id, set)
    {pairs, others} = Enum.split_with(agents, &(&1.class == :deadlocked))
    others ++ (pairs |> Enum.chunk_every(2) |> Enum.flat_map(&pair/1))
  end

  defp agent(class, id, set) do
    domain = if class == :slow_probe or :rand.uniform(@asked) == 1, do: :asked, else: :default
    %{id: id, class: class, parameters: Parameters.draw(set, class), domain: domain, partner: nil}
  end

  defp pair([one, other]) do
    other = %{other | parameters: one.parameters, partner: one.id}
    [%{one | partner: other.id}, other]
  end

  @doc "Starts an instance with these agents."
  @spec start([agent], period :: pos_integer, engine :: atom | nil) :: t
  def start(agents, period, engine) do
    instance = :"kantoku_trial_#{System.unique_integer([:positive])}"
    world = :ets.new(__MODULE__, [:public, write_concurrency: true, read_concurrency: true])
    for agent <- agents, do: answers(world, agent, period, agent.parameters.answer)

    options = [
      name: instance,
      store: :none,
      drain: [timeout: 1],
      health: health(instance, world, period, length(agents))
    ]

    # All of it runs on the machine that it is judged on: who asks is not to be sparing for that.
    options =
      [degradation: false] ++
        options ++ [domains: for(name <- [:default, :asked], do: [name: name, shutdown: :brutal_kill])]

    {:ok, supervisor} = Kantoku.start_link(if(engine, do: [engine: engine] ++ options, else: options))
    pids = for agent <- agents, into: %{}, do: {agent.id, launch(instance, world, period, agent)}
    %__MODULE__{instance: instance, supervisor: supervisor, world: world, period: period, agents: agents, pids: pids}
  end

  defp health(instance, world, period, count) do
    probe = [
      name: :answer,
      kind: :readiness,
      for: {:domain, :asked},
      check: {Subject, :answer, [instance, world]},
      period: period,
      timeout: round(@timeout * period),
      failure_threshold: @failures
    ]

    [
      period: period,
      probes: [probe],
      max_probes: max(count, 64),
      at_risk: [memory: @memory, mailbox: @mailbox, horizon: 60 * period]
    ]
  end

  # A pair waits for each other and for nothing else; all others have a limit.
  defp launch(instance, world, period, %{id: id, class: class, parameters: parameters, domain: domain}) do
    limit = if class == :deadlocked, do: 1_000 * period, else: round(parameters.limit * period)

    {:ok, pid} =
      Kantoku.start_agent(instance, {Subject, %{world: world, id: id}}, id: id, domain: domain, max_busy: limit)

    pid
  end

  defp answers(world, %{id: id}, period, timeouts),
    do: :ets.insert(world, {{:answer, id}, round(timeouts * @timeout * period)})

  @doc "Whether all agents are healthy, and say themselves how they are."
  @spec settled?(t) :: boolean
  def settled?(%{instance: instance, agents: agents}) do
    Enum.all?(agents, &(well?(instance, &1.id) and says?(instance, &1.id)))
  end

  defp well?(instance, id), do: match?({:ok, %{state: :healthy}}, Health.status(instance, {:agent, id}))

  defp says?(instance, id) do
    {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
    {node, _pid, _condition} = book |> Board.of() |> Board.agent(id)
    not Entering.silent?(instance, node)
  end

  @doc "Lets it begin: each agent has a process that does to it what is to be done."
  @spec begin(t) :: t
  def begin(%{agents: agents, pids: pids} = stage) do
    # No more than it needs, as each has a copy.
    scene = Map.take(stage, [:instance, :world, :period])

    director =
      spawn(fn -> direct(for(%{class: class} = agent <- agents, class != :idle, do: {agent, pids[agent.id]}), scene) end)

    %{stage | director: director}
  end

  defp direct(agents, scene) do
    for {agent, pid} <- agents, do: spawn_link(fn -> play(agent, Map.put(scene, :pid, pid)) end)
    Process.sleep(:infinity)
  end

  @doc "Ends it all."
  @spec stop(t) :: :ok
  def stop(%{director: director, supervisor: supervisor}) do
    if director, do: Process.exit(director, :kill)
    Process.unlink(supervisor)
    Supervisor.stop(supervisor)
  end

  # What becomes of one -------------------------------------------------------------------------------------------------------

  defp play(%{class: :busy} = agent, scene) do
    %{chance: chance, swing: swing} = agent.parameters
    bytes = if chance < @swinging, do: round(swing * @memory / 2), else: 0
    tell(scene, {:busy, busy_ms(agent, scene), bytes})
    if chance > 1 - @swinging, do: bursts(agent, scene)
  end

  defp play(%{class: :waiting, parameters: parameters}, scene) do
    declared = round(parameters.wait * parameters.limit * scene.period)
    tell(scene, {:wait, declared, round(parameters.waited * declared)})
  end

  defp play(%{class: class, parameters: parameters} = agent, scene) when class in [:leaking, :flooded] do
    sleep(parameters.onset, scene)
    if class == :flooded, do: tell(scene, {:work, busy_ms(agent, scene)})
    grow(agent, scene, 0)
  end

  defp play(%{parameters: parameters} = agent, scene) do
    sleep(parameters.onset, scene)
    fault(agent, scene)
  end

  defp fault(%{class: :looping, parameters: %{chance: chance}}, scene),
    do: tell(scene, if(chance < @spinning, do: :spin, else: :loop))

  defp fault(%{class: :standing}, scene), do: tell(scene, :stand)

  defp fault(%{class: :deadlocked} = agent, scene), do: tell(scene, {:cross, scene.instance, agent.partner})

  defp fault(%{class: :killed} = agent, scene) do
    beyond(scene, agent, now())
    Process.exit(scene.pid, :kill)
  end

  defp fault(%{class: :slow_probe, parameters: parameters} = agent, scene) do
    answers(scene.world, agent, scene.period, parameters.slow)
    beyond(scene, agent, now() + round((@timeout + @failures - 1) * scene.period))
  end

  # Each beat adds a share of the limit, and what it does of it meanwhile.
  defp grow(%{parameters: parameters} = agent, scene, beats) do
    share = (beats + 1) * parameters.beat / parameters.growing
    if share < 1.5, do: add(agent, scene)
    if :ets.lookup(scene.world, {:beyond, agent.id}) == [] and grown?(agent, scene), do: beyond(scene, agent, now())
    sleep(parameters.beat, scene)
    grow(agent, scene, beats + 1)
  end

  defp add(%{class: :leaking, parameters: parameters}, scene),
    do: tell(scene, {:keep, round(@memory * parameters.beat / parameters.growing)})

  # Each takes as long as it is from one to the next, or a little less, so none is ever done with.
  defp add(%{class: :flooded, parameters: parameters} = agent, scene) do
    messages = @mailbox * parameters.beat / parameters.growing
    for _ <- 1..(trunc(messages) + 1), do: tell(scene, {:work, busy_ms(agent, scene)})
  end

  defp grown?(%{class: class}, scene) do
    case Burden.of(scene.pid) do
      {bytes, _messages} when class == :leaking -> bytes >= @memory
      {_bytes, messages} when class == :flooded -> messages >= @mailbox
      nil -> false
    end
  end

  # What came in one go is done with when the message before it is.
  defp bursts(%{parameters: parameters} = agent, scene) do
    sleep(parameters.growing / 4, scene)
    for _ <- 1..round(parameters.swing * @mailbox), do: tell(scene, :nothing)
    bursts(agent, scene)
  end

  defp busy_ms(%{parameters: parameters}, scene), do: round(parameters.share * parameters.limit * scene.period)

  defp tell(scene, what), do: GenServer.cast(scene.pid, what)
  defp beyond(scene, agent, ms), do: :ets.insert(scene.world, {{:beyond, agent.id}, ms})
  defp sleep(periods, scene), do: Process.sleep(round(periods * scene.period))

  # The truth -----------------------------------------------------------------------------------------------------------------

  @doc "The monotonic ms at which an agent was beyond a limit, if it was."
  @spec beyond(t, agent) :: integer | nil
  def beyond(stage, %{class: class} = agent) when class in [:idle, :busy, :looping, :standing] do
    with ms when is_integer(ms) <- noted(stage, {:begun, agent.id}),
         do: ms + round(agent.parameters.limit * stage.period)
  end

  # What it declared counts from within the message.
  def beyond(stage, %{class: :waiting, parameters: %{wait: wait, limit: limit}} = agent) do
    with ms when is_integer(ms) <- noted(stage, {:begun, agent.id}), do: ms + round(wait * limit * stage.period)
  end

  def beyond(stage, agent), do: noted(stage, {:beyond, agent.id})

  defp noted(%{world: world}, key) do
    case :ets.lookup(world, key) do
      [{_key, ms}] -> ms
      [] -> nil
    end
  end

  defp now, do: System.monotonic_time(:millisecond)
end

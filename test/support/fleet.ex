defmodule Kantoku.Fleet do
  @moduledoc """
  An application with an instance of ledgers in it, and callers who keep them busy. Runs in a VM that is going to be ended.

  A caller notes in the journal what it was answered (`acked AGENT CALLER STEP`), and what ended it when that is no drain
  (`failed AGENT CALLER REASON`).
  """
  use Application

  alias Kantoku.{Error, Telemetry}
  alias Kantoku.Agent.Server
  alias Kantoku.Test.{Journal, Ledger}

  @instance __MODULE__

  @doc "The instance's name."
  def instance, do: @instance

  @doc "Starts the application; `options` are those of the instance."
  def start(options) do
    keys = [description: ~c"a fleet", modules: [__MODULE__], applications: [:kernel, :stdlib, :elixir, :kantoku]]
    :ok = :application.load({:application, :fleet, [{:mod, {__MODULE__, options}} | keys]})
    Application.start(:fleet)
  end

  @doc "Starts the application again, after it was stopped or could not be started."
  def restart, do: Application.start(:fleet)

  @doc "Starts the application and the agents in it: `{id, options}`."
  def launch(options, agents, journal) do
    with :ok <- start(options), do: man(agents, journal)
  end

  @impl true
  def start(_type, options) do
    Supervisor.start_link([{Kantoku, [name: @instance] ++ options}], strategy: :one_for_one)
  end

  @doc "Starts an instance that no supervisor holds, as whoever calls `Kantoku.start_link/1` does; what that answers."
  def start_alone(options) do
    Process.flag(:trap_exit, true)
    Kantoku.start_link([name: @instance] ++ options)
  end

  @doc "Starts agents: `{id, options}`."
  def man(agents, journal) do
    for {id, options} <- agents do
      {:ok, _pid} = Kantoku.start_agent(@instance, {Ledger, [journal: journal]}, [id: id] ++ options)
    end

    :ok
  end

  @doc "Sets callers to work, each with an agent; each goes on from its last step that the agent knows."
  def work(ids, callers, journal) do
    for id <- ids, caller <- 1..callers, do: spawn(fn -> call(id, caller, journal, known(id, caller)) end)
    :ok
  end

  defp known(id, caller) do
    {:ok, ledger} = Kantoku.state(@instance, id, 60_000)
    Map.get(ledger.steps, caller, 0)
  end

  defp call(id, caller, journal, step) do
    case Kantoku.call(@instance, id, {:step, caller, step + 1}, 60_000) do
      {:ok, n} when n == step + 1 ->
        Journal.write(journal, [:acked, id, caller, n])
        call(id, caller, journal, n)

      # Made, but not kept: nothing to note, and the next step follows it.
      {:ok, {:error, {:not_durable, _reason}}} ->
        call(id, caller, journal, step + 1)

      {:error, %Error{reason: reason}} when reason in [:draining, :not_running] ->
        :ok

      other ->
        Journal.write(journal, [:failed, id, caller, "#{inspect(other)}"])
    end
  end

  @doc "Calls an agent."
  def ask(id, request), do: Kantoku.call(@instance, id, request, 60_000)

  @doc "Waits until each agent has delivered all its directives, and all is kept."
  def settle(ids), do: Enum.each(ids, &(:ok = Server.settle(Kantoku.whereis(@instance, &1), 60_000)))

  @doc "What each agent is after that: its data, its server's account of it."
  def settled(ids) do
    settle(ids)
    states(ids)
  end

  @doc "How many bytes each agent was loaded with."
  def loads(ids), do: for({_id, ledger, _info} <- states(ids), do: byte_size(ledger.ballast))

  @doc "What each agent is."
  def states(ids) do
    for id <- ids do
      pid = Kantoku.whereis(@instance, id)
      {id, Server.state(pid), Server.info(pid)}
    end
  end

  @doc "Waits for an event and answers its metadata."
  def next_event(name) do
    {:ok, subscription} = Kantoku.subscribe(@instance, events: [name])
    [{_event, _ref, _name, _measurements, metadata}] = Telemetry.take(subscription, 1, 60_000)
    Telemetry.unsubscribe(subscription)
    metadata
  end
end

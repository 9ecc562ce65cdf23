defmodule Kantoku.Patient do
  @moduledoc """
  Agents that take their time within what they declared, in an instance whose health is looked at often: for a VM that is stopped
  meanwhile.
  """
  use Kantoku.Agent

  @instance Kantoku.Patient.Instance

  @impl true
  def new(args), do: args

  # By then a timer has passed, however long the VM was stopped.
  @impl true
  def cmd(agent, {:take, ms}) do
    receive do: (:never -> {agent, []}), after: (ms -> {agent, [{:reply, :done}]})
  end

  def cmd(agent, :ping), do: {agent, [{:reply, :pong}]}

  @doc "Starts an instance with `count` agents that are at something for `ms` of their `max_busy`; answers when all are."
  def begin(count, ms, max_busy, period) do
    parent = self()

    spawn(fn ->
      {:ok, _} = Kantoku.start_link(name: @instance, health: [period: period], agents: [max_busy: max_busy])
      for id <- 1..count, do: {:ok, _} = Kantoku.start_agent(@instance, __MODULE__, id: id)

      Kantoku.TestOwner.eventually(fn ->
        match?({:ok, %{members: %{healthy: ^count}}}, Kantoku.Health.status(@instance, {:domain, :default}))
      end)

      for id <- 1..count, do: {:ok, :pong} = Kantoku.call(@instance, id, :ping)
      for id <- 1..count, do: :ok = Kantoku.cast(@instance, id, {:take, ms})
      send(parent, :begun)
      Process.sleep(:infinity)
    end)

    receive do: (:begun -> :ok)
  end

  @doc "How often agents were restarted, and how many are healthy."
  def outcome do
    {:ok, agents} = Kantoku.agents(@instance)
    {:ok, %{members: %{healthy: healthy}}} = Kantoku.Health.status(@instance, {:domain, :default})
    {agents |> Enum.map(& &1.restarts) |> Enum.sum(), healthy}
  end
end

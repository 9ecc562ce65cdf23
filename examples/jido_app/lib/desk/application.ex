defmodule Desk.Application do
  @moduledoc false
  use Application

  alias Desk.{Agents, Conversation, Ledger}

  @impl true
  def start(_type, _args),
    do:
      Supervisor.start_link(children(Application.fetch_env!(:desk, :care)),
        strategy: :rest_for_one,
        name: Desk.Supervisor
      )

  @doc "Before the move, and after it."
  @spec children(:jido | :kantoku) :: [Supervisor.child_spec() | {module, term} | module]
  def children(:jido),
    do: [{Desk.Jido, agent_pools: for({name, agent, size} <- Desk.pools(), do: {name, agent, size: size})}]

  def children(:kantoku) do
    pools =
      for {name, agent, size} <- Desk.pools(),
          do: [name: name, worker: {Kantoku.Jido, agent, jido: Desk.Jido}, target: size]

    moved = %{Conversation => :enforce, Ledger => :enforce}
    doors = for {name, _agent, _size} <- Desk.pools(), do: {Kantoku.Jido.Door, jido: Desk.Jido, pool: {Agents, name}}
    [Desk.Jido, {Kantoku, name: Agents, pools: pools, migration: [supervision: moved, state: moved]} | doors]
  end
end

if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Switch do
    @moduledoc """
    Lets code that calls `Jido.Agent.WorkerPool` be served by Jido's own pool or by one of Kantoku's, as the mode of `:pools` says.

        children = [
          {Jido, name: MyApp.Jido, agent_pools: [{:search_before, MyApp.Search, size: 8}]},
          {Kantoku, name: MyApp.Agents, pools: [[name: :search, worker: {Kantoku.Jido, MyApp.Search, jido: MyApp.Jido}, target: 8]]},
          {Kantoku.Jido.Door, jido: MyApp.Jido, pool: {MyApp.Agents, :search}, as: :search_ours},
          {Kantoku.Jido.Switch, jido: MyApp.Jido, pool: {MyApp.Agents, :search}, old: :search_before, door: :search_ours, as: :search}
        ]

        :ok = Kantoku.Migration.set(MyApp.Agents, :pools, :search, {:canary, 10}, by: "ada")

    It stands under the name that callers use (`:as`, by default the pool's) and hands their messages on, to Jido's pool (`:old`) or to the door
    of ours (`:door`); the answer comes from there. A caller's pid is its key, so a caller does not flap. What is checked out goes back where it
    came from, whatever the mode is by then.

    It does not see how a caller's work ends, so a canary of it is not judged: it goes back when somebody sets it. In a shadow Jido's pool serves, and
    nothing is compared. For both, call `Kantoku.Migration.transaction/4`.
    """
    use GenServer

    alias Kantoku.Jido.PlugIn
    alias Kantoku.Migration

    @options [:jido, :pool, :old, :door, :as]

    @doc "As a child of a supervisor, after the door."
    @spec child_spec(keyword) :: Supervisor.child_spec()
    def child_spec(opts),
      do: %{id: {__MODULE__, opts[:jido], opts[:as] || opts[:pool]}, start: {__MODULE__, :start_link, [opts]}}

    @doc "Starts one. Raises `ArgumentError` on a bad option."
    @spec start_link(keyword) :: GenServer.on_start()
    def start_link(opts) do
      PlugIn.check!()
      for {option, value} <- opts, option not in @options, do: refuse!(option, "one of #{inspect(@options)}", value)
      for option <- [:jido, :old, :door], do: name!(option, opts[option])
      {instance, pool} = pool!(opts[:pool])

      [old, door, name] =
        for name <- [opts[:old], opts[:door], opts[:as] || pool], do: Jido.agent_pool_name(opts[:jido], name)

      GenServer.start_link(__MODULE__, %{instance: instance, pool: pool, old: old, new: door}, name: name)
    end

    defp name!(option, value), do: (is_atom(value) and value != nil) || refuse!(option, "a name", value)

    defp pool!({instance, pool} = name) when is_atom(instance) and is_atom(pool), do: name
    defp pool!(other), do: refuse!(:pool, "{instance, pool}", other)

    @spec refuse!(atom, String.t(), term) :: no_return
    defp refuse!(option, expected, given) do
      raise ArgumentError,
            "Kantoku.Jido.Switch, option #{inspect(option)}: expected #{expected}, got: #{inspect(given)}"
    end

    @impl true
    def init(sides), do: {:ok, sides}

    @impl true
    def handle_call(request, {caller, _tag} = from, sides) do
      pass(sides[Migration.side(sides.instance, :pools, sides.pool, caller)], {:"$gen_call", from, request})
      {:noreply, sides}
    end

    # Whoever has it out, or waiting, knows it; the other does not.
    @impl true
    def handle_cast(request, sides) do
      for side <- [sides.old, sides.new], do: pass(side, {:"$gen_cast", request})
      {:noreply, sides}
    end

    @impl true
    def handle_info(_other, sides), do: {:noreply, sides}

    # One that is being started again has lost who waited for it as well: they time out, as with poolboy.
    defp pass(side, message) do
      if pid = Process.whereis(side), do: send(pid, message)
      :ok
    end
  end
end

if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Old do
    # Jido's own supervisor as the side that agents come from. Knows no mode.
    @moduledoc false
    @behaviour Kantoku.Migration.Old

    alias Jido.AgentServer
    alias Kantoku.Migration.Placed

    @impl true
    def start(jido, {_instance, module, id} = key, {Kantoku.Jido, agent, opts}) do
      given = if is_atom(agent), do: [agent: agent], else: [agent: agent, agent_module: module]

      %{start: {AgentServer, _function, _args} = mfa} =
        spec = AgentServer.child_spec(Keyword.merge(opts, given ++ [jido: jido, id: id]))

      spec = Map.merge(spec, %{start: {Placed, :start, [key, self(), mfa]}, modules: [AgentServer]})
      DynamicSupervisor.start_child(Jido.agent_supervisor_name(jido), spec)
    end

    @impl true
    def stop(jido, pid), do: DynamicSupervisor.terminate_child(Jido.agent_supervisor_name(jido), pid)
  end
end

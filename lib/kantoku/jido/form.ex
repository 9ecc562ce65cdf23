if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Form do
    # A Jido agent as it is kept: its checkpoint, made by its own callbacks where it has them, its thread and its cron jobs. Knows
    # neither processes nor stores.
    #
    # What is held is `{module, agent, cron_specs}`, what is written `{:written, checkpoint, thread, cron_specs}`. Jido keeps a thread in a
    # journal beside its checkpoints; here it is part of the snapshot, so that neither is ever there without the other.
    @moduledoc false

    alias Jido.AgentServer.State

    @type held :: {module, agent :: struct, cron_specs :: map}
    @type written :: {:written, checkpoint :: map, thread :: struct | nil, cron_specs :: map}

    @doc "What is held of a server's state."
    @spec held(State.t()) :: held
    def held(%State{agent_module: module, agent: agent, cron_specs: cron_specs}), do: {module, agent, cron_specs}

    @doc "Whether nothing changed. What changes is the state, while an agent is mostly its schema: so that is compared last."
    @spec same?(held, held) :: boolean
    def same?({_, %{state: old}, _}, {_, %{state: new}, _}) when old !== new, do: false
    def same?(old, new), do: old === new

    # What `Kantoku.Agent` asks of a shape ---------------------------------------------------------------------------------

    @spec new(held) :: held
    def new(held), do: held

    @spec vsn() :: pos_integer
    def vsn, do: 1

    # What was just read may be written again as it is, by who claims it.
    @spec dump(held | written) :: {:ok, written} | {:error, term}
    def dump({:written, _checkpoint, _thread, _cron_specs} = written), do: {:ok, written}

    def dump({module, agent, cron_specs}) do
      with {:ok, checkpoint} <- checkpoint(module, agent),
           do: {:ok, {:written, checkpoint, agent.state[:__thread__], cron_specs}}
    end

    defp checkpoint(module, agent) do
      if exports?(module, :checkpoint, 2),
        do: module |> ask(:checkpoint, agent) |> without_thread(),
        else: {:ok, %{version: 1, agent_module: module, id: agent.id, state: Map.delete(agent.state, :__thread__)}}
    end

    defp without_thread({:ok, %{state: %{} = state} = checkpoint}),
      do: {:ok, %{checkpoint | state: Map.delete(state, :__thread__)}}

    defp without_thread(other), do: other

    # Restored -------------------------------------------------------------------------------------------------------------

    @doc "The state of a server with what was written in it."
    @spec load(written, State.t()) :: {:ok, State.t()} | {:error, term}
    def load({:written, checkpoint, thread, cron_specs}, %State{agent_module: module} = state) do
      with {:ok, agent} <- restore(module, migrated(checkpoint)) do
        state = State.update_agent(state, with_thread(agent, thread))
        {:ok, %{state | cron_specs: Jido.Scheduler.normalize_cron_specs(cron_specs), restored_from_storage: true}}
      end
    end

    defp migrated(checkpoint) do
      if exports?(Jido.Agent.Identity, :migrate_checkpoint, 1),
        do: Jido.Agent.Identity.migrate_checkpoint(checkpoint),
        else: checkpoint
    end

    defp restore(module, checkpoint) do
      if exports?(module, :restore, 2),
        do: ask(module, :restore, checkpoint),
        else: merge(module.new(id: checkpoint.id), checkpoint)
    end

    defp merge({:ok, agent}, checkpoint), do: merge(agent, checkpoint)
    defp merge({:error, _} = error, _checkpoint), do: error
    defp merge(agent, checkpoint), do: {:ok, %{agent | state: Map.merge(agent.state, checkpoint.state || %{})}}

    defp with_thread(agent, nil), do: agent
    defp with_thread(agent, thread), do: %{agent | state: Map.put(agent.state, :__thread__, thread)}

    # The agent's own code: what it raises is a reason.
    defp ask(module, callback, argument) do
      case apply(module, callback, [argument, %{}]) do
        {:ok, answer} -> {:ok, answer}
        {:error, reason} -> {:error, {callback, reason}}
        _other -> {:error, {callback, :bad_return_value}}
      end
    rescue
      error -> {:error, {callback, error}}
    catch
      kind, reason -> {:error, {callback, {kind, reason}}}
    end

    # Asked at each change: so first without a look at whether the module is there.
    defp exports?(module, function, arity) do
      function_exported?(module, function, arity) or
        (Code.ensure_loaded?(module) and function_exported?(module, function, arity))
    end
  end
end

if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Migrated do
    @moduledoc """
    Has a Jido instance start its agents where their mode says, without a change in the code that starts them.

        defmodule MyApp.Jido do
          use Jido, otp_app: :my_app
          use Kantoku.Jido.Migrated, instance: MyApp.Agents
        end

        {:ok, pid} = MyApp.Jido.start_agent(MyApp.Planner, id: "planner-1")
        :ok = Kantoku.Migration.set(MyApp.Agents, :supervision, MyApp.Planner, {:canary, 10}, by: "ada")

    It replaces `start_agent`, `stop_agent` and `whereis` of that module; a subject is an agent's module, a key its id as text. In its tree
    `MyApp.Jido` comes first, then the instance. With nothing set, and while the instance does not run, agents are Jido's.

      * Agents move with their state, between two calls; callers who ask `whereis` for one that moves wait for it. One that is tied to its process
        (it has a parent, children or cron jobs) stays where it is until it ends, as `Kantoku.Migration.status/1` says;
      * calls need no front: what Jido tells of its signals (`[:jido, :agent_server, :signal, :stop]`) is counted for the side on which the
        agent is, so that a canary is judged by the agents' real work;
      * with `:state` off, agents on our side keep no snapshots; with it, they do as `Kantoku.Jido` says;
      * what goes past that module is Jido's as before: `Jido.start_agent(MyApp.Jido, ...)`, agents that agents start, instance managers, and
        agents with a `:partition`, a `:name` or a `:registry`. Pools have `Kantoku.Jido.Door`.
    """

    alias Kantoku.Jido.{Carrier, Life, Old, PlugIn}
    alias Kantoku.Migration.{Lookup, Roster, Settings, Supervision, Tally}

    @linger 1_000
    @events [[:jido, :agent_server, :signal, :stop], [:jido, :agent_server, :signal, :exception]]

    # Agents with these are not moved, nor started on our side.
    @jidos_own [:partition, :name, :registry, :parent]

    defmacro __using__(opts) do
      instance = Keyword.fetch!(opts, :instance)

      quote do
        defoverridable start_agent: 1, start_agent: 2, stop_agent: 1, stop_agent: 2, whereis: 1, whereis: 2

        @doc "Starts an agent where its mode says; see `Kantoku.Jido.Migrated`."
        def start_agent(agent, opts \\ []),
          do: Kantoku.Jido.Migrated.start_agent(unquote(instance), __MODULE__, agent, opts)

        @doc "Stops an agent (by pid or id), wherever it is."
        def stop_agent(pid_or_id, opts \\ []) when is_list(opts),
          do: Kantoku.Jido.Migrated.stop_agent(unquote(instance), __MODULE__, pid_or_id, opts)

        @doc "Looks up an agent by id, wherever it is; waits for one that moves."
        def whereis(id, opts \\ []) when is_binary(id) and is_list(opts),
          do: Kantoku.Jido.Migrated.whereis(unquote(instance), __MODULE__, id, opts)
      end
    end

    @doc "As `Jido.start_agent/3`, where the agent's mode says. For Jido instances that are no module of their own."
    @spec start_agent(atom, atom, module | struct, keyword) :: DynamicSupervisor.on_start_child()
    def start_agent(instance, jido, agent, opts \\ []) do
      if Enum.any?(@jidos_own, &opts[&1]) or not running?(instance),
        do: Jido.start_agent(jido, agent, opts),
        else: start(instance, jido, agent, opts)
    end

    defp running?(instance), do: match?({:ok, _tables}, Kantoku.Instances.tables(instance))

    defp start(instance, jido, agent, opts) do
      PlugIn.check!()
      attach(instance, jido)
      module = module(agent, opts)
      id = id(agent, opts)
      key = {instance, module, id}
      answer = Supervision.begin(key, origin(jido, module, agent, Keyword.drop(opts, [:id, :agent, :jido])))
      if Roster.fetch(key), do: Roster.index(instance, id, module)
      answer
    end

    defp origin(jido, module, agent, opts) do
      %{
        old: {Old, jido},
        spec: {Kantoku.Jido, agent, [jido: jido] ++ opts},
        agent: [],
        carrier: Carrier,
        means: {:jido, module},
        registry: {Registry, Jido.registry_name(jido)},
        linger: @linger
      }
    end

    defp module(agent, _opts) when is_atom(agent), do: agent
    defp module(agent, opts), do: opts[:agent_module] || Map.get(agent, :agent_module) || agent.__struct__

    # As Jido does: an agent's own goes before the option.
    defp id(%{id: id}, _opts) when is_binary(id) and id != "", do: id

    defp id(_agent, opts) do
      case opts[:id] do
        id when id in [nil, ""] -> Jido.generate_id()
        id -> to_string(id)
      end
    end

    @doc "As `Jido.stop_agent/3`, wherever the agent is."
    @spec stop_agent(atom, atom, pid | String.t(), keyword) :: :ok | {:error, :not_found}
    def stop_agent(instance, jido, pid_or_id, opts \\ [])

    def stop_agent(instance, jido, pid, opts) when is_pid(pid) do
      case Registry.keys(Jido.registry_name(jido), pid) do
        [id] when is_binary(id) -> stop_agent(instance, jido, id, opts)
        _other -> Jido.stop_agent(jido, pid, opts)
      end
    end

    def stop_agent(instance, jido, id, opts) do
      case subject(instance, id, opts) do
        {:ok, subject} -> {instance, subject} |> Supervision.stop_child(id) |> stopped(instance, id)
        :error -> Jido.stop_agent(jido, id, opts)
      end
    end

    defp stopped(answer, instance, id) do
      Roster.unindex(instance, id)
      if answer == :ok, do: :ok, else: {:error, :not_found}
    end

    @doc "As `Jido.whereis/3`, wherever the agent is. Waits for one that moves."
    @spec whereis(atom, atom, String.t(), keyword) :: pid | nil
    def whereis(instance, jido, id, opts \\ []) do
      case subject(instance, id, opts) do
        {:ok, subject} -> Lookup.whereis({instance, subject}, id, &Jido.whereis(jido, &1))
        :error -> Jido.whereis(jido, id, opts)
      end
    end

    defp subject(instance, id, opts), do: if(opts[:partition], do: :error, else: Roster.subject(instance, id))

    # What the agents' work tells --------------------------------------------------------------------------------------------

    defp attach(instance, jido) do
      if :persistent_term.get({__MODULE__, jido}, nil) != instance do
        :telemetry.detach({__MODULE__, jido})
        :telemetry.attach_many({__MODULE__, jido}, @events, &__MODULE__.handle_event/4, {instance, jido})
        _ = Kantoku.Telemetry.keep_attached({__MODULE__, jido})
        :persistent_term.put({__MODULE__, jido}, instance)
      end
    end

    @doc false
    @spec handle_event([atom], map, map, {atom, atom}) :: :ok
    def handle_event(
          event,
          %{duration: duration},
          %{jido_instance: jido, agent_module: module} = metadata,
          {instance, jido}
        ) do
      case Settings.gate(instance, :supervision, module) do
        {:canary, _limit, tally} -> Tally.record(tally, side(), ending(event, metadata), microseconds(duration))
        _no_canary -> :ok
      end
    end

    def handle_event(_event, _measurements, _metadata, _config), do: :ok

    # Runs in the agent's process.
    defp side, do: if(Process.get(Life), do: :new, else: :old)

    defp ending([_, _, _, :exception], _metadata), do: :error
    defp ending(_stop, %{error: error}) when error != nil, do: :error
    defp ending(_stop, _metadata), do: :ok

    defp microseconds(duration), do: System.convert_time_unit(duration, :native, :microsecond)
  end
end

if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.PlugIn do
    # What Kantoku relies on in Jido, as a list; whether the Jido that runs has it. Some of it Jido calls internal, so it is looked at
    # before each start and not trusted.
    @moduledoc false

    @callbacks [init: 1, handle_continue: 2, handle_call: 3, handle_cast: 2, handle_info: 2, terminate: 2]
    @fields [
      :agent,
      :agent_module,
      :children,
      :completion_waiters,
      :cron_jobs,
      :cron_specs,
      :deferred_async_signals,
      :id,
      :jido,
      :parent,
      :processing,
      :queue,
      :restored_from_storage,
      :signal_call_inflight,
      :signal_call_queue,
      :status
    ]

    @points [
              {Jido, registry_name: 1, task_supervisor_name: 1, agent_supervisor_name: 1, agent_pool_name: 2},
              {Jido.AgentServer, [{:child_spec, 1} | @callbacks]},
              {Jido.AgentServer.State, [{:update_agent, 2} | Enum.map(@fields, &{:field, &1})]},
              {Jido.Config.Defaults, worker_pool_checkout_timeout_ms: 0, worker_pool_call_timeout_ms: 0},
              {Jido.Scheduler, normalize_cron_specs: 1}
            ]
            |> Enum.flat_map(fn {module, points} -> Enum.map(points, &{module, &1}) end)

    @type point :: {module, {atom, arity} | {:field, atom}}

    @doc "Raises `ArgumentError` if the Jido that is loaded has not all that is relied on."
    @spec check!([point]) :: :ok
    def check!(points \\ @points) do
      case Enum.reject(points, &there?/1) do
        [] -> :ok
        missing -> raise ArgumentError, changed(missing)
      end
    end

    defp there?({module, {:field, field}}),
      do:
        Code.ensure_loaded?(module) and function_exported?(module, :__struct__, 0) and
          is_map_key(module.__struct__(), field)

    defp there?({module, {function, arity}}),
      do: Code.ensure_loaded?(module) and function_exported?(module, function, arity)

    defp changed(missing) do
      "Kantoku.Jido works with Jido ~> 2.3, and Jido #{version()} has no #{Enum.map_join(missing, ", no ", &name/1)}; " <>
        "use a version of Kantoku that knows this Jido"
    end

    defp name({module, {:field, field}}), do: "field #{inspect(field)} in %#{inspect(module)}{}"
    defp name({module, {function, arity}}), do: "#{inspect(module)}.#{function}/#{arity}"

    defp version, do: to_string(Application.spec(:jido, :vsn) || "of unknown version")
  end
end

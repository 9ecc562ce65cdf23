if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Card do
    # What a Jido agent's module says of itself, as tags, capabilities and metadata of an entry. Knows no process.
    @moduledoc false

    @doc "The entry of agents of `module`. What the module does not say is left out."
    @spec of(module) :: map
    def of(module) do
      category = ask(module, :category, nil)

      %{
        tags: labels([ask(module, :name, nil), category | ask(module, :tags, [])]),
        capabilities: labels(ask(module, :capabilities, []) ++ Enum.map(actions(module), &ask(&1, :name, nil))),
        metadata:
          for(
            {key, value} when value != nil <- [category: category, vsn: ask(module, :vsn, nil)],
            into: %{},
            do: {key, value}
          )
      }
      |> Map.reject(fn {_field, said} -> Enum.empty?(said) end)
    end

    # Of its plugins, and of the routes that name an action.
    defp actions(module) do
      routed = for route <- routes(module), is_tuple(route), action = action(elem(route, 1)), do: action
      Enum.uniq(ask(module, :actions, []) ++ routed)
    end

    # Code of the agent's, which may want to know more than there is before it runs.
    defp routes(module) do
      if function_exported?(module, :signal_routes, 1),
        do: module.signal_routes(%{agent_module: module, strategy_opts: []}),
        else: ask(module, :signal_routes, [])
    rescue
      _error -> []
    end

    defp action({action, _params}), do: action(action)

    defp action(action) when is_atom(action),
      do: Code.ensure_loaded?(action) && function_exported?(action, :run, 2) && action

    defp action(_other), do: nil

    defp ask(module, question, default) do
      if Code.ensure_loaded?(module) and function_exported?(module, question, 0),
        do: apply(module, question, []) || default,
        else: default
    end

    defp labels(said), do: said |> Enum.filter(&((is_atom(&1) or is_binary(&1)) and &1 != nil)) |> Enum.uniq()
  end
end

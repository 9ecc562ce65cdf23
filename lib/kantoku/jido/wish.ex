if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Wish do
    # What someone wants started of Jido's, checked, as a child spec. Knows no process.
    @moduledoc false

    alias Kantoku.Agent.Options
    alias Kantoku.Domain.Book
    alias Kantoku.Instances
    alias Kantoku.Jido.{Card, PlugIn, Server}

    @probe_period 10_000
    @given_here [:id, :agent, :name, :registry]
    @ours [:store, :snapshot, :durability, :on_damaged, :max_snapshot_bytes, :redact, :hibernate_after]

    @doc "See `c:Kantoku.Agent.Adapter.child/4`."
    @spec child(atom, term, tuple, keyword) :: Kantoku.Agent.Adapter.child()
    def child(instance, id, {adapter, agent}, opts), do: child(instance, id, {adapter, agent, []}, opts)

    def child(instance, id, {Kantoku.Jido, agent, jido_opts} = spec, opts) do
      PlugIn.check!()
      Keyword.keyword?(jido_opts) || refuse!("options of #{inspect(agent)}", "a keyword list", jido_opts)

      for name <- @given_here,
          Keyword.has_key?(jido_opts, name),
          do: refuse!(name, "nothing in #{inspect(spec)}", jido_opts[name])

      module = module!(agent, jido_opts)
      {restore, probe_period, options} = options!(instance, opts)

      argument = %{
        module: module,
        server: server_options(id, agent, module, jido_opts),
        options: options,
        restore: restore,
        probe_period: probe_period
      }

      %{
        id: id,
        start: {Server, :start_link, [argument]},
        shutdown: 5_000,
        kantoku: %{module: module, entry: Card.of(module)}
      }
    end

    def child(_instance, _id, other, _opts),
      do: refuse!("agent", "{Kantoku.Jido, agent} or {Kantoku.Jido, agent, options}", other)

    defp module!(agent, _opts) when is_atom(agent) do
      (Code.ensure_loaded?(agent) and function_exported?(agent, :cmd, 3)) ||
        refuse!("agent", "a module that uses Jido.Agent", agent)

      agent
    end

    defp module!(%{state: _} = agent, opts) do
      module = opts[:agent_module] || Map.get(agent, :agent_module) || agent.__struct__
      module!(module, opts)
    end

    defp module!(agent, _opts), do: refuse!("agent", "a module or an agent of Jido's", agent)

    defp server_options(id, agent, module, jido_opts) do
      jido_opts
      |> Keyword.put_new(:jido, Jido)
      |> Keyword.merge(agent: agent, agent_module: module, id: jido_id(id))
    end

    @doc "The id that Jido knows an agent by: its own, where that is text."
    @spec jido_id(term) :: String.t()
    def jido_id(id) when is_binary(id), do: id
    def jido_id(id) when is_atom(id), do: Atom.to_string(id)
    def jido_id({:pool, pool, member}), do: "#{pool}-#{member}"

    def jido_id(id),
      do: "kantoku_" <> Base.url_encode64(:crypto.hash(:sha256, Kantoku.Store.key(id)), padding: false)

    # Options ------------------------------------------------------------------------------------------------------------

    defp options!(instance, opts) do
      {restore, opts} = Keyword.pop(opts, :restore, true)
      {period, opts} = Keyword.pop(opts, :probe_period, @probe_period)
      is_boolean(restore) || refuse!(:restore, "true or false", restore)
      (is_integer(period) and period > 0) || refuse!(:probe_period, "a positive number of ms", period)

      for {name, value} <- opts,
          name not in @ours,
          do: refuse!(name, "one of #{inspect([:restore, :probe_period | @ours])}", value)

      options = Map.new(opts)
      _ = Options.new!(options)
      _ = Instances.reading(instance, fn _rows, book -> Options.merge!(Book.agent_options(book), options) end)
      {restore, period, options}
    end

    defp refuse!(option, expected, given) do
      name = if is_atom(option), do: "option #{inspect(option)}", else: option
      raise ArgumentError, "Kantoku.Jido, #{name}: expected #{expected}, got: #{inspect(given)}"
    end
  end
end

defmodule Kantoku.Domain.Wish do
  # What someone wants started, checked and in the form of a row. Knows no process and no table.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.Agent.Options
  alias Kantoku.Domain.Rows
  alias Kantoku.Registry.Description

  @restarts [:permanent, :transient, :temporary]

  defstruct id: nil, domain: :default, restart: nil, shutdown: nil, entry: %{}, rest: []

  @doc "The row that a spec and options ask for, and its domain; `restart` and `shutdown` are `nil` where the domain decides."
  @spec new!(atom, term, keyword) :: Rows.row()
  def new!(instance, spec, opts) do
    Keyword.keyword?(opts) || refuse!("options of an agent", "a keyword list", opts)
    opts |> Enum.reduce(%__MODULE__{}, &option/2) |> row!(instance, spec)
  end

  # Options --------------------------------------------------------------------------------------------------------------

  defp option({:id, nil}, _wish), do: refuse!(:id, "any term but nil", nil)
  defp option({:id, id}, wish), do: %{wish | id: id}
  defp option({:domain, domain}, wish) when is_atom(domain) and domain != nil, do: %{wish | domain: domain}
  defp option({:domain, {:pool, pool} = domain}, wish) when is_atom(pool), do: %{wish | domain: domain}
  defp option({:domain, other}, _wish), do: refuse!(:domain, "the name of a domain", other)
  defp option({:restart, restart}, wish) when restart in @restarts, do: %{wish | restart: restart}
  defp option({:restart, other}, _wish), do: refuse!(:restart, "one of #{inspect(@restarts)}", other)

  defp option({:shutdown, shutdown}, wish)
       when shutdown in [:infinity, :brutal_kill] or (is_integer(shutdown) and shutdown >= 0),
       do: %{wish | shutdown: shutdown}

  defp option({:shutdown, other}, _wish), do: refuse!(:shutdown, "ms, :infinity or :brutal_kill", other)

  defp option({name, list}, wish) when name in [:tags, :capabilities] do
    is_list(list) || refuse!(name, "a list", list)
    %{wish | entry: Map.put(wish.entry, name, list)}
  end

  defp option({:metadata, metadata}, wish) when is_map(metadata),
    do: %{wish | entry: Map.put(wish.entry, :metadata, metadata)}

  defp option({:metadata, other}, _wish), do: refuse!(:metadata, "a map", other)
  defp option(other, wish), do: %{wish | rest: [other | wish.rest]}

  # Kinds ----------------------------------------------------------------------------------------------------------------

  defp row!(wish, instance, spec) do
    case kind(spec) do
      {:data, module, args} -> data(wish, module, args)
      {:adapter, module} -> otp(wish, spec, module.child(instance, id!(wish, spec), spec, Enum.reverse(wish.rest)))
      :otp -> wish |> nothing_left!() |> otp(spec, Supervisor.child_spec(spec, []))
    end
  end

  defp kind(module) when is_atom(module),
    do: if(Code.ensure_loaded?(module) and data?(module), do: {:data, module, %{}}, else: :otp)

  defp kind(spec) when is_tuple(spec) and is_atom(elem(spec, 0)) do
    module = elem(spec, 0)

    cond do
      not Code.ensure_loaded?(module) -> :otp
      function_exported?(module, :child, 4) -> {:adapter, module}
      tuple_size(spec) == 2 and data?(module) -> {:data, module, elem(spec, 1)}
      true -> :otp
    end
  end

  defp kind(%{start: {_, _, _}}), do: :otp
  defp kind(other), do: refuse!("agent", "a module, an adapter's tuple or a child spec", other)

  defp data?(module), do: function_exported?(module, :cmd, 2) and function_exported?(module, :new, 1)

  defp data(%{rest: []} = wish, module, args), do: data(wish, module, args, %{})

  defp data(wish, module, args) do
    options = Map.new(wish.rest)
    {restore, agent_options} = Map.pop(options, :restore, true)
    is_boolean(restore) || refuse!(:restore, "true or false", restore)
    _ = Options.new!(agent_options)
    data(wish, module, args, options)
  end

  defp data(wish, module, args, options),
    do: new(wish, id!(wish, module), what(module, args, options), {wish.restart, wish.shutdown, :worker})

  defp what(module, args, options) when args == %{} and options == %{}, do: module
  defp what(module, args, options), do: {:data, module, args, options}

  defp otp(wish, spec, child) do
    {_module, _function, _args} = mfa = start!(child)
    type = Map.get(child, :type, :worker)
    shutdown = wish.shutdown || Map.get(child, :shutdown, if(type == :supervisor, do: :infinity))
    {what, wish} = foreign(child, mfa, wish)

    new(
      wish,
      wish.id || Map.get(child, :id) || id!(wish, spec),
      what,
      {wish.restart || child[:restart], shutdown, type}
    )
  end

  defp foreign(%{kantoku: %{module: module} = told}, mfa, wish),
    do: {{:informed, mfa, module}, %{wish | entry: Map.merge(Map.get(told, :entry, %{}), wish.entry)}}

  defp foreign(child, mfa, wish), do: {{:otp, mfa, Map.get(child, :modules, [elem(mfa, 0)])}, wish}

  defp start!(%{start: {module, function, args} = mfa}) when is_atom(module) and is_atom(function) and is_list(args),
    do: mfa

  defp start!(other), do: refuse!("child spec", "a map with start: {module, function, args}", other)

  defp new(wish, id, what, child) do
    # Refused here, in the caller, and not later in the supervisor.
    entry = if wish.entry == %{}, do: nil, else: Map.take(Description.change!(%{}, wish.entry), Map.keys(wish.entry))
    row(id: id, domain: wish.domain, what: what, child: child, entry: entry)
  end

  defp id!(%{id: nil}, spec), do: refuse!(:id, "an id for #{inspect(spec)}", nil)
  defp id!(%{id: id}, _spec), do: id

  defp nothing_left!(%{rest: []} = wish), do: wish

  defp nothing_left!(%{rest: [{name, value} | _]}) do
    known = [:id, :domain, :restart, :shutdown, :tags, :capabilities, :metadata]
    refuse!(name, "an option that an OTP child takes (#{inspect(known)})", value)
  end

  @doc "Whether the agent has options of its own, which are to be checked against those of its instance."
  @spec own_options?(Rows.row()) :: boolean
  def own_options?(row(what: {:data, _module, _args, options})), do: options != %{}
  def own_options?(_otp), do: false

  @doc "Raises `ArgumentError` if the options of a data agent do not go with those of its instance."
  @spec check!(Rows.row(), Options.t()) :: :ok
  def check!(row(what: {:data, _module, _args, options}), defaults) do
    _ = Options.merge!(defaults, Map.delete(options, :restore))
    :ok
  end

  def check!(_otp, _defaults), do: :ok

  @doc "Fills in what the agent leaves to its domain."
  @spec complete(Rows.row(), atom, timeout | :brutal_kill) :: Rows.row()
  def complete(row(child: {restart, shutdown, type}) = row, domain_restart, domain_shutdown),
    do: Rows.put_child(row, {restart || domain_restart, shutdown || domain_shutdown, type})

  defp refuse!(option, expected, given) do
    name = if is_atom(option), do: "option #{inspect(option)}", else: option
    raise ArgumentError, "#{name}: expected #{expected}, got: #{inspect(given)}"
  end
end

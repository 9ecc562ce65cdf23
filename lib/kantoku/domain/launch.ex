defmodule Kantoku.Domain.Launch do
  # Really starting an agent: its own start function, its name, its entry in the registry. Knows nothing of restarts.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.{Engine, Telemetry}
  alias Kantoku.Agent.Options
  alias Kantoku.Domain.{Book, Enrolment, Rows, Start}
  alias Kantoku.Registry.{Description, Facet}

  @doc "Starts the agent's process: with the monotonic time of its start and its incarnation."
  @spec run(Start.context(), Rows.row()) :: {:ok, pid, integer, pos_integer} | :ignore | {:error, term}
  def run({instance, _rows, book} = context, row(what: what, incarnation: before) = row) do
    shorten_ancestry()
    incarnation = max(before + 1, System.os_time(:microsecond))
    started = System.monotonic_time()

    case Enrolment.while_starting(book, row, fn -> call(what, context, row, incarnation) end) do
      {:ok, pid} when is_pid(pid) ->
        announce(instance, row, pid, incarnation)
        {:ok, pid, started, incarnation}

      :ignore ->
        :ignore

      {:error, reason} ->
        {:error, reason}

      other ->
        {:error, {:bad_return_from_start, other}}
    end
  end

  # Every process carries the list of its ancestors. The last two say where an agent is; all eight would cost it 100 bytes.
  defp shorten_ancestry do
    with [parent, _ | _] <- Process.get(:"$ancestors"), do: Process.put(:"$ancestors", [parent])
  end

  # As OTP's supervisors do, whatever a start function throws is a reason not to have started.
  defp call(what, context, row, incarnation) do
    {module, function, arguments} = mfa(what, context, row, incarnation)

    case apply(module, function, arguments) do
      {:ok, pid, _info} -> {:ok, pid}
      other -> other
    end
  catch
    :error, reason -> {:error, {reason, __STACKTRACE__}}
    :exit, reason -> {:error, reason}
    thrown -> {:error, {{:nocatch, thrown}, __STACKTRACE__}}
  end

  defp mfa({:otp, mfa, _modules}, _context, _row, _incarnation), do: mfa

  defp mfa(
         {:informed, {module, function, args}, _what},
         {instance, _rows, book},
         row(id: id, phase: phase),
         incarnation
       ) do
    context = %{
      instance: instance,
      id: id,
      incarnation: incarnation,
      first: phase == :new,
      options: Book.agent_options(book)
    }

    {module, function, args ++ [context]}
  end

  defp mfa(module, context, row, incarnation) when is_atom(module),
    do: mfa({:data, module, %{}, %{}}, context, row, incarnation)

  defp mfa({:data, module, args, options}, {instance, _rows, book}, row(id: id, phase: phase), incarnation) do
    {restore, options} = Map.pop(options, :restore, true)

    argument = %{
      instance: instance,
      id: id,
      module: module,
      args: args,
      options: Options.merge!(Book.agent_options(book), options),
      incarnation: incarnation,
      restore: restore or phase != :new
    }

    {Kantoku.Agent.Server, :start_link, [argument]}
  end

  defp announce(instance, row(id: id) = row, pid, incarnation) do
    if Telemetry.listening?([:agent, :spawned]) do
      measurements = %{system_time: System.system_time()}
      emit(instance, [:agent, :spawned], measurements, row, id: id, pid: pid, incarnation: incarnation)
    end
  end

  @doc "Gives a running agent its name and its entry; behind a gate, one that is not found yet (`Kantoku.Health.Gate`)."
  @spec introduce(atom, Rows.row(), gated :: boolean) :: :ok | {:error, {:already_started, pid} | term}
  def introduce(instance, row(id: id, pid: pid, what: what, entry: entry), gated?) do
    attributes = attributes(entry, module(what))
    attributes = if gated?, do: Map.put(attributes, :gate, :shut), else: attributes

    case Engine.introduce(instance, id, pid, nil, attributes, Facet.of(attributes)) do
      {:ok, _incarnation} -> :ok
      # It has registered itself, and so describes itself, or is described here.
      {:error, {:already_registered, ^pid}} -> describe(instance, id, attributes)
      {:error, {:already_registered, other}} -> {:error, {:already_started, other}}
      # It is dead already: its supervisor will hear of it next.
      {:error, :noproc} -> :ok
      :unknown -> {:error, :registry_not_running}
    end
  end

  defp attributes(nil, module), do: Description.first(module)
  defp attributes(entry, module), do: Description.change!(%{}, Map.put(entry, :type, module))

  # It may be dead by now.
  defp describe(instance, id, attributes) do
    Kantoku.Registry.describe(instance, id, Map.delete(attributes, :started_at))
    :ok
  end

  @doc "The modules of a child spec."
  @spec modules(term) :: [module] | :dynamic
  def modules({:otp, _mfa, modules}), do: modules
  def modules({:informed, {module, _function, _args}, _what}), do: [module]
  def modules(_data), do: [Kantoku.Agent.Server]

  @doc "Whether an agent is one of data, held by our own server or one that answers as that does, or any child of OTP."
  @spec kind(term) :: :data | :otp
  def kind({:otp, _mfa, _modules}), do: :otp
  def kind(_data), do: :data

  @doc "Whether an agent says by itself how it is (`Kantoku.Health.Pulse`): those that our own server holds."
  @spec pulse?(term) :: boolean
  def pulse?(what) when is_atom(what), do: true
  def pulse?(what), do: elem(what, 0) == :data

  @doc "Tells of an agent; what is told is only gathered when someone listens."
  @spec emit(atom, [atom], map, Rows.row(), keyword) :: :ok
  def emit(instance, name, measurements, row, more) do
    if Telemetry.listening?(name), do: Telemetry.emit(instance, name, measurements, metadata(row, more)), else: :ok
  end

  defp metadata(row(domain: domain, what: what, pid: pid, incarnation: incarnation), more) do
    Map.merge(%{domain: domain, module: module(what), pid: pid, incarnation: incarnation}, Map.new(more))
  end

  @doc "What an agent is, for people and for the registry's `type`."
  @spec module(term) :: module
  def module(module) when is_atom(module), do: module
  def module({:data, module, _args, _options}), do: module
  def module({:otp, {module, _function, _args}, _modules}), do: module
  def module({:informed, _mfa, module}), do: module
end

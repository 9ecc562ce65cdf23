defmodule Kantoku.Migration.Supervision do
  # Starting, stopping and calling agents that may be on either side. Runs in the caller; knows no process of this room but the mover,
  # which it tells when a start was overtaken by a change.
  @moduledoc false

  alias Kantoku.Migration.{Account, Carrier, Mode, Mover, Old, Roster, Settings}
  alias Kantoku.Options

  # For somebody else's start, and for an agent that moves, in ms.
  @patience 5_000

  # For an old supervisor to start again what has just crashed, in ms.
  @grace 50

  # Between two looks at all of a subject, in ms.
  @pause 10

  @agent [:domain, :restart, :shutdown, :tags, :capabilities, :metadata]

  @schema [
            state: [kind: :any, default: nil, doc: "how its state moves."],
            registry: [kind: :any, default: nil, doc: "the old registry that it registers itself in."],
            linger: [kind: :non_negative, default: 1_000, doc: "ms for late messages after a move."]
          ] ++ Enum.map(@agent, &{&1, [kind: :any, default: nil, doc: "as of Kantoku.start_agent/3."]})

  @type subject :: {instance :: atom, subject :: term}

  # Starting -------------------------------------------------------------------------------------------------------------

  @doc "See `Kantoku.Migration.start_child/5`."
  @spec start_child(subject, term, term, Old.supervision(), keyword) :: DynamicSupervisor.on_start_child()
  def start_child({instance, subject}, id, spec, old, opts) do
    begin(
      {instance, subject, id},
      origin!(Supervisor.child_spec(spec, []), Old.check!(:supervision, old), opts),
      @patience
    )
  end

  defp origin!(%{start: {module, _function, _args}} = spec, old, opts) do
    checked = Options.validate!(opts, @schema, "Kantoku.Migration.start_child/5")
    if checked.registry, do: Old.check!(:registry, checked.registry)

    %{
      old: old,
      spec: spec,
      agent: for(name <- @agent, value = checked[name], do: {name, value}),
      carrier: Carrier,
      means: Carrier.means!(checked.state, module),
      registry: checked.registry,
      linger: checked.linger
    }
  end

  @doc "As `start_child/5`, of an origin that is made already."
  @spec begin(Roster.key(), Roster.origin(), integer) :: DynamicSupervisor.on_start_child()
  def begin({instance, subject, id} = key, origin, patience \\ @patience) do
    gate = Settings.gate(instance, :supervision, subject)
    side = Mode.side(gate, subject, id)

    if Roster.enter(key, side, origin),
      do: entered(key, gate, side, origin),
      else: existing(Roster.settled(key, @patience), key, origin, patience)
  end

  defp entered({instance, subject, id} = key, gate, side, origin) do
    answer = Account.run(gate, side, fn -> start(side, key, origin) end)
    if not match?({:ok, _pid}, answer) and not match?({:ok, _pid, _info}, answer), do: Roster.delete(key)
    overtaken? = Mode.side(Settings.gate(instance, :supervision, subject), subject, id) != side
    if overtaken?, do: Mover.settle(instance, subject)
    answer
  end

  @doc "Starts an agent on a side."
  @spec start(Mode.side(), Roster.key(), Roster.origin()) :: DynamicSupervisor.on_start_child()
  def start(:old, key, origin), do: Old.start(origin.old, key, origin.spec)

  def start(:new, {instance, _subject, id} = key, %{spec: spec, agent: agent, carrier: carrier}),
    do: Kantoku.start_agent(instance, spec, [id: id] ++ Keyword.merge(carrier.agent_options(key), agent))

  # Somebody else is starting it, or it is there, or it was and left its row.
  defp existing(nil, key, origin, patience), do: begin(key, origin, patience)

  defp existing({_key, place, pid, _origin, _ledger, _stays} = row, key, origin, patience) do
    cond do
      found = Roster.pid(row) -> {:error, {:already_started, found}}
      is_tuple(place) -> {:error, Kantoku.Error.new(:restarting, id: elem(key, 2), retry_in: @grace)}
      place == :new -> absent(key, origin)
      patience <= 0 or (pid != nil and patience <= @patience - @grace) -> renew(key, origin)
      true -> again(key, origin, patience)
    end
  end

  defp again(key, origin, patience) do
    Process.sleep(1)
    begin(key, origin, patience - 1)
  end

  defp absent({instance, _subject, id} = key, origin) do
    case Kantoku.fetch(instance, id) do
      {:ok, pid} -> {:error, {:already_started, pid}}
      {:error, %{reason: reason} = error} when reason in [:restarting, :parked, :stopping] -> {:error, error}
      {:error, _not_there} -> renew(key, origin)
    end
  end

  defp renew(key, origin) do
    Roster.delete(key)
    begin(key, origin, @patience)
  end

  # Stopping -------------------------------------------------------------------------------------------------------------

  @doc "See `Kantoku.Migration.stop_child/2`."
  @spec stop_child(subject, term) :: :ok | {:error, :not_found | Kantoku.Error.t()}
  def stop_child({instance, subject}, id), do: stop_row(Roster.settled({instance, subject, id}, @patience))

  defp stop_row(nil), do: {:error, :not_found}

  defp stop_row({{_instance, _subject, id}, place, _pid, _origin, _ledger, _stays}) when is_tuple(place),
    do: {:error, Kantoku.Error.new(:restarting, id: id, retry_in: @grace)}

  defp stop_row({key, side, pid, origin, _ledger, _stays}) do
    answer = stop(side, key, pid, origin)
    Roster.delete(key)
    answer
  end

  @doc "Stops an agent on a side."
  @spec stop(Mode.side(), Roster.key(), pid | nil, Roster.origin()) :: :ok | {:error, :not_found}
  def stop(:old, _key, nil, _origin), do: {:error, :not_found}
  def stop(:old, _key, pid, origin), do: Old.stop(origin.old, pid)

  def stop(:new, {instance, _subject, id}, _pid, _origin),
    do: with({:error, _error} <- Kantoku.stop_agent(instance, id), do: {:error, :not_found})

  # Calling --------------------------------------------------------------------------------------------------------------

  @doc "See `Kantoku.Migration.call/4`."
  @spec call(subject, term, term, timeout) :: term
  def call({instance, subject}, id, request, timeout) do
    gate = Settings.gate(instance, :supervision, subject)
    ask({instance, subject, id}, gate, request, timeout, 3)
  end

  defp ask(key, gate, request, timeout, tries) do
    {side, pid} = find(key, request, timeout)
    Account.run(gate, side, fn -> GenServer.call(pid, request, timeout) end)
  catch
    # It ended before it had the request: it has moved, or is being started again.
    :exit, {:noproc, {GenServer, :call, _args}} when tries > 1 -> ask(key, gate, request, timeout, tries - 1)
  end

  defp find(key, request, timeout) do
    case Roster.locate(key, if(timeout == :infinity, do: @patience, else: timeout)) do
      {side, pid} when is_pid(pid) -> {side, pid}
      _nowhere -> exit({:noproc, {Kantoku.Migration, :call, [key, request, timeout]}})
    end
  end

  @doc "Whether all agents of a subject are where they belong, within `timeout` ms."
  @spec settled?(atom, term, integer) :: boolean
  def settled?(instance, subject, timeout) do
    gate = Settings.gate(instance, :supervision, subject)

    case Enum.all?(Roster.of(instance, subject), &home?(&1, gate, subject)) do
      false when timeout > 0 ->
        Process.sleep(@pause)
        settled?(instance, subject, timeout - @pause)

      settled? ->
        settled?
    end
  end

  defp home?({{_, _, id}, place, _pid, _origin, _ledger, _stays}, gate, subject),
    do: place == Mode.side(gate, subject, id)

  @doc "Where an agent is, waiting for one that moves."
  @spec whereis(Roster.key()) :: pid | nil
  def whereis(key), do: key |> Roster.locate(@patience) |> elem(1)
end

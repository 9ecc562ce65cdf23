defmodule Kantoku.Migration.Move do
  # One agent's way from one side to the other, with its state. Runs in a worker of the mover; what it has done so far stands in the
  # roster, so that who comes after it can take it back.
  #
  # V1  At no time do both processes handle messages: the one that leaves is held still from before its state is read, and what was
  #     started in its place is not found before it has that state.
  # V2  It has moved when its row says so. Before that everything is taken back: the name, and then it goes on where it was.
  # V3  What was sent to the one that left and not begun is handed on, once, in order (`Kantoku.Migration.Usher`).
  @moduledoc false

  require Kantoku.Domain.Rows

  alias Kantoku.Domain.Rows
  alias Kantoku.{Engine, Telemetry}
  alias Kantoku.Migration.{Carrier, Mode, Placed, Roster, Supervision, Usher}

  @doc "Moves an agent that is on a side to the other; `{:stays, reason}` if it cannot go (now)."
  @spec run(Roster.row()) :: :moved | :gone | {:stays, term}
  def run({key, side, _pid, _origin, _ledger, _stays} = row) do
    begun = System.monotonic_time()
    if Roster.left?(key), do: {:stays, :left_lately}, else: row |> leave(Roster.pid(row)) |> told(key, side, begun)
  end

  defp leave(row, nil), do: absent(row)

  defp leave(row, pid) do
    case taken(row) do
      nil -> if Roster.depart(row, pid), do: departed(row, pid), else: :gone
      other -> {:stays, {:already_started, other}}
    end
  end

  # Somebody else's agent may have the id on our side.
  defp taken({{instance, _subject, id}, :old, _pid, _origin, _ledger, _stays}) do
    with {:ok, _context, row} <- Kantoku.Agents.find(instance, id),
         do: Rows.row(row, :pid) || :not_up,
         else: (_error -> nil)
  end

  defp taken(_ours), do: nil

  # One that rests or is parked has no process to take a state from; what has ended has nothing to move.
  defp absent({{instance, _subject, id}, :new, _pid, _origin, _ledger, _stays}) do
    case Kantoku.fetch(instance, id) do
      {:error, %{reason: :not_found}} -> :gone
      _resting -> {:stays, :not_up}
    end
  end

  defp absent(_old), do: {:stays, :not_up}

  defp departed({key, side, _pid, origin, _ledger, _stays} = row, pid) do
    case origin.carrier.freeze(pid) do
      :ok -> packed(row, pid, origin.carrier.pack(pid, origin.means))
      {:error, reason} -> stay(key, side, reason)
    end
  end

  defp packed({key, side, _pid, _origin, _ledger, _stays}, pid, {:error, reason}) do
    Carrier.thaw(pid)
    stay(key, side, reason)
  end

  defp packed({key, side, _pid, origin, _ledger, _stays} = row, pid, {:ok, state, unbegun}) do
    names = unname(key, pid, origin.registry)
    Roster.put_place(key, {:moving, side, self(), pid, names})

    case started(Mode.other(side), key, origin, state) do
      {:ok, new} -> unpacked(row, pid, new, unbegun, origin.carrier.unpack(new, origin.means, state))
      {:error, reason} -> back(Roster.fetch(key), unbegun, reason)
      :ignore -> back(Roster.fetch(key), unbegun, :ignore)
    end
  end

  defp unpacked(row, pid, new, unbegun, :ok), do: arrived(row, pid, new, unbegun)

  defp unpacked({key, _side, _pid, _origin, _ledger, _stays}, _frozen, _new, unbegun, {:error, reason}) do
    withdraw(Roster.fetch(key))
    back(Roster.fetch(key), unbegun, reason)
  end

  defp started(side, key, origin, state) do
    case Supervision.start(side, key, origin.carrier.laden(origin, state)) do
      {:ok, pid, _info} -> {:ok, pid}
      answer -> answer
    end
  end

  defp arrived({{_instance, _subject, _id} = key, side, _pid, _origin, _ledger, _stays} = row, pid, new, unbegun) do
    Roster.arrive(row, Mode.other(side), new, pid, if(side == :new, do: new))
    Enum.each(unbegun, &send(new, &1))
    Usher.start(key)
    :moved
  end

  defp stay(key, side, reason) do
    Roster.put_place(key, side, reason)
    {:stays, reason}
  end

  # Back -------------------------------------------------------------------------------------------------------------------

  @doc "Takes a move back that its mover did not come to the end of."
  @spec take_back(Roster.row()) :: {:stays, term}
  def take_back(row) do
    withdraw(row)
    back(row, [], :cut_off)
  end

  # Before any was named away, nothing was started; and whose id was taken on our side did not depart.
  defp withdraw({_key, {:moving, _side, _by, _frozen, []}, _pid, _origin, _ledger, _stays}), do: :ok

  defp withdraw({key, {:moving, side, _by, _frozen, _names}, pid, origin, _ledger, _stays}),
    do: Supervision.stop(Mode.other(side), key, if(side == :new, do: pid), origin)

  defp back({key, {:moving, side, _by, frozen, names}, _pid, origin, _ledger, _stays}, unbegun, reason) do
    if frozen && Process.alive?(frozen) do
      rename(key, frozen, names)
      Roster.put_pid(key, if(side == :old, do: frozen), nil)
      stay(key, side, reason)
      Enum.each(unbegun, &send(frozen, &1))
      Carrier.thaw(frozen)
    else
      lost(key, side, origin, reason)
    end

    {:stays, reason}
  end

  # Killed while it was held still. Our domains start it again; below an old supervisor that start was refused.
  defp lost(key, side, origin, reason) do
    Roster.put_pid(key, nil, nil)
    stay(key, side, reason)
    if side == :old, do: Supervision.start(:old, key, origin)
  end

  # Names ------------------------------------------------------------------------------------------------------------------

  # In the process where that is asked: a registry lets nobody else.
  defp unname({instance, _subject, id}, pid, registry) do
    local =
      with {:registered_name, name} when is_atom(name) <- Process.info(pid, :registered_name), do: unregister(name)

    Engine.disclaim(instance, id, pid)
    [local | entries(pid, registry)]
  end

  defp unregister(name) do
    Process.unregister(name)
    {:local, name}
  rescue
    ArgumentError -> {:local, nil}
  end

  defp entries(_pid, nil), do: []

  defp entries(pid, {registry, name}) do
    case Carrier.inside(pid, &{sign_off(registry, name), &1}) do
      {:ok, entries} -> for {key, value} <- entries, do: {registry, name, key, value}
      {:error, _reason} -> []
    end
  end

  defp sign_off(registry, name) do
    for key <- Enum.uniq(registry.keys(name, self())), {pid, value} <- registry.lookup(name, key), pid == self() do
      registry.unregister(name, key)
      {key, value}
    end
  end

  defp rename({instance, subject, id}, pid, names) do
    for {:local, name} when is_atom(name) and name not in [nil, []] <- names, do: reregister(pid, name)

    Carrier.inside(pid, fn state ->
      {for({registry, name, key, value} <- names, do: registry.register(name, key, value)), state}
    end)

    row = Roster.fetch({instance, subject, id})

    if match?({_key, {:moving, :new, _by, _frozen, _names}, _pid, _origin, _ledger, _stays}, row),
      do: Engine.claim(instance, id, pid, nil),
      else: Placed.named(instance, subject, id, pid)
  end

  defp reregister(pid, name) do
    Process.register(pid, name)
  rescue
    ArgumentError -> false
  end

  # Told -------------------------------------------------------------------------------------------------------------------

  defp told(:moved, {instance, subject, id}, side, begun) do
    metadata = %{id: id, subject: subject, from: side, to: Mode.other(side)}
    Telemetry.emit(instance, [:migration, :moved], %{duration: System.monotonic_time() - begun}, metadata)
    :moved
  end

  defp told(other, _key, _side, _begun), do: other
end

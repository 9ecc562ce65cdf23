defmodule Kantoku.Migration.Move do
  # One agent's way from one side to the other, with its state. Runs in a worker of the mover; what it has done so far stands in the
  # roster, so that who comes after it can take it back.
  #
  # V1  At no time do both processes handle messages: the one that leaves is held still from before its state is read, and what was
  #     started in its place is not found by who asks here before it has that state. (By a name that it takes in its `init` it is.)
  # V2  It has moved when its row says so. Before that everything is taken back: the name, and then it goes on where it was.
  # V3  What was sent to the one that left and not begun is handed on, once, in order (`Kantoku.Migration.Usher`).
  @moduledoc false

  require Kantoku.Domain.Rows

  alias Kantoku.Domain.Rows
  alias Kantoku.Telemetry
  alias Kantoku.Migration.{Carrier, Mode, Names, Roster, Supervision, Usher}
  alias Kantoku.Trace.Handling

  # How often in a row one of the old side is not there before it counts as ended: some three seconds, by the mover's pauses.
  @looks 6

  @doc "Moves an agent that is on a side to the other; `{:stays, reason}` if it cannot go (now)."
  @spec run(Roster.row()) :: :moved | :gone | {:stays, term}
  def run({key, side, _pid, _origin, _ledger, _stays} = row) do
    begun = System.monotonic_time()
    if Roster.left?(key), do: {:stays, :left_lately}, else: row |> leave(Roster.pid(row)) |> told(key, side, begun)
  end

  defp leave(row, nil), do: absent(row)

  defp leave(row, pid) do
    case taken(row) do
      nil -> if Roster.depart(row, pid), do: handed_off(row, pid), else: overtaken(row)
      other -> {:stays, {:already_started, other}}
    end
  end

  # It was started again since its row was read, or is not there any more.
  defp overtaken({key, side, _pid, _origin, _ledger, _stays}) do
    case Roster.fetch(key) do
      {_key, ^side, _other, _origin, _ledger, _stays} -> {:stays, :busy}
      _elsewhere -> :gone
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
      _resting -> {:stays, {:not_up, 1}}
    end
  end

  # Being started again, or ended for good: that is so if nobody has started it for a while.
  defp absent({_key, :old, _pid, _origin, _ledger, {:not_up, @looks}}), do: :gone
  defp absent({_key, :old, _pid, _origin, _ledger, {:not_up, n}}), do: {:stays, {:not_up, n + 1}}
  defp absent(_old), do: {:stays, {:not_up, 1}}

  # Whoever goes on with it links to this, if it is traced there.
  defp handed_off({{instance, _subject, id}, side, _pid, _origin, _ledger, _stays} = row, pid) do
    said = %{"kantoku.from" => side, "kantoku.to" => Mode.other(side)}
    Handling.hand_off(instance, id, said, fn -> departed(row, pid) end, &(&1 == :moved))
  end

  defp departed({key, _side, _pid, origin, _ledger, _stays} = row, pid) do
    case origin.carrier.freeze(pid) do
      :ok -> packed(row, pid, origin.carrier.pack(pid, origin.means))
      {:error, reason} -> back(Roster.fetch(key), [], reason)
    end
  end

  defp packed({key, _side, _pid, _origin, _ledger, _stays}, _frozen, {:error, reason}),
    do: back(Roster.fetch(key), [], reason)

  defp packed({key, side, _pid, origin, _ledger, _stays} = row, pid, {:ok, state, unbegun}) do
    # Before they are taken, so that who takes this back knows them.
    names = Names.of(pid, origin.registry)
    Roster.put_place(key, {:moving, side, self(), pid, names})
    Names.take(key, pid, names)

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

  defp withdraw({key, {:moving, :old, _by, _frozen, _names}, _pid, origin, _ledger, _stays}),
    do: Supervision.stop(:new, key, nil, origin)

  # An old supervisor may be starting it for a mover that is dead: what that one asked for is refused from here on (`Placed`).
  defp withdraw({key, {:moving, :new, _by, frozen, names}, _pid, origin, _ledger, _stays}) do
    Roster.put_place(key, {:moving, :new, self(), frozen, names})
    {_key, _place, pid, _origin, _ledger, _stays} = Roster.fetch(key)
    Supervision.stop(:old, key, pid, origin)
  end

  defp back({key, {:moving, side, _by, frozen, names}, _pid, _origin, _ledger, _stays} = row, unbegun, reason) do
    if frozen && Process.alive?(frozen) do
      Names.give_back(key, side, frozen, names)
      Roster.put_pid(key, if(side == :old, do: frozen), nil)
      # Held still until it is let go, whoever does that.
      stay(key, side, {:held, frozen, reason})
      Enum.each(unbegun, &send(frozen, &1))
      release(Roster.fetch(key))
    else
      lost(side, row, reason)
    end

    {:stays, reason}
  end

  @doc "Lets one go on that is back, and says why it is."
  @spec release(Roster.row() | nil) :: :ok
  def release({key, side, _pid, _origin, _ledger, {:held, frozen, reason}}) do
    Carrier.thaw(frozen)
    stay(key, side, reason)
    :ok
  end

  def release(_elsewhere), do: :ok

  # Killed while it was held still. Our domains start it again by themselves.
  defp lost(:new, {key, _place, _pid, _origin, _ledger, _stays}, reason), do: stay(key, :new, reason)

  # When an old supervisor has answered this, it has heard of its end, and has started it again if that was before it was on its way;
  # after that it was refused to (`Placed`), and so is from here on what a mover before this one asked for.
  defp lost(:old, {key, {_, _, _, frozen, _}, _pid, origin, _ledger, _stays}, reason) do
    if frozen, do: Supervision.stop(:old, key, frozen, origin)
    Roster.put_place(key, {:moving, :old, self(), nil, []})
    unless there?(Roster.fetch(key), frozen), do: again(key, origin)
    stay(key, :old, reason)
  end

  defp there?({_key, _place, pid, _origin, _ledger, _stays}, frozen),
    do: pid != frozen and is_pid(pid) and Process.alive?(pid)

  defp again(key, origin) do
    with {:error, {:already_started, pid}} <- Supervision.start(:old, key, origin),
         do: Roster.put_pid(key, pid, nil)
  end

  # Told -------------------------------------------------------------------------------------------------------------------

  defp told(:moved, {instance, subject, id}, side, begun) do
    metadata = %{id: id, subject: subject, from: side, to: Mode.other(side)}
    Telemetry.emit(instance, [:migration, :moved], %{duration: System.monotonic_time() - begun}, metadata)
    :moved
  end

  defp told(other, _key, _side, _begun), do: other
end

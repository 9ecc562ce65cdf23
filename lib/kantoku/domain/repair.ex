defmodule Kantoku.Domain.Repair do
  # Makes what is there agree with the rows of one place again. Every step may be cut short, and repeated, at any point.
  #
  # K1  A row of another supervisor is handed over only when that supervisor is dead, then what it was starting is dead, then what
  #     the row names is dead; in this order, as each may still make the next.
  # K2  A handed-over row is started through the supervisor; to do so twice is harmless (S3 of `Start`).
  # K3  An agent of the living supervisor has ended for good when that supervisor does not list it; nothing else proves it.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.Domain.{Group, Pair, Remains, Rows, Start, Turn}

  alias Kantoku.Telemetry

  @enforce_keys [:context, :place, :agents]
  defstruct @enforce_keys

  @type t :: %__MODULE__{context: Start.context(), place: Pair.place(), agents: pid}

  @spec new(Start.context(), Pair.place(), pid) :: t
  def new(context, place, agents), do: %__MODULE__{context: context, place: place, agents: agents}

  @doc "Looks at every row of the place."
  @spec all(t) :: :ok
  def all(%{context: {_instance, rows, _book}, place: {_, domain, part}} = repair),
    do: repair(repair, Rows.of(rows, domain, part))

  @doc "Looks at some rows, if they are of this place."
  @spec some(t, [term]) :: :ok
  def some(%{context: {_instance, rows, _book}, place: {_, domain, part}} = repair, ids) do
    repair(repair, for(id <- ids, row(domain: ^domain, part: ^part) = row <- [Rows.get(rows, id)], do: row))
  end

  @doc "Tells of so many agents that passed from a dead supervisor to its successor."
  @spec tell(atom, Kantoku.Domain.name(), non_neg_integer) :: :ok
  def tell(_instance, _domain, 0), do: :ok

  def tell(instance, domain, agents),
    do: Telemetry.emit(instance, [:domain, :repaired], %{agents: agents}, %{domain: domain})

  defp repair(%{agents: agents} = repair, found) do
    {own, foreign} = Enum.split_with(found, &(row(&1, :sup) == agents))
    own = own ++ take_over(repair, foreign)
    with :ok <- ended(repair, Enum.filter(own, &suspect?/1)), do: Enum.each(own, &revive(repair, &1))
    :ok
  end

  # Of another supervisor -------------------------------------------------------------------------------------------------

  # A group's supervisor takes its rows before it starts anybody (`Group.start_link/3`).
  defp take_over(%{place: {_, _, :group}}, _foreign), do: []
  defp take_over(_repair, []), do: []

  defp take_over(repair, foreign) do
    foreign |> Enum.group_by(&row(&1, :sup)) |> Enum.each(fn {sup, rows} -> Remains.await(sup, Rows.patience(rows)) end)
    foreign = reread(repair, foreign)
    {instance, domain, _part} = repair.place
    :ok = tell(instance, domain, length(foreign))

    Remains.kill_strays(
      for row(phase: phase, sup: sup) when phase in [:new, :starting] and is_pid(sup) <- foreign, uniq: true, do: sup
    )

    Remains.kill_all(for row(pid: pid) when is_pid(pid) <- foreign, do: pid)
    Enum.flat_map(foreign, &hand_over(repair, &1))
  end

  # Dead supervisors write no more, so what is read now is what they left.
  defp reread(%{context: {_, rows, _}, agents: agents}, foreign) do
    for row(id: id) <- foreign, row(sup: sup) = row when sup != agents <- [Rows.get(rows, id)], not alive?(sup), do: row
  end

  # As in OTP, a temporary agent ends with its supervisor.
  defp hand_over(%{context: {_, rows, _} = context, agents: agents}, row(id: id, wanted: wanted, phase: phase) = row) do
    if wanted == false or (Rows.restart(row) == :temporary and phase != :new) do
      Start.strike(context, row, if(wanted == false, do: :stopped, else: :lost))
      []
    else
      pass_on(rows, agents, id, row)
    end
  end

  defp pass_on(rows, agents, id, row) do
    if Rows.hand_over(rows, row, agents, Group.after_settling(row)), do: List.wrap(Rows.get(rows, id)), else: []
  end

  # Of this supervisor ----------------------------------------------------------------------------------------------------

  defp suspect?(row(phase: phase, pid: pid)), do: phase in [:up, :resting, :parked, :behind] and not alive?(pid)

  defp ended(_repair, []), do: :ok

  defp ended(%{context: {_, rows, _} = context} = repair, suspects) do
    with {:ok, listed} <- listed(repair) do
      for row(pid: pid, phase: phase) = row <- suspects, pid not in listed do
        if phase == :up and row(row, :wanted) in [true, false],
          do: Start.strike(context, row, if(row(row, :wanted), do: :ended, else: :stopped)),
          else: Rows.move(rows, row, [{pid_at(), nil}])
      end

      :ok
    end
  end

  # Without its supervisor there is nothing to repair: whoever follows that one begins with a repair of its own.
  defp listed(%{agents: agents}) do
    {:ok, MapSet.new(Supervisor.which_children(agents), &elem(&1, 1))}
  catch
    :exit, _gone -> :gone
  end

  defp revive(%{context: {_, rows, _}} = repair, row(id: id)) do
    case Rows.get(rows, id) do
      row(wanted: false, phase: phase) = row when phase != :stopped -> forget(repair, row)
      row(wanted: true, phase: :recover) = row -> start(repair, row)
      row(wanted: {:park, _reason}, pid: nil) = row -> start(repair, row)
      row(wanted: true, phase: phase, pid: nil) = row when phase != :stopped -> start(repair, row)
      _fine -> :ok
    end
  end

  # Whoever is at it will finish, or be found dead when this is asked for again.
  defp forget(%{place: {_, _, :group}, context: {_, rows, book}} = repair, row(id: id)) do
    Turn.try_take(book, id, fn ->
      with row(wanted: false, phase: phase, gen: gen) when phase != :stopped <- Rows.get(rows, id) do
        Supervisor.terminate_child(repair.agents, id)
        aside(repair, :forget, id, gen)
      end
    end)
  end

  defp forget(%{agents: agents} = repair, row(id: id, gen: gen, pid: pid)) do
    if alive?(pid), do: DynamicSupervisor.terminate_child(agents, pid)
    aside(repair, :forget, id, gen)
  end

  defp start(%{place: {_, _, :group}, agents: agents} = repair, row(id: id, gen: gen)) do
    with {:error, :running} <- Supervisor.restart_child(agents, id), do: aside(repair, :go_on, id, gen)
  end

  defp start(%{agents: agents}, row),
    do: DynamicSupervisor.start_child(agents, Start.child(row))

  defp aside(%{agents: agents, place: {_, _, part}, context: {instance, _, _}}, function, id, gen),
    do: Start.aside(agents, part, function, [instance, id, gen])

  defp alive?(pid), do: is_pid(pid) and Process.alive?(pid)
end

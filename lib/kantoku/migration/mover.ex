defmodule Kantoku.Migration.Mover do
  # Brings agents to the side that their mode says, one worker for each subject, and has those seen out that were left. All that counts
  # stands in the roster: whoever comes after this one, or after a worker, takes back what was begun and begins again.
  @moduledoc false
  use GenServer

  alias Kantoku.Migration.{Clerk, Mode, Move, Placed, Roster, Settings, Usher}
  alias Kantoku.Telemetry

  # How many of a subject are on their way at once.
  @abreast 8

  # After which those are tried again that could not go, in ms; doubles to the last.
  @again 100
  @longest 5_000

  # By process: `{:subject, {instance, subject}}` or `{:out, key}`; the same as a set. Subjects that were named again meanwhile; tries of
  # those that wait.
  defstruct workers: %{}, busy: MapSet.new(), again: MapSet.new(), tries: %{}

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Sees to the agents of a subject."
  @spec settle(atom, term) :: :ok
  def settle(instance, subject), do: GenServer.cast(__MODULE__, {:settle, {instance, subject}})

  @impl true
  def init(nil) do
    Process.flag(:trap_exit, true)
    for key <- Roster.all_left(), do: Usher.start(key)
    for {instance, subject} <- subjects(), do: settle(instance, subject)
    Clerk.wake()
    {:ok, %__MODULE__{}}
  end

  defp subjects,
    do:
      Enum.uniq(
        Roster.moving() ++ for({{instance, _feature, subject}, _gate, _} <- Settings.all(), do: {instance, subject})
      )

  @impl true
  def handle_cast({:settle, subject}, state), do: {:noreply, begin(state, subject)}

  # Once at a time: what is sent twice by who moved it and who came after that, one usher sees to.
  def handle_cast({:see_out, key}, state) do
    if at_work?(state, {:out, key}), do: {:noreply, state}, else: {:noreply, see_out(state, key)}
  end

  @impl true
  def handle_info({:EXIT, pid, reason}, state) do
    {what, workers} = Map.pop(state.workers, pid)
    {:noreply, ended(what, reason, %{state | workers: workers, busy: MapSet.delete(state.busy, what)})}
  end

  def handle_info({:again, subject}, state), do: {:noreply, begin(state, subject)}
  def handle_info(_other, state), do: {:noreply, state}

  defp begin(state, subject) do
    if at_work?(state, {:subject, subject}),
      do: %{state | again: MapSet.put(state.again, subject)},
      else: work(state, {:subject, subject}, fn -> exit({:shutdown, bring(subject)}) end)
  end

  defp see_out(state, key), do: work(state, {:out, key}, fn -> Usher.run(key) end)
  defp at_work?(state, what), do: MapSet.member?(state.busy, what)

  defp work(state, what, fun),
    do: %{state | workers: Map.put(state.workers, spawn_link(fun), what), busy: MapSet.put(state.busy, what)}

  defp ended(nil, _reason, state), do: state

  # It may have moved and left again before the end of its usher was heard of here.
  defp ended({:out, key}, :normal, state), do: if(Roster.left?(key), do: see_out(state, key), else: state)

  defp ended({:out, key}, _reason, state),
    do: tap(state, fn _ -> Process.send_after(self(), {:"$gen_cast", {:see_out, key}}, @again) end)

  defp ended({:subject, subject}, reason, state) do
    cond do
      subject in state.again -> begin(%{state | again: MapSet.delete(state.again, subject)}, subject)
      reason == {:shutdown, :done} -> %{state | tries: Map.delete(state.tries, subject)}
      true -> later(state, subject)
    end
  end

  defp later(state, subject) do
    tries = Map.get(state.tries, subject, 0)
    Process.send_after(self(), {:again, subject}, min(@again * Bitwise.bsl(1, min(tries, 10)), @longest))
    %{state | tries: Map.put(state.tries, subject, tries + 1)}
  end

  # One subject, in a worker ------------------------------------------------------------------------------------------------

  defp bring({instance, subject}) do
    gate = Settings.gate(instance, :supervision, subject)
    # Who moved one may have been killed before it had it seen out.
    for key <- Roster.all_left(instance, subject), do: Usher.start(key)
    rows = Roster.of(instance, subject)
    for {_, _, _, _, _, {:held, _, _}} = row <- rows, do: Move.release(row)
    for {{_, _, id}, :old, pid, _, _, _} <- rows, is_pid(pid), do: Placed.named(instance, subject, id, pid)

    rows
    |> Enum.filter(&away?(&1, gate, subject))
    |> Task.async_stream(&move/1, max_concurrency: @abreast, timeout: :infinity, ordered: false)
    |> Enum.reduce(:done, fn {:ok, answer}, so_far -> if match?({:stays, _}, answer), do: :waiting, else: so_far end)
  end

  defp away?({_key, {:moving, _side, _by, _frozen, _names}, _pid, _origin, _ledger, _stays}, _gate, _subject), do: true

  defp away?({{_, _, id}, side, _pid, _origin, _ledger, _stays}, gate, subject),
    do: Mode.side(gate, subject, id) != side

  # Who moved it may have come to the end of that before its own.
  defp move({key, {:moving, _side, by, _frozen, _names}, _pid, _origin, _ledger, _stays}) do
    ref = Process.monitor(by)

    receive do
      {:DOWN, ^ref, :process, _pid, _reason} -> take_back(Roster.fetch(key), by)
    end
  end

  defp move({key, _side, _pid, _origin, _ledger, stays} = row) do
    case Move.run(row) do
      {:stays, reason} = answer -> tap(answer, fn _ -> noted(key, reason, stays) end)
      :gone -> forget(row)
      :moved -> :moved
    end
  end

  defp take_back({_key, {:moving, _side, by, _frozen, _names}, _pid, _origin, _ledger, _stays} = row, by),
    do: Move.take_back(row)

  defp take_back(_moved_or_stopped, _by), do: {:stays, :cut_off}

  # It ended by itself.
  defp forget({key, side, _pid, _origin, _ledger, _stays} = row) do
    with {_key, ^side, _, _, _, _} = now <- Roster.fetch(key), nil <- Roster.pid(now), do: Roster.delete(key)
    row
  end

  defp noted({instance, subject, id} = key, reason, before) do
    with {_key, side, _pid, _origin, _ledger, _stays} when is_atom(side) <- Roster.fetch(key),
         do: Roster.put_place(key, side, reason)

    metadata = %{id: id, subject: subject, reason: reason}
    if kind(reason) != kind(before), do: Telemetry.emit(instance, [:migration, :stayed], %{}, metadata)
  end

  defp kind({kind, _more}), do: kind
  defp kind(reason), do: reason
end

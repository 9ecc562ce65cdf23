defmodule Demo.Foreman do
  # Hands out the files, pass after pass, a bounded number at a time, until the time is over and the last pass is done. Knows files by
  # number and path only, and agents not at all.
  #
  # A pass begins when the one before it is handed out, not when it is done: what waits for an agent that is away holds up nobody else.
  # Passes that are not done yet are few, as indexers remember what they have merged of each.
  @moduledoc false

  alias Demo.{Errand, Fleet, Gauges, Schedule}

  # Errands that wait for an agent to come back leave their place in the window to others, up to this many.
  @held_up 512
  # Keys that the indexers are to remember at most, or those of two passes.
  @remembered 100_000
  @tick 250

  @enforce_keys [:fleet, :files, :schedule, :tail]
  defstruct @enforce_keys ++ [pass: 0, queue: [], running: %{}, held_up: MapSet.new(), left: %{}]

  @doc """
  Works by a schedule; the number of passes. `tail` is called now and then once all is handed out.
  """
  @spec run(Fleet.t(), [{non_neg_integer, Path.t()}], Schedule.t(), tail :: (() -> term)) :: pos_integer
  def run(fleet, files, schedule, tail) do
    go_on(%__MODULE__{fleet: fleet, files: files, schedule: schedule, tail: tail})
  end

  defp go_on(state) do
    state = fill(state)

    if state.running == %{} do
      state.pass
    else
      state |> hear() |> go_on()
    end
  end

  # Handing out ----------------------------------------------------------------------------------------------------------

  defp fill(state) do
    cond do
      full?(state) -> state
      state.queue != [] -> state |> hand_out() |> fill()
      another?(state) -> state |> begin_pass() |> fill()
      true -> state
    end
  end

  defp full?(%{running: running, held_up: held_up, schedule: schedule}) do
    waiting = min(MapSet.size(held_up), @held_up)
    map_size(running) - waiting >= Schedule.window(schedule, now())
  end

  defp another?(%{pass: 0}), do: true

  defp another?(%{files: files, pass: pass, left: left, schedule: schedule}) do
    open = pass - floor_of(left, pass) + 1
    now() < schedule.deadline and open <= max(1, div(@remembered, length(files)))
  end

  defp begin_pass(%{pass: pass, files: files, left: left} = state) do
    Gauges.put(state.fleet.instance, :pass, pass + 1)
    publish(%{state | pass: pass + 1, queue: files, left: Map.put(left, pass + 1, length(files))})
  end

  defp hand_out(%{fleet: fleet, pass: pass, queue: [file | queue], running: running} = state) do
    foreman = self()
    runner = spawn_link(fn -> errand(foreman, fleet, pass, file) end)
    %{state | queue: queue, running: Map.put(running, runner, {pass, now_us()})}
  end

  defp errand(foreman, fleet, pass, file) do
    runner = self()
    outcome = Errand.run(fleet, pass, file, fn -> send(foreman, {:held_up, runner}) end)
    send(foreman, {:done, runner, outcome})
  end

  # Hearing --------------------------------------------------------------------------------------------------------------

  defp hear(state) do
    receive do
      {:held_up, runner} -> held_up(state, runner)
      {:done, runner, outcome} -> done(state, runner, outcome)
    after
      @tick ->
        if state.queue == [] and not another?(state), do: state.tail.()
        state
    end
  end

  # One that is done by now is heard of too late.
  defp held_up(%{running: running} = state, runner) do
    if is_map_key(running, runner), do: %{state | held_up: MapSet.put(state.held_up, runner)}, else: state
  end

  defp done(%{running: running, held_up: held_up, left: left} = state, runner, outcome) do
    {{pass, began}, running} = Map.pop!(running, runner)
    Gauges.record(state.fleet.instance, :work, now_us() - began)
    count(state.fleet.instance, outcome)
    left = if left[pass] == 1, do: Map.delete(left, pass), else: Map.update!(left, pass, &(&1 - 1))
    publish(%{state | running: running, held_up: MapSet.delete(held_up, runner), left: left})
  end

  defp count(instance, outcome) do
    Gauges.add(instance, :files)

    case outcome do
      {:text, _parts, bytes} -> Gauges.add(instance, :bytes, bytes)
      {:skip, reason} -> Gauges.add(instance, reason)
    end
  end

  # Every pass below the floor is done.
  defp publish(%{left: left, pass: pass, fleet: fleet} = state) do
    Gauges.put(fleet.instance, :floor, floor_of(left, pass + 1))
    state
  end

  defp floor_of(left, default), do: left |> Map.keys() |> Enum.min(fn -> default end)

  defp now, do: System.monotonic_time(:millisecond)
  defp now_us, do: System.monotonic_time(:microsecond)
end

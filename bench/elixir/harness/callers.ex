defmodule Bench.Callers do
  @moduledoc false
  # Processes that call in a closed loop, all at once. Knows nothing of what they call.

  @doc """
  Operations a second that `count` processes reach together within `millis`.

  `start` makes the state of caller `index` (from 0) in that caller; `batch` does some operations and answers how many,
  and the next state. The clock is read once a batch. What the loop itself costs is in the figure, on both sides alike.
  """
  @spec rate(pos_integer, pos_integer, (index :: non_neg_integer -> state), (state -> {pos_integer, state})) :: float
        when state: term
  def rate(count, millis, start, batch) do
    callers = for index <- 0..(count - 1), do: spawn_caller(index, millis, start, batch)
    release(callers)
    callers |> Enum.map(&await/1) |> Enum.sum()
  end

  @doc """
  Operations a second that `count` processes reach together within `millis`, each timed.

  The clock is read once for both: where one operation ends the next begins, so what `record` costs is in the next one's time.
  `work` may be told its caller's index.
  """
  @spec rate_timed(
          pos_integer,
          pos_integer,
          (index :: non_neg_integer, nanoseconds :: integer -> term),
          (() -> term) | (index :: non_neg_integer -> term)
        ) :: float
  def rate_timed(count, millis, record, work) do
    callers =
      for index <- 0..(count - 1) do
        spawn_ready(fn -> index end, fn index ->
          work = if is_function(work, 1), do: fn -> work.(index) end, else: work
          started = now()
          {operations, ended} = timed_loop(index, record, work, 0, started, started + millis * 1_000_000)
          operations * 1.0e9 / (ended - started)
        end)
      end

    release(callers)
    callers |> Enum.map(&await/1) |> Enum.sum()
  end

  @doc "Nanoseconds until `count` processes, let go at once, have each done `work` with its index."
  @spec elapsed(pos_integer, (index :: non_neg_integer -> term)) :: pos_integer
  def elapsed(count, work) do
    callers = for index <- 0..(count - 1), do: spawn_worker(index, work)
    started = now()
    release(callers)
    Enum.each(callers, &await/1)
    now() - started
  end

  @doc "Runs `body` while another process runs `work`, which has no end of its own and is killed afterwards."
  @spec beside((() -> no_return), (() -> result)) :: result when result: term
  def beside(work, body) do
    {pid, monitor} = spawn_monitor(work)

    try do
      body.()
    after
      Process.exit(pid, :kill)
      await_killed(monitor)
    end
  end

  @doc "Monotonic time in nanoseconds."
  @spec now() :: integer
  def now, do: :erlang.monotonic_time(:nanosecond)

  defp await_killed(monitor) do
    receive do
      {:DOWN, ^monitor, _, _, :killed} -> :ok
      {:DOWN, ^monitor, _, _, reason} -> exit({:background_died, reason})
    end
  end

  defp spawn_caller(index, millis, start, batch) do
    spawn_ready(fn -> start.(index) end, fn state ->
      started = now()
      {operations, ended} = loop(batch, state, 0, started + millis * 1_000_000)
      operations * 1.0e9 / (ended - started)
    end)
  end

  defp spawn_worker(index, work), do: spawn_ready(fn -> index end, work)

  defp spawn_ready(start, work) do
    parent = self()

    caller =
      spawn_monitor(fn ->
        state = start.()
        :erlang.garbage_collect()
        send(parent, {:ready, self()})

        receive do
          :go -> exit({:shutdown, work.(state)})
        end
      end)

    caller
  end

  defp release(callers) do
    Enum.each(callers, fn {pid, monitor} -> await_ready(pid, monitor) end)
    Enum.each(callers, fn {pid, _} -> send(pid, :go) end)
  end

  defp await_ready(pid, monitor) do
    receive do
      {:ready, ^pid} -> :ok
      {:DOWN, ^monitor, _, _, reason} -> exit({:caller_died, reason})
    end
  end

  defp await({_pid, monitor}) do
    receive do
      {:DOWN, ^monitor, _, _, {:shutdown, answer}} -> answer
      {:DOWN, ^monitor, _, _, reason} -> exit({:caller_died, reason})
    end
  end

  defp timed_loop(index, record, work, operations, before, deadline) do
    work.()
    time = now()
    record.(index, time - before)

    if time < deadline,
      do: timed_loop(index, record, work, operations + 1, time, deadline),
      else: {operations + 1, time}
  end

  defp loop(batch, state, operations, deadline) do
    {done, state} = batch.(state)
    time = now()

    if time < deadline,
      do: loop(batch, state, operations + done, deadline),
      else: {operations + done, time}
  end
end

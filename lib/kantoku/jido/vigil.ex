if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Vigil do
    # Finds out that the task of a call is dead. Jido starts one for each call, does not say which process it is, and does not watch it:
    # if it dies without a word the agent waits for ever. Knows the call and its task, nothing of callers.
    #
    # A timer runs while calls go on, no more than one a period. A call that it meets twice is looked at: a process aside asks the
    # task supervisor for a task that this agent started. There is one: it is watched from then on. There is none: it is dead.
    # So no call costs anything, and a dead task is found within two periods.
    @moduledoc false

    alias Jido.AgentServer.State
    alias Kantoku.Jido.Life

    @doc "To be called after each message: sees to it that a call which goes on will be looked at."
    @spec keep(Life.t(), State.t()) :: Life.t()
    def keep(life, %{signal_call_inflight: nil}), do: life
    def keep(%{looking: nil} = life, state), do: rearm(%{life | call: ref(state)})
    def keep(life, _state), do: life

    defp rearm(life) do
      ref = make_ref()
      Process.send_after(self(), {:"$kantoku", {:look, ref}}, life.probe_period)
      %{life | looking: ref}
    end

    defp ref(%{signal_call_inflight: %{ref: ref}}), do: ref
    defp ref(%{signal_call_inflight: nil}), do: nil

    @doc "The time to look has come."
    @spec look(Life.t(), State.t(), reference) :: Life.t()
    def look(%{looking: timer, call: call} = life, state, timer) do
      case ref(state) do
        nil -> unwatch(%{life | looking: nil, call: nil})
        ^call when life.task == nil -> life |> search(state) |> rearm()
        ^call -> rearm(life)
        other -> life |> unwatch() |> Map.put(:call, other) |> rearm()
      end
    end

    def look(life, _state, _timer), do: life

    # Whoever is asked may be busy, so it is not the agent that waits for it.
    defp search(%{call: call} = life, %{jido: jido}) do
      agent = self()
      spawn(fn -> send(agent, {:"$kantoku", {:task, call, find(Jido.task_supervisor_name(jido), agent)}}) end)
      life
    end

    defp find(supervisor, agent) do
      supervisor |> Task.Supervisor.children() |> Enum.find(:none, &(starter(&1) == agent))
    catch
      # Its tasks died with it.
      :exit, _reason -> :none
    end

    defp starter(task) do
      with {:dictionary, dictionary} <- Process.info(task, :dictionary),
           [starter | _] <- dictionary[:"$callers"],
           do: starter
    end

    @doc "What a search found, or that a task which is watched has ended: whether the call can still come to its end."
    @spec judge(Life.t(), State.t(), {:task, reference, pid | :none} | {:down, reference}) :: {:alive | :dead, Life.t()}
    def judge(life, state, {:task, call, found}) do
      cond do
        ref(state) != call -> {:alive, life}
        found == :none -> {:dead, life}
        life.task != nil -> {:alive, life}
        true -> {:alive, %{life | task: Process.monitor(found)}}
      end
    end

    # What it had to say came before the word of its end.
    def judge(%{task: monitor, call: call} = life, state, {:down, monitor}) do
      life = %{life | task: nil}
      if call != nil and ref(state) == call, do: {:dead, life}, else: {:alive, life}
    end

    @doc "Whether a monitor is one of this."
    @spec watches?(Life.t(), reference) :: boolean
    def watches?(%{task: monitor}, ref), do: monitor == ref

    defp unwatch(%{task: nil} = life), do: life

    defp unwatch(%{task: monitor} = life) do
      Process.demonitor(monitor, [:flush])
      %{life | task: nil}
    end
  end
end

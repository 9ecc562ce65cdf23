if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Carrier do
    # How the state of a Jido agent gets from one side to the other: as the agent itself, which the other process is started with. Both
    # sides have Jido's state; on ours callers wait in a line of ours.
    #
    # An agent leaves between two calls. One that is at work on a call is let go on until that has its answer; those that wait behind it are
    # taken out and called again on the other side, so that nobody new is begun here.
    @moduledoc false
    @behaviour Kantoku.Migration.Carrier

    alias Kantoku.Jido.{Form, Life}
    alias Kantoku.Migration.{Carrier, Mode, Restored, Settings}

    # For the call that goes on, in ms; and between two looks.
    @patience 2_000
    @look 2

    # What is tied to the process, by the field that says so.
    @ties [:parent, :children, :cron_jobs, :cron_specs]

    @impl true
    def freeze(pid), do: Carrier.freeze(pid)

    @impl true
    def pack(pid, _means), do: pack(pid, [], System.monotonic_time(:millisecond) + @patience)

    defp pack(pid, waiting, deadline) do
      case Carrier.inside(pid, &look/1) do
        {:ok, {:idle, agent, more}} -> {:ok, agent, waiting ++ more}
        {:ok, {:tied, ties}} -> refused(pid, waiting, {:tied, ties})
        {:ok, {:busy, more}} -> wait(pid, waiting ++ more, deadline)
        {:error, reason} -> refused(pid, waiting, reason)
      end
    end

    defp refused(pid, waiting, reason) do
      Enum.each(waiting, &send(pid, &1))
      {:error, reason}
    end

    defp wait(pid, waiting, deadline) do
      if System.monotonic_time(:millisecond) >= deadline do
        refused(pid, waiting, :busy)
      else
        Carrier.thaw(pid)
        Process.sleep(@look)
        with :ok <- frozen(pid, waiting), do: pack(pid, waiting, deadline)
      end
    end

    defp frozen(pid, waiting), do: with({:error, reason} <- Carrier.freeze(pid), do: refused(pid, waiting, reason))

    # In the agent's process.
    defp look(state) do
      case ties(state) do
        [] ->
          {more, state} = take(state)
          {if(busy?(state), do: {:busy, more}, else: {:idle, state.agent, more}), state}

        ties ->
          {{:tied, ties}, state}
      end
    end

    defp ties(state), do: for(field <- @ties, Map.get(state, field) not in [nil, %{}], do: field)

    defp busy?(state) do
      state.signal_call_inflight != nil or not :queue.is_empty(state.queue) or state.processing or
        state.completion_waiters != %{} or state.status != :idle or ahead?()
    end

    # On our side, while a call's result waits for the store.
    defp ahead?, do: ours?() and Life.get().ahead
    defp ours?, do: Process.get(Life) != nil

    defp take(state) do
      calls = for {from, signal} <- :queue.to_list(state.signal_call_queue), do: {:"$gen_call", from, {:signal, signal}}
      casts = for signal <- :queue.to_list(state.deferred_async_signals), do: {:"$gen_cast", {:signal, signal}}
      {calls ++ line() ++ casts, %{state | signal_call_queue: :queue.new(), deferred_async_signals: :queue.new()}}
    end

    defp line do
      if ours?() do
        {calls, life} = Life.take(Life.get())
        Life.put(life)
        for {from, signal, _carried} <- calls, do: {:"$gen_call", from, {:signal, signal}}
      else
        []
      end
    end

    @impl true
    def laden(%{spec: {Kantoku.Jido, _agent, opts}, agent: agent} = origin, moved) do
      opts = opts |> Keyword.delete(:initial_state) |> Keyword.put(:agent_module, module(moved, origin))
      %{origin | spec: {Kantoku.Jido, moved, opts}, agent: Keyword.put(agent, :restore, false)}
    end

    defp module(_moved, %{means: {:jido, module}}), do: module

    @impl true
    def unpack(_pid, _means, _state), do: :ok

    # Snapshots are a feature of their own.
    @impl true
    def agent_options({instance, module, id}) do
      case instance |> Settings.gate(:state, module) |> Mode.side(module, id) do
        :new -> []
        :old -> [store: nil]
      end
    end

    @doc "Whether the state would be the same, written and read again, by the agent's own `checkpoint/2` and `restore/2` if it has them."
    @spec restored(pid) :: :same | {:differs, term} | {:error, term}
    def restored(pid) do
      case Carrier.inside(pid, &{&1, &1}) do
        {:ok, state} -> trip(state)
        {:error, reason} -> {:error, reason}
      end
    end

    defp trip(state) do
      with {:ok, written} <- Form.dump(Form.held(state)),
           {:local, nil} <- {:local, Restored.local(written)},
           {:ok, read} <- written |> :erlang.term_to_binary() |> :erlang.binary_to_term() |> Form.load(state) do
        if read.agent.state === state.agent.state, do: :same, else: {:differs, :content}
      else
        {:local, kind} -> {:differs, {:local, kind}}
        {:error, reason} -> {:differs, reason}
      end
    end
  end
end

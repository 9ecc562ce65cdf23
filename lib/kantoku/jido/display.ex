if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Display do
    # Shows in an agent's entry how much waits or is at work, and what its server's status is. Knows the entry, nothing of the calls.
    @moduledoc false

    alias Jido.AgentServer.State
    alias Kantoku.Jido.Life
    alias Kantoku.Registry

    # A change of status is a change of the index: no more of them than this, in ms apart.
    @pause 100

    # Jido's queues have no count; they are walked when they were empty before, and then at each so many messages.
    @recount 64

    @doc "To be called after each message."
    @spec show(Life.t(), State.t()) :: Life.t()
    def show(life, state), do: life |> count(state) |> show_load(state) |> show_status(state)

    # Load ---------------------------------------------------------------------------------------------------------------

    defp count(life, %{queue: {[], []}, deferred_async_signals: {[], []}}), do: %{life | hidden: 0, counted: 0}

    defp count(%{counted: counted, hidden: hidden} = life, _state) when counted > 0 and hidden > 0,
      do: %{life | counted: counted - 1}

    defp count(life, state) do
      hidden = :queue.len(state.queue) + :queue.len(state.deferred_async_signals)
      %{life | hidden: hidden, counted: @recount}
    end

    defp show_load(life, state) do
      load = life.waiting + life.hidden + if(state.signal_call_inflight, do: 1, else: 0)
      if load == life.load, do: life, else: shown(life, load)
    end

    # Before the agent is introduced there is no entry: then the next message tries again.
    defp shown(%{handle: nil, holding: %{id: id, config: %{instance: instance}}} = life, load) do
      case Registry.load_handle(instance, id) do
        {:ok, handle} -> shown(%{life | handle: handle}, load)
        :error -> life
      end
    end

    defp shown(%{handle: handle, holding: %{config: %{instance: instance}}} = life, load) do
      case Registry.set_load(instance, handle, load) do
        :ok -> %{life | load: load}
        :error -> %{life | handle: nil}
      end
    end

    # Status -------------------------------------------------------------------------------------------------------------

    defp show_status(%{status: status} = life, %{status: status}), do: life
    defp show_status(%{showing: timer} = life, _state) when timer != nil, do: life

    defp show_status(%{shown_at: at} = life, state) do
      left = if at, do: at + @pause - now(), else: 0
      if left > 0, do: later(life, left), else: describe(life, state)
    end

    defp later(life, ms) do
      ref = make_ref()
      Process.send_after(self(), {:"$kantoku", {:show, ref}}, ms)
      %{life | showing: ref}
    end

    @doc "The time to show a status that changed too soon after another has come."
    @spec again(Life.t(), State.t(), reference) :: Life.t()
    def again(%{showing: ref} = life, state, ref), do: show_status(%{life | showing: nil, shown_at: nil}, state)
    def again(life, _state, _ref), do: life

    defp describe(%{holding: %{id: id, config: %{instance: instance}}} = life, %{status: status}) do
      case Registry.describe(instance, id, status: status) do
        :ok -> %{life | status: status, shown_at: now()}
        _not_introduced -> later(life, @pause)
      end
    end

    defp now, do: System.monotonic_time(:millisecond)
  end
end

if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Server do
    # The process of a Jido agent: each message is Jido.AgentServer's to answer, on Jido's own state. What is here is around that: its
    # start from a snapshot, a snapshot before an answer leaves, callers in a line of ours, its end.
    #
    # 1. What a call changed is written, as the policy says, before Jido is given the result and so before the caller has its answer.
    # 2. Jido has one call in its queue at most. It hands each task a copy of its whole state: with all who wait in it, a call
    #    would cost as much as there are callers.
    # 3. Exits are trapped, so that an orderly shutdown writes. Links mean what they mean without that.
    @moduledoc false
    use GenServer

    alias Jido.AgentServer
    alias Kantoku.Error
    alias Kantoku.Agent.{Config, Holding, Options, Redaction, Restoring, Writing}
    alias Kantoku.Jido.{Display, Form, Life, Serving, Traced, Vigil}
    alias Kantoku.Trace.{Agents, Handling}

    # Words. A call hands Jido's whole state around, three messages of it: from the heap that it would begin with, a process at work is
    # collected at each of them. One that hibernates has what it needs and no more.
    @heap 2_000

    @type argument :: %{
            module: module,
            server: keyword,
            options: map,
            restore: boolean,
            probe_period: pos_integer
          }

    @doc "Starts an agent's process, linked to the caller."
    @spec start_link(argument, Kantoku.Agent.Adapter.context()) :: GenServer.on_start()
    def start_link(argument, context) do
      options = Options.merge!(context.options, argument.options)
      argument = %{argument | options: options}

      server = [hibernate_after: options.hibernate_after, spawn_opt: [min_heap_size: @heap]]

      case GenServer.start_link(__MODULE__, {argument, context}, server) do
        {:error, {:already_registered, pid}} -> {:error, {:already_started, pid}}
        other -> other
      end
    end

    # Its start ------------------------------------------------------------------------------------------------------------

    @impl true
    def init({argument, context}) do
      Process.flag(:trap_exit, true)
      started = System.monotonic_time()
      Traced.learn()
      Handling.born(context.instance, context.id)

      with :ok <- running(argument.server[:jido]), {:ok, state, continue} <- AgentServer.init(argument.server) do
        live(argument, context, started)
        {:ok, state, continue}
      end
    end

    defp running(jido) do
      if Process.whereis(Jido.registry_name(jido)), do: :ok, else: {:stop, {:jido_not_running, jido}}
    end

    defp live(argument, context, started) do
      config = Config.shared(context.instance, argument.module, argument.options, Form)

      Life.put(%Life{
        holding: Holding.new(config, context.id, context.incarnation),
        restore: argument.restore or not context.first,
        started: started,
        probe_period: argument.probe_period
      })
    end

    @impl true
    def handle_continue(continue, state) do
      life = Life.get()

      if Holding.unborn?(life.holding),
        do: born(life, continue, state),
        else: follow(AgentServer.handle_continue(continue, state))
    end

    # The state is there before Jido makes its strategy, plugins and schedules of it.
    defp born(life, continue, state) do
      with {:ok, holding, restored?} <- Restoring.restore(life.holding, Form.held(state), life.restore),
           {:ok, state} <- loaded(holding, restored?, state) do
        result = AgentServer.handle_continue(continue, state)
        begin(life, holding, restored?, state_of(result))
        follow(result)
      else
        {:park, reason} -> park(reason, state)
        {:error, reason} -> {:stop, reason, state}
      end
    end

    defp loaded(_holding, false, state), do: {:ok, state}

    defp loaded(%{agent: written}, true, state) do
      with {:error, reason} <- Form.load(written, state), do: {:park, {:restore_failed, reason}}
    end

    # What Jido itself made of it is no change of the agent's.
    defp begin(life, holding, restored?, state) do
      holding = Holding.bear(holding, Form.held(state))
      metadata = %{pid: self(), incarnation: holding.incarnation, revision: holding.revision, restored: restored?}
      Holding.emit(holding, [:agent, :ready], %{duration: System.monotonic_time() - life.started}, metadata)
      Life.put(%{life | holding: holding})
    end

    defp park(reason, state) do
      %{holding: holding} = Life.get()
      Kantoku.Agents.park_me(holding.config.instance, holding.id, holding.incarnation, reason)
      {:stop, {:shutdown, {:kantoku_park, reason}}, state}
    end

    # Messages -------------------------------------------------------------------------------------------------------------

    @impl true
    def handle_call({:"$kantoku", :state}, _from, state), do: {:reply, state.agent, state}
    def handle_call({:"$kantoku", :info}, _from, state), do: {:reply, Holding.about(Life.get().holding), state}

    def handle_call({:"$kantoku", :snapshot}, from, state), do: written(state, &Writing.write_for(&1, from))
    def handle_call({:"$kantoku", :settle}, from, state), do: written(state, &Writing.drain(&1, from))

    def handle_call({:"$kantoku", {:traced, place, sent, request}}, from, state),
      do: called(request, from, {place, sent}, state)

    def handle_call(request, from, state), do: called(request, from, Agents.carried(from), state)

    # As other agents are called by `Kantoku.call/4`: with what they are to do.
    defp called(%Jido.Signal{} = signal, from, carried, state), do: called({:signal, signal}, from, carried, state)

    defp called({:signal, signal}, from, carried, %{signal_call_inflight: %{}} = state) do
      Life.get() |> Life.queue({from, signal, carried}) |> Life.put()
      {:noreply, note(state)}
    end

    defp called({:signal, %Jido.Signal{}} = request, from, carried, state),
      do: follow(begun({from, elem(request, 1), carried}, state))

    defp called(request, from, _carried, state), do: follow(AgentServer.handle_call(request, from, state))

    defp begun({from, signal, carried}, state) do
      {signal, life} = Serving.begin(Life.get(), signal, carried)
      Life.put(life)
      AgentServer.handle_call({:signal, signal}, from, state)
    end

    @impl true
    def handle_cast({:"$kantoku", {:traced, place, sent, request}}, state), do: told(request, {place, sent}, state)
    def handle_cast(request, state), do: told(request, nil, state)

    defp told(%Jido.Signal{} = signal, carried, state), do: told({:signal, signal}, carried, state)

    # Jido puts it off until the call that goes on has its result.
    defp told({:signal, %Jido.Signal{} = signal}, carried, %{signal_call_inflight: %{}} = state) do
      signal = if carried, do: Traced.trace(signal, elem(carried, 0)), else: Traced.trace(signal)
      follow(AgentServer.handle_cast({:signal, signal}, state))
    end

    defp told({:signal, %Jido.Signal{} = signal}, carried, state) do
      follow(Serving.told(Life.get(), signal, carried, &AgentServer.handle_cast({:signal, &1}, state)))
    end

    defp told(request, _carried, state), do: follow(AgentServer.handle_cast(request, state))

    @impl true
    def handle_info({:signal_call_result, ref, _result} = message, %{signal_call_inflight: %{ref: ref}} = state) do
      case keep_result(message, state) do
        :kept -> result(message, state)
        :waiting -> {:noreply, state}
      end
    end

    def handle_info({{:"$kantoku", {:kept, message}}, :ok}, state), do: result(message, state)
    def handle_info({{:"$kantoku", {:kept, message}}, error}, state), do: result(message, refuse(state, error))

    def handle_info({:kantoku_store, ref, result}, state), do: written(state, &Writing.answered(&1, ref, result))
    def handle_info({:"$kantoku", :write}, state), do: written(state, &Writing.timer/1)

    def handle_info({:"$kantoku", {:show, ref}}, state) do
      Life.get() |> Display.again(state, ref) |> Life.put()
      {:noreply, state}
    end

    def handle_info({:"$kantoku", {:look, ref}}, state) do
      Life.get() |> Vigil.look(state, ref) |> Life.put()
      {:noreply, state}
    end

    def handle_info({:"$kantoku", {:task, _call, _found} = news}, state), do: judged(news, state)

    def handle_info({:DOWN, ref, :process, _pid, _reason} = message, state) do
      if Vigil.watches?(Life.get(), ref),
        do: judged({:down, ref}, state),
        else: follow(AgentServer.handle_info(message, state))
    end

    def handle_info(:process_deferred_signal, %{signal_call_inflight: nil} = state),
      do: follow(put_off(:queue.peek(state.deferred_async_signals), state))

    def handle_info({:EXIT, _pid, :normal}, state), do: {:noreply, state}
    def handle_info({:EXIT, _pid, reason}, state), do: {:stop, reason, state}
    def handle_info(message, state), do: follow(AgentServer.handle_info(message, state))

    # Of one that Jido gave a trace of its own nobody here knows where it came from.
    defp put_off(found, state) do
      serve = fn _signal -> AgentServer.handle_info(:process_deferred_signal, state) end

      case found do
        {:value, signal} ->
          if(Traced.followed?(signal), do: Serving.told(Life.get(), signal, nil, serve), else: serve.(signal))

        :empty ->
          serve.(nil)
      end
    end

    # Results --------------------------------------------------------------------------------------------------------------

    # Before the caller is answered (1). With `:sync` its answer waits until the store says so.
    defp keep_result({:signal_call_result, _ref, result} = message, state) when elem(result, 0) == :ok do
      life = Life.get()
      held = Form.held(AgentServer.State.update_agent(state, elem(result, 1)))
      if Form.same?(life.holding.agent, held), do: :kept, else: keep_change(life, held, message)
    end

    defp keep_result(_message, _state), do: :kept

    defp keep_change(%{holding: %{config: %{options: %{durability: :sync, store: {_, _}}}}} = life, held, message) do
      from = {self(), {:"$kantoku", {:kept, message}}}
      Life.put(%{life | ahead: true, holding: life.holding |> changed(held) |> Writing.changed_for(false, from, :ok)})
      :waiting
    end

    defp keep_change(life, held, _message) do
      Life.put(%{life | holding: life.holding |> changed(held) |> Writing.changed(false)})
      :kept
    end

    defp changed(holding, held) do
      holding = Holding.change(holding, held, [])
      Holding.emit(holding, [:agent, :state_changed], %{revision: holding.revision}, %{directives: 0})
      holding
    end

    # The change is made all the same, as in `Kantoku.Agent.Server`; only its caller hears that it may not last.
    defp refuse(%{signal_call_inflight: %{from: from} = call} = state, error) do
      GenServer.reply(from, error)
      %{state | signal_call_inflight: %{call | from: {self(), :"$kantoku_unheard"}}}
    end

    # Whose turn is next is given to Jido first: it begins that call as it ends this one (2).
    defp result({:signal_call_result, _ref, result} = message, state) do
      {next, life} = Life.get() |> Serving.ended(result) |> Life.next()
      Life.put(%{life | ahead: false})
      follow(AgentServer.handle_info(message, queued(next, state)))
    end

    defp queued(nil, state), do: state

    defp queued(call, state) do
      {:noreply, state} = begun(call, state)
      state
    end

    # A task that died -----------------------------------------------------------------------------------------------------

    defp judged(news, state) do
      {verdict, life} = Vigil.judge(Life.get(), state, news)
      Life.put(life)
      if verdict == :dead, do: replaced(life, state), else: {:noreply, state}
    end

    # What it holds is its state as of the last call that came to its end; so its successor has it.
    defp replaced(life, %{signal_call_inflight: %{from: from}} = state) do
      {waiting, life} = Life.leave(life)
      error = Error.new(:crashed, id: life.holding.id, exit: :task_died)
      Enum.each([from | waiting], &GenServer.reply(&1, {:error, error}))
      Holding.emit(life.holding, [:agent, :stuck], %{callers: length(waiting) + 1}, %{pid: self()})
      life |> Serving.broken("task_died") |> Life.put()
      {:stop, :task_died, state}
    end

    # After every message --------------------------------------------------------------------------------------------------

    defp follow(result), do: tap(result, &(&1 |> state_of() |> note()))

    defp state_of({:noreply, state}), do: state
    defp state_of({:noreply, state, _next}), do: state
    defp state_of({:reply, _reply, state}), do: state
    defp state_of({:reply, _reply, state, _next}), do: state
    defp state_of({:stop, _reason, state}), do: state
    defp state_of({:stop, _reason, _reply, state}), do: state

    defp note(state) do
      life = Life.get()
      life = if life.ahead, do: life, else: %{life | holding: noted(life.holding, Form.held(state))}
      life |> Display.show(state) |> Vigil.keep(state) |> Life.put()
      state
    end

    defp noted(holding, held) do
      if Form.same?(holding.agent, held),
        do: Writing.settled(holding),
        else: holding |> changed(held) |> Writing.changed(false) |> Writing.settled()
    end

    defp written(state, fun) do
      Life.update_holding(&(&1 |> fun.() |> Writing.settled()))
      {:noreply, state}
    end

    # Its end --------------------------------------------------------------------------------------------------------------

    @impl true
    def terminate(reason, state) do
      %{holding: holding} = life = Life.get()
      if not Holding.unborn?(holding), do: ended(reason, state, life)
    end

    # One without its state has begun nothing, and a lifecycle of Jido's would keep what it has in place of what it lacks.
    defp ended(reason, state, life) do
      life = Serving.broken(life, "stopped")
      Life.put(%{life | holding: Writing.last(life.holding)})
      AgentServer.terminate(reason, state)
    end

    # Older Elixir does not know this callback of OTP 25, newer asks for the annotation.
    @doc false
    if {:format_status, 1} in GenServer.behaviour_info(:callbacks), do: @impl(true)

    def format_status(status) do
      case Life.get() do
        %{holding: %{config: %{options: %{redact: true}}} = holding} -> Redaction.status(status, holding)
        _not_redacted -> status
      end
    end
  end
end

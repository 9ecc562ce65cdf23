if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Door do
    @moduledoc """
    Lets code that calls `Jido.Agent.WorkerPool` run on a pool of Kantoku's, unchanged.

    Jido's worker pools are poolboy's, and `Jido.Agent.WorkerPool` only sends poolboy's messages to a name. A door is a process under that
    name which understands them:

        children = [
          MyApp.Jido,
          {Kantoku,
           name: MyApp.Agents,
           pools: [[name: :fast_search, worker: {Kantoku.Jido, MyApp.Search, jido: MyApp.Jido}, target: 8, max_overflow: 4]]},
          {Kantoku.Jido.Door, jido: MyApp.Jido, pool: {MyApp.Agents, :fast_search}}
        ]

    Who waits waits in the pool's line, and its size, scaling and restarts are the pool's. `:jido` and `:pool` are required; `:as` is the name
    that callers use, by default the pool's.

    A check-out takes one more process than `Kantoku.Jido.WorkerPool`, which asks the pool itself. What differs from poolboy:

      * a caller that the pool refuses (`Kantoku.Pool`'s `:max_queue`, overload, a quota) waits on and is tried again, until its own time is
        over: then it exits, as with poolboy;
      * a check-out that does not wait gets `:full` while an overflow worker is only being started;
      * what a caller that died had out is free when the worker has answered, not before.
    """
    use GenServer

    alias Kantoku.Engine.Pools
    alias Kantoku.Jido.PlugIn
    alias Kantoku.Pool.Calls

    # How long a caller is held back that the pool refused without saying for how long, in ms; and the least.
    @pause 100
    @least 10

    @enforce_keys [:pool]
    defstruct [:pool, waiting: %{}, held: %{}, callers: %{}, asked: %{}]

    @doc "As a child of a supervisor, after the instances of Jido and Kantoku."
    @spec child_spec(keyword) :: Supervisor.child_spec()
    def child_spec(opts),
      do: %{id: {__MODULE__, opts[:jido], opts[:as] || opts[:pool]}, start: {__MODULE__, :start_link, [opts]}}

    @doc "Opens a door. Raises `ArgumentError` on a bad option or if Jido is not as it was."
    @spec start_link(keyword) :: GenServer.on_start()
    def start_link(opts) do
      PlugIn.check!()
      {jido, name, pool} = options!(opts)
      GenServer.start_link(__MODULE__, {jido, name, pool}, name: Jido.agent_pool_name(jido, name))
    end

    defp options!(opts) do
      for {option, value} <- opts,
          option not in [:jido, :pool, :as],
          do: refuse!(option, "one of [:jido, :pool, :as]", value)

      jido = opts[:jido] || refuse!(:jido, "the name of an instance of Jido", nil)

      case opts[:pool] do
        {instance, pool} when is_atom(instance) and is_atom(pool) -> {jido, opts[:as] || pool, {instance, pool}}
        other -> refuse!(:pool, "{instance, pool}", other)
      end
    end

    defp refuse!(option, expected, given) do
      raise ArgumentError, "Kantoku.Jido.Door, option #{inspect(option)}: expected #{expected}, got: #{inspect(given)}"
    end

    @doc "The pool behind a door, for a Jido instance and the name that callers use; exits if there is none, as poolboy does."
    @spec pool!(atom, atom) :: Kantoku.Pool.t()
    def pool!(jido, name) do
      case Registry.meta(Jido.registry_name(jido), {:kantoku_pool, name}) do
        {:ok, pool} -> pool
        :error -> GenServer.call(Jido.agent_pool_name(jido, name), :kantoku_pool)
      end
    rescue
      # The registry of an instance that is being started again.
      ArgumentError -> GenServer.call(Jido.agent_pool_name(jido, name), :kantoku_pool)
    end

    @impl true
    def init({jido, name, pool}) do
      # Where it can be read without asking this process. If that registry is started again, this process is asked.
      if Process.whereis(Jido.registry_name(jido)),
        do: Registry.put_meta(Jido.registry_name(jido), {:kantoku_pool, name}, pool)

      {:ok, %__MODULE__{pool: pool}}
    end

    # poolboy's messages ---------------------------------------------------------------------------------------------------

    @impl true
    def handle_call({:checkout, request, block?}, {caller, _tag} = from, door) do
      case ask(door.pool) do
        {:granted, ticket, worker, _ref} ->
          {:reply, worker, hold(door, worker, ticket, request, Process.monitor(caller))}

        {:queued, ticket, ref} when block? ->
          {:noreply, wait(door, ref, ticket, from, request, Process.monitor(caller))}

        {:queued, ticket, ref} ->
          {:reply, :full, give_up(door, ticket, ref)}

        {:refused, ms} when block? ->
          {:noreply, postpone(door, from, request, Process.monitor(caller), ms)}

        {:refused, _ms} ->
          {:reply, :full, door}
      end
    end

    def handle_call(:status, _from, door), do: {:reply, status(door.pool), door}

    def handle_call(:get_avail_workers, _from, door),
      do: {:reply, for(%{state: :ready, pid: pid} <- workers(door), do: pid), door}

    def handle_call(:get_all_workers, _from, door),
      do:
        {:reply, for(%{pid: pid} when is_pid(pid) <- workers(door), do: {:undefined, pid, :worker, [Jido.AgentServer]}),
         door}

    def handle_call(:get_all_monitors, _from, door),
      do: {:reply, for({worker, list} <- door.held, {_ticket, _request, monitor} <- list, do: {worker, monitor}), door}

    def handle_call(:stop, _from, door), do: {:stop, :normal, :ok, door}
    def handle_call(:kantoku_pool, _from, door), do: {:reply, door.pool, door}
    def handle_call(_other, _from, door), do: {:reply, {:error, :invalid_message}, door}

    @impl true
    def handle_cast({:checkin, worker}, door), do: {:noreply, checkin(door, worker, :ok)}
    def handle_cast({:cancel_waiting, request}, door), do: {:noreply, cancel(door, request)}
    def handle_cast(_other, door), do: {:noreply, door}

    @impl true
    def handle_info({:kantoku_pool, ref, notice}, door), do: {:noreply, told(door, ref, notice)}
    def handle_info({:again, ref}, door), do: {:noreply, again(door, ref)}

    def handle_info({:DOWN, monitor, :process, _caller, _reason}, door) do
      case door.callers do
        %{^monitor => request} -> {:noreply, cancel(door, request)}
        _gone -> {:noreply, door}
      end
    end

    def handle_info(_other, door), do: {:noreply, door}

    # Check-out ------------------------------------------------------------------------------------------------------------

    # Without a deadline: a caller that has waited enough says so, or is dead.
    defp ask({instance, pool} = whose) do
      ref = make_ref()

      case Pools.pool_checkout(instance, pool, ref, Calls.params(whose, timeout: :infinity)) do
        {:granted, ticket, worker} -> {:granted, ticket, worker, ref}
        {:queued, ticket} -> {:queued, ticket, ref}
        {:error, _reason, retry_in} -> {:refused, retry_in}
        :unknown -> {:refused, @pause}
      end
    end

    # `asked` says where a request is: `{:held, worker}`, or `{:waiting, ref}`, where `ref` is the pool's tag or the timer's.
    defp hold(door, worker, ticket, request, monitor) do
      held = Map.update(door.held, worker, [{ticket, request, monitor}], &(&1 ++ [{ticket, request, monitor}]))

      %{
        door
        | held: held,
          asked: Map.put(door.asked, request, {:held, worker}),
          callers: Map.put(door.callers, monitor, request)
      }
    end

    defp wait(door, ref, ticket, from, request, monitor) do
      %{
        door
        | waiting: Map.put(door.waiting, ref, {ticket, from, request, monitor}),
          asked: Map.put(door.asked, request, {:waiting, ref}),
          callers: Map.put(door.callers, monitor, request)
      }
    end

    defp postpone(door, from, request, monitor, ms) do
      ref = make_ref()
      Process.send_after(self(), {:again, ref}, max(ms, @least))
      wait(door, ref, nil, from, request, monitor)
    end

    defp again(door, ref) do
      case Map.pop(door.waiting, ref) do
        {{nil, from, request, monitor}, waiting} -> %{door | waiting: waiting} |> try_again(from, request, monitor)
        _gone -> door
      end
    end

    defp try_again(door, from, request, monitor) do
      case ask(door.pool) do
        {:granted, ticket, worker, _ref} -> grant(door, from, worker, ticket, request, monitor)
        {:queued, ticket, ref} -> wait(door, ref, ticket, from, request, monitor)
        {:refused, ms} -> postpone(door, from, request, monitor, ms)
      end
    end

    defp grant(door, from, worker, ticket, request, monitor) do
      GenServer.reply(from, worker)
      hold(door, worker, ticket, request, monitor)
    end

    defp told(door, ref, notice) do
      case {Map.pop(door.waiting, ref), notice} do
        {{nil, _waiting}, _of_one_that_gave_up} ->
          door

        {{{ticket, from, request, monitor}, waiting}, {:granted, worker}} ->
          grant(%{door | waiting: waiting}, from, worker, ticket, request, monitor)

        {{{_, from, request, monitor}, waiting}, {:refused, _, ms}} ->
          postpone(%{door | waiting: waiting}, from, request, monitor, ms)

        {{{_, from, request, monitor}, waiting}, _over} ->
          postpone(%{door | waiting: waiting}, from, request, monitor, @pause)
      end
    end

    # Check-in -------------------------------------------------------------------------------------------------------------

    defp checkin(door, worker, outcome) do
      case door.held do
        %{^worker => [{_ticket, request, _monitor} | _]} -> let_go(door, worker, request, outcome)
        _not_held -> door
      end
    end

    defp let_go(%{pool: {instance, pool}} = door, worker, request, outcome) do
      {[{ticket, _request, monitor}], left} = Enum.split_with(door.held[worker], &(elem(&1, 1) == request))
      Process.demonitor(monitor, [:flush])
      Pools.pool_checkin(instance, pool, ticket, outcome)
      held = if left == [], do: Map.delete(door.held, worker), else: Map.put(door.held, worker, left)
      forget(%{door | held: held}, request, monitor)
    end

    defp cancel(door, request) do
      case door.asked do
        %{^request => {:held, worker}} -> let_go(door, worker, request, :abandoned)
        %{^request => {:waiting, ref}} -> stop_waiting(door, request, ref)
        _gone -> door
      end
    end

    defp stop_waiting(door, request, ref) do
      {{ticket, _from, _request, monitor}, waiting} = Map.pop(door.waiting, ref)
      Process.demonitor(monitor, [:flush])
      %{door | waiting: waiting} |> forget(request, monitor) |> give_up(ticket, ref)
    end

    defp forget(door, request, monitor),
      do: %{door | asked: Map.delete(door.asked, request), callers: Map.delete(door.callers, monitor)}

    # A grant that crosses this goes back in the engine; its message finds nobody here.
    defp give_up(door, nil, _ref), do: door

    defp give_up(%{pool: {instance, pool}} = door, ticket, _ref) do
      Pools.pool_cancel(instance, pool, ticket)
      door
    end

    # Looking --------------------------------------------------------------------------------------------------------------

    defp status(pool) do
      case Kantoku.Pool.status(pool) do
        {:ok, status} -> {state(status), status.free, max(status.workers - status.target, 0), status.ongoing}
        {:error, _gone} -> {:full, 0, 0, 0}
      end
    end

    defp state(%{free: free}) when free > 0, do: :ready
    defp state(%{workers: workers, wanted: wanted}) when workers < wanted, do: :overflow
    defp state(_status), do: :full

    defp workers(%{pool: pool}) do
      with {:ok, workers} <- Kantoku.Pool.workers(pool), do: workers, else: (_ -> [])
    end
  end
end

if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.WorkerPool do
    @moduledoc """
    The functions of `Jido.Agent.WorkerPool`, on a pool of Kantoku's.

    With `alias Kantoku.Jido.WorkerPool` in place of Jido's, calls go to the pool without a process in between. Which pool that is says its
    door (`Kantoku.Jido.Door`):

        {:ok, agent} = Kantoku.Jido.WorkerPool.call(MyApp.Jido, :fast_search, signal)

    Arguments, results and exits are Jido's: where there is no worker in time, the caller exits with `{:timeout, _}`, and where the
    worker dies, with `{:crashed, _}`; what else the pool refuses is the exit's reason, as a `Kantoku.Error`.
    """

    alias Jido.Config.Defaults
    alias Kantoku.Error
    alias Kantoku.Jido.Door
    alias Kantoku.Pool

    @type instance :: atom
    @type pool_name :: atom

    @doc """
    Runs `fun` with the pid of a worker that nobody else is given meanwhile. `:timeout` (ms, default 5,000) is for the wait.

        Kantoku.Jido.WorkerPool.with_agent(MyApp.Jido, :fast_search, &Jido.AgentServer.call(&1, signal))
    """
    @spec with_agent(instance, pool_name, (pid -> result), keyword) :: result when result: term
    def with_agent(jido, pool, fun, opts \\ []) when is_function(fun, 1) do
      timeout = Keyword.get(opts, :timeout, Defaults.worker_pool_checkout_timeout_ms())

      case Pool.run(Door.pool!(jido, pool), fun, timeout: timeout) do
        {:ok, result} -> result
        {:error, error} -> leave(error, :with_agent, [jido, pool, fun, opts])
      end
    end

    @doc """
    Sends a signal to a worker, or has it wait for one, and answers as `Jido.AgentServer.call/3` does. `:timeout` and `:call_timeout` (ms,
    default 5,000 each) are for the wait and the work; here both together are what the caller waits at most.
    """
    @spec call(instance, pool_name, term, keyword) :: term
    def call(jido, pool, signal, opts \\ []) do
      case Pool.call(Door.pool!(jido, pool), {:signal, signal}, timeout: both(opts)) do
        {:ok, answer} -> answer
        {:error, error} -> leave(error, :call, [jido, pool, signal, opts])
      end
    end

    defp both(opts) do
      wait = Keyword.get(opts, :timeout, Defaults.worker_pool_checkout_timeout_ms())
      work = Keyword.get(opts, :call_timeout, Defaults.worker_pool_call_timeout_ms())
      if :infinity in [wait, work], do: :infinity, else: wait + work
    end

    @doc "Sends a signal to a worker without waiting for what becomes of it."
    @spec cast(instance, pool_name, term, keyword) :: :ok
    def cast(jido, pool, signal, opts \\ []) do
      with {:error, error} <- Pool.cast(Door.pool!(jido, pool), {:signal, signal}),
           do: leave(error, :cast, [jido, pool, signal, opts])
    end

    @doc """
    Takes a worker out, until `checkin/3` or the caller's end. `:timeout` in ms; with `block: false` the answer is `:full` if none is
    free. Through the door, so that any process may hand it in.
    """
    @spec checkout(instance, pool_name, keyword) :: pid | :full
    def checkout(jido, pool, opts \\ []) do
      timeout = Keyword.get(opts, :timeout, Defaults.worker_pool_checkout_timeout_ms())
      request = make_ref()
      ask(Jido.agent_pool_name(jido, pool), request, Keyword.get(opts, :block, true), timeout)
    end

    defp ask(door, request, block?, timeout) do
      GenServer.call(door, {:checkout, request, block?}, timeout)
    catch
      kind, reason ->
        GenServer.cast(door, {:cancel_waiting, request})
        :erlang.raise(kind, reason, __STACKTRACE__)
    end

    @doc "Hands a worker in."
    @spec checkin(instance, pool_name, pid) :: :ok
    def checkin(jido, pool, pid) when is_pid(pid), do: GenServer.cast(Jido.agent_pool_name(jido, pool), {:checkin, pid})

    @doc "As Jido's: `state` (`:ready`, `:overflow` or `:full`), `available`, `overflow` and `checked_out` workers."
    @spec status(instance, pool_name) :: map
    def status(jido, pool) do
      {state, available, overflow, checked_out} = GenServer.call(Jido.agent_pool_name(jido, pool), :status)
      %{state: state, available: available, overflow: overflow, checked_out: checked_out}
    end

    defp leave(error, function, args), do: exit({reason(error), {__MODULE__, function, args}})

    defp reason(%Error{reason: reason}) when reason in [:timeout, :deadline], do: :timeout
    defp reason(%Error{reason: :crashed}), do: :crashed
    defp reason(error), do: error
  end
end

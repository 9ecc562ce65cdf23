defmodule Kantoku.Pool.Calls do
  # Calls and casts through a pool, in the process that makes them. Knows no foreman and no worker but by what comes back.
  #
  # A call is two calls of the engine and one receive. Each clause of a receive here has the fresh reference in its pattern: so the
  # compiler lets the VM skip all that was in the mailbox before, however long that is.
  @moduledoc false

  # `[[:alias | alias] | ref]` is how OTP writes a tag whose answer is sent to an alias, and that says more than the alias.
  @dialyzer {:no_improper_lists, strict: 5, await_strict: 6, give_up_strict: 6, retire: 2}

  alias Kantoku.Engine.Pools
  alias Kantoku.Error
  alias Kantoku.Pool.{Detours, Notes, Request, Strategy, Tenants}
  alias Kantoku.Trace.Open

  # The message that a ticket is over is on its way when we are told so; this is only against waiting for ever, in ms.
  @patience 1_000

  # Where a process keeps its alias.
  @alias :"$kantoku_alias"

  @doc "See `Kantoku.Pool.call/3`."
  @spec call(Kantoku.Pool.t(), term, keyword) :: {:ok, term} | {:error, Error.t()}
  def call({instance, pool}, request, []), do: strict(instance, pool, request, nil, unquote(Request.timeout()))
  def call({instance, pool}, request, timeout: :infinity), do: strict(instance, pool, request, nil, :infinity)
  def call(pool, request, opts), do: routed(pool, request, opts)

  @doc "As `call/3`, of a pool whose workers a module may choose."
  @spec routed(Kantoku.Pool.t(), term, keyword) :: {:ok, term} | {:error, Error.t()}
  def routed({instance, pool} = whose, request, opts) do
    %{timeout: timeout} = options = Request.new!(opts)
    params = Request.params(options, Strategy.route(whose, options))

    Tenants.call(whose, options.tenant, fn ->
      case options.replies do
        :strict -> strict(instance, pool, request, params, timeout)
        :fast -> fast(instance, pool, request, params, timeout)
      end
    end)
  end

  # Strict: an answer that comes late finds no alias, and never arrives ------------------------------------------------------

  # One alias serves a process for all its calls, as they come one after another and the reference tells them apart: to make one
  # for each would cost as much as both calls of the engine. It ends with the first answer that is not waited for.

  defp strict(instance, pool, request, params, timeout) do
    alias = own_alias()
    ref = make_ref()

    case Pools.pool_call(instance, pool, [[:alias | alias] | ref], request, params) do
      {:sent, ticket, _worker} ->
        await_strict(instance, pool, ticket, alias, ref, timeout)

      {:queued, ticket} ->
        Open.event("kantoku.queued", [])
        await_strict(instance, pool, ticket, alias, ref, timeout)

      refusal ->
        refused(instance, pool, refusal)
    end
  end

  # Whoever took over another's process dictionary did not become it.
  defp own_alias do
    case Process.get(@alias) do
      {pid, alias} when pid == self() -> alias
      _none -> new_alias()
    end
  end

  defp new_alias do
    alias = :erlang.alias([:explicit_unalias])
    Process.put(@alias, {self(), alias})
    alias
  end

  # To compare the alias as well would keep the compiler of OTP 27 from skipping anything.
  defp await_strict(instance, pool, ticket, alias, ref, timeout) do
    receive do
      {[_alias | ^ref], reply} ->
        answered(instance, pool, ticket, [[:alias | alias] | ref], reply)

      {:kantoku_pool, [_alias | ^ref], {:reply, reply}} ->
        {:ok, reply}

      {:kantoku_pool, [_alias | ^ref], notice} ->
        (sent?(notice) && retire(alias, ref)) || told(instance, pool, notice)
    after
      timeout -> give_up_strict(instance, pool, ticket, alias, ref, timeout)
    end
  end

  # Whether a worker had the call that ended so.
  defp sent?(:down), do: true
  defp sent?({:refused, reason, _retry_in}), do: reason == :closed

  defp give_up_strict(instance, pool, ticket, alias, ref, timeout) do
    outcome = Pools.pool_cancel(instance, pool, ticket)
    notice = if outcome == :gone, do: notice([[:alias | alias] | ref])
    (outcome != :cancelled && retire(alias, ref)) || too_late(instance, pool, outcome, notice, timeout)
  end

  # What was sent to the alias before is here, and nothing will come.
  defp retire(alias, ref) do
    :erlang.unalias(alias)
    Process.delete(@alias)

    receive do
      {[_alias | ^ref], reply} -> {:ok, reply}
    after
      0 -> nil
    end
  end

  # Fast: without an alias; an answer that comes late stays in the mailbox -----------------------------------------------------

  defp fast(instance, pool, request, params, timeout) do
    ref = make_ref()

    case Pools.pool_call(instance, pool, ref, request, params) do
      {:sent, ticket, _worker} ->
        await_fast(instance, pool, ticket, ref, timeout)

      {:queued, ticket} ->
        Open.event("kantoku.queued", [])
        await_fast(instance, pool, ticket, ref, timeout)

      refusal ->
        refused(instance, pool, refusal)
    end
  end

  defp await_fast(instance, pool, ticket, ref, timeout) do
    receive do
      {^ref, reply} -> answered(instance, pool, ticket, ref, reply)
      {:kantoku_pool, ^ref, {:reply, reply}} -> {:ok, reply}
      {:kantoku_pool, ^ref, notice} -> crossed_fast(ref) || told(instance, pool, notice)
    after
      timeout -> give_up_fast(instance, pool, ticket, ref, timeout)
    end
  end

  defp give_up_fast(instance, pool, ticket, ref, timeout) do
    outcome = Pools.pool_cancel(instance, pool, ticket)
    notice = if outcome == :gone, do: notice(ref)
    crossed_fast(ref) || too_late(instance, pool, outcome, notice, timeout)
  end

  defp crossed_fast(ref) do
    receive do
      {^ref, reply} -> {:ok, reply}
    after
      0 -> nil
    end
  end

  # Both -------------------------------------------------------------------------------------------------------------------

  defp answered(instance, pool, ticket, tag, reply) do
    if Pools.pool_checkin(instance, pool, ticket, :ok) == :gone, do: notice(tag)
    {:ok, reply}
  end

  @doc "Takes the message that a ticket is over out of the mailbox; what it says."
  @spec notice(tag :: term) :: term
  def notice(tag) do
    receive do
      {:kantoku_pool, ^tag, notice} -> notice
    after
      @patience -> nil
    end
  end

  defp told(_instance, _pool, {:reply, reply}), do: {:ok, reply}
  defp told(instance, pool, :down), do: {:error, Error.new(:crashed, pool: {instance, pool})}

  defp told(instance, pool, {:refused, reason, retry_in}),
    do: {:error, Error.new(reason, pool: {instance, pool}, retry_in: retry_in)}

  # It ended by itself in the instant of the time-out: then that is the better answer.
  defp too_late(instance, pool, :gone, notice, _timeout) when notice != nil, do: told(instance, pool, notice)

  defp too_late(instance, pool, outcome, _notice, timeout),
    do: {:error, Error.new(:timeout, pool: {instance, pool}, timeout: timeout, begun: outcome != :cancelled)}

  @doc "An error from what the engine refused."
  @spec refused(atom, atom, Pools.refusal() | :unknown) :: {:error, Error.t()}
  def refused(instance, pool, {:error, reason, retry_in}),
    do: {:error, Error.new(reason, pool: {instance, pool}, retry_in: retry_in)}

  def refused(instance, pool, :unknown), do: {:error, Notes.absent(instance, pool)}

  @doc "See `Kantoku.Pool.cast/3`."
  @spec cast(Kantoku.Pool.t(), term, keyword) :: :ok | {:error, Error.t()}
  def cast({instance, pool}, request, opts) do
    answer =
      case Pools.pool_cast(instance, pool, request, params({instance, pool}, opts)) do
        {:sent, _worker} -> :ok
        :queued -> Open.event("kantoku.queued", [])
        refusal -> refused(instance, pool, refusal)
      end

    Tenants.count({instance, pool}, opts[:tenant], answer)
  end

  @doc "What the engine is told of a request with these options; `nil` where there is nothing to tell."
  @spec params(Kantoku.Pool.t(), keyword) :: Pools.params()
  def params(pool, opts) do
    if opts != [] or Detours.of(pool) do
      request = Request.new!(opts)
      Request.params(request, Strategy.route(pool, request))
    end
  end
end

defmodule Kantoku.Agent.Writing do
  # When a revision is written, and what waits until it is kept. Knows the store, nothing of handlers.
  @moduledoc false

  alias Kantoku.Agent.{Config, Holding, Pending, Redaction, Snapshot}
  alias Kantoku.Store

  # 1. kept <= handed <= revision: what the store says is safe, what it was given, what there is.
  # 2. At most one write that was asked about is on its way. With `:sync` what changes meanwhile goes out together after it;
  #    with `:async` it is handed over at once, unasked.
  # 3. A reply in `waiting` leaves when its revision is kept, or with the error that a write met.

  @retry_in 1_000
  @last_write_within 4_000

  @doc "To be called after each change. `force?` writes whatever the policy says."
  @spec changed(Holding.t(), force? :: boolean) :: Holding.t()
  def changed(%{config: %{options: %{store: nil}}} = holding, _force?), do: kept(holding, holding.revision)

  def changed(%{config: %{options: options}} = holding, force?) do
    cond do
      force? or due?(options.snapshot, holding.pending.changes) -> write(holding)
      match?({:interval, _ms}, options.snapshot) -> schedule(holding, elem(options.snapshot, 1))
      true -> holding
    end
  end

  defp due?(:every_change, _changes), do: true
  defp due?({:every, n}, changes), do: changes >= n
  defp due?(_policy, _changes), do: false

  @doc """
  Answers a caller: at once, or with `durability: :sync` when the revision it saw is kept. A caller whose revision was changed by its own
  call is to be given to `changed_for/4` instead.
  """
  @spec answer(Holding.t(), GenServer.from() | nil, term) :: Holding.t()
  def answer(holding, nil, _reply), do: holding

  def answer(
        %{config: %{options: %{durability: :sync}}, pending: %{kept: kept}, revision: revision} = holding,
        from,
        reply
      )
      when kept < revision,
      do: holding |> wait(from, reply) |> write()

  def answer(holding, from, reply) do
    reply(holding, from, reply)
    holding
  end

  # One that works for a pool has its next request by the same step.
  defp reply(%{id: {:pool, pool, _number}, config: %{instance: instance}}, from, reply),
    do: Kantoku.Pool.reply({instance, pool}, from, reply)

  defp reply(_holding, from, reply), do: GenServer.reply(from, reply)

  @doc "To be called after a change that a call made: as `changed/2` and `answer/3`."
  @spec changed_for(Holding.t(), force? :: boolean, GenServer.from() | nil, term) :: Holding.t()
  def changed_for(%{config: %{options: %{durability: :sync}}} = holding, force?, from, reply) when from != nil,
    do: holding |> wait(from, reply) |> changed(force?)

  def changed_for(holding, force?, from, reply), do: holding |> changed(force?) |> answer(from, reply)

  defp wait(%{pending: pending} = holding, from, reply) do
    %{holding | pending: %{pending | waiting: [{holding.revision, from, reply} | pending.waiting]}}
  end

  @doc "Answers `from` with the present revision when the store says that it is safe."
  @spec write_for(Holding.t(), GenServer.from()) :: Holding.t()
  def write_for(%{config: %{options: %{store: nil}}} = holding, from),
    do: answer(holding, from, {:error, {:not_durable, :no_store}})

  def write_for(holding, from) do
    holding = doubt(holding)
    reply = {:ok, holding.revision}

    if holding.pending.kept == holding.revision,
      do: answer(holding, from, reply),
      else: holding |> wait(from, reply) |> write()
  end

  @doc "Answers `from` with `:ok` when nothing is pending."
  @spec drain(Holding.t(), GenServer.from()) :: Holding.t()
  def drain(holding, from) do
    %{pending: pending} = holding = doubt(holding)
    write(%{holding | pending: %{pending | draining: [from | pending.draining]}})
  end

  @doc "To be called after each message: answers those who wait until nothing is pending, if that is so."
  @spec settled(Holding.t()) :: Holding.t()
  def settled(%{pending: nil} = holding), do: holding

  def settled(%{pending: pending, revision: revision} = holding) do
    if pending.draining != [] and Pending.settled?(pending, revision) do
      Enum.each(pending.draining, &GenServer.reply(&1, :ok))
      Holding.put_pending(holding, %{pending | draining: []})
    else
      Holding.put_pending(holding, pending)
    end
  end

  # What was handed over unasked may not be safe yet, and only a further write asks. Revision 0 is what `new/1` makes.
  defp doubt(%{config: %{options: options}, revision: revision} = holding) do
    pending = Holding.pending(holding)
    doubtful? = revision > 0 and options.store != nil and Store.durable?(options.store) and options.durability == :async
    %{holding | pending: if(doubtful?, do: %{pending | kept: min(pending.kept, revision - 1)}, else: pending)}
  end

  @doc "The time to write has come."
  @spec timer(Holding.t()) :: Holding.t()
  def timer(%{pending: nil} = holding), do: holding
  def timer(%{pending: pending} = holding), do: write(%{holding | pending: %{pending | write_timer: nil}})

  @doc "Hands the present revision to the store, where that is still to be done."
  @spec write(Holding.t()) :: Holding.t()
  def write(%{pending: nil} = holding), do: holding
  def write(%{config: %{options: %{store: nil}}} = holding), do: kept(holding, holding.revision)

  def write(%{config: %{options: options}, pending: pending, revision: revision} = holding) do
    asked? = options.durability == :sync or Pending.asked?(pending)

    cond do
      pending.flight != nil and options.durability == :sync -> holding
      pending.flight != nil and pending.handed == revision -> holding
      pending.flight != nil -> encode_and_put(holding, nil)
      asked? and pending.kept < revision -> encode_and_put(holding, make_ref())
      pending.handed < revision -> encode_and_put(holding, nil)
      true -> holding
    end
  end

  defp encode_and_put(holding, ref) do
    holding = unschedule(holding)
    started = System.monotonic_time()
    version = {holding.incarnation, holding.revision}

    case encode(holding, version) do
      {:ok, bytes} ->
        write = %{ref: ref, revision: holding.revision, started: started, bytes: byte_size(bytes)}
        put(holding, write, give(holding, version, bytes, ref))

      {:error, reason} ->
        failed(holding, reason)
    end
  end

  defp encode(%{config: config, pending: pending} = holding, version) do
    with {:ok, agent} <- Config.dump(config, holding.agent) do
      snapshot = %Snapshot{module: config.module, vsn: holding.vsn, agent: agent, outbox: pending.outbox}
      Snapshot.encode(snapshot, version, config.options.max_snapshot_bytes)
    end
  end

  # A store that fails has the bytes among its arguments.
  defp give(%{config: %{options: options}, id: id}, version, bytes, ref) do
    Redaction.guard(options.redact, fn -> Store.put(options.store, id, version, bytes, ref) end)
  end

  defp put(holding, write, :ok), do: holding |> handed(write.revision) |> written(write)
  defp put(holding, write, :pending), do: holding |> handed(write.revision) |> fly(write)
  defp put(holding, _write, {:error, reason}), do: failed(holding, reason)

  defp handed(%{pending: pending} = holding, revision) do
    %{holding | pending: %{pending | handed: revision, changes: 0}}
  end

  defp fly(%{pending: pending} = holding, write), do: %{holding | pending: %{pending | flight: write}}

  @doc "The store's answer to the write of that reference. One that nobody asked about is none of ours."
  @spec answered(Holding.t(), reference, :ok | {:error, term}) :: Holding.t()
  def answered(%{pending: %{flight: %{ref: ref} = write} = pending} = holding, ref, result) do
    holding = %{holding | pending: %{pending | flight: nil}}

    case result do
      :ok -> holding |> written(write) |> follow_up()
      {:error, reason} -> failed(holding, reason)
    end
  end

  def answered(holding, _ref, _result), do: holding

  defp written(%{config: config} = holding, write) do
    duration = System.monotonic_time() - write.started
    measurements = %{duration: duration, bytes: write.bytes, revision: write.revision}
    Holding.emit(holding, [:agent, :snapshot, :written], measurements, %{})
    if write.ref || not Store.durable?(config.options.store), do: kept(holding, write.revision), else: holding
  end

  # What changed while the write was on its way may be due, or asked about, by now.
  defp follow_up(%{pending: nil} = holding), do: holding

  defp follow_up(%{pending: pending} = holding) do
    if Pending.asked?(pending) and pending.kept < holding.revision, do: write(holding), else: catch_up(holding)
  end

  defp catch_up(%{pending: %{changes: 0}} = holding), do: holding
  defp catch_up(holding), do: changed(holding, false)

  defp kept(%{pending: pending} = holding, revision) do
    {ready, waiting} = Enum.split_with(pending.waiting, fn {at, _from, _reply} -> at <= revision end)
    reply_all(holding, ready, fn reply -> reply end)
    Holding.put_pending(holding, %{pending | kept: revision, handed: max(pending.handed, revision), waiting: waiting})
  end

  defp failed(%{pending: pending} = holding, reason) do
    retry_in = retry_in(reason)
    measurements = %{revision: holding.revision, retry_in: retry_in}
    Holding.emit(holding, [:agent, :snapshot, :failed], measurements, %{reason: reason})
    reply_all(holding, pending.waiting, fn _reply -> {:error, {:not_durable, reason}} end)

    handed = min(pending.handed, holding.revision - 1)
    holding = %{holding | pending: %{pending | waiting: [], handed: handed, changes: max(pending.changes, 1)}}
    if stale?(reason), do: exit({:shutdown, :superseded})
    if retry_in > 0, do: schedule(holding, retry_in), else: holding
  end

  # Whoever has a successor ends here, its caller unanswered: nothing that it says would last.
  defp stale?(:stale), do: true
  defp stale?({:stale, _message}), do: true
  defp stale?(_reason), do: false

  # What is too large stays so until the next change, and a store that is closed for good.
  defp retry_in({:too_large, _bytes, _most}), do: 0
  defp retry_in({:too_large, _message}), do: 0
  defp retry_in({:closed, _message}), do: 0
  defp retry_in(reason), do: if(stale?(reason), do: 0, else: @retry_in)

  defp reply_all(_holding, [], _fun), do: :ok

  defp reply_all(holding, waiting, fun) do
    waiting |> Enum.reverse() |> Enum.each(fn {_at, from, reply} -> reply(holding, from, fun.(reply)) end)
  end

  defp schedule(%{pending: %{write_timer: nil} = pending} = holding, ms) do
    timer = Process.send_after(self(), {:"$kantoku", :write}, ms)
    %{holding | pending: %{pending | write_timer: timer}}
  end

  defp schedule(holding, _ms), do: holding

  defp unschedule(%{pending: %Pending{write_timer: nil}} = holding), do: holding

  defp unschedule(%{pending: %Pending{write_timer: timer} = pending} = holding) do
    Process.cancel_timer(timer)
    %{holding | pending: %{pending | write_timer: nil}}
  end

  @doc "Writes what is unwritten, for a server that ends: waits for the store, but not for ever."
  @spec last(Holding.t()) :: Holding.t()
  def last(holding) do
    last(holding, System.monotonic_time(:millisecond) + @last_write_within)
  catch
    :exit, {:shutdown, :superseded} -> holding
  end

  defp last(holding, deadline) do
    holding = hand_over(holding)

    cond do
      over?(holding) -> holding
      holding.pending.flight -> holding |> await(deadline) |> last_again(deadline)
      holding.pending.write_timer -> holding |> pause(deadline) |> last_again(deadline)
      true -> holding
    end
  end

  # What is asked about a store gives up when it fails; what is not it goes on trying for as long as it is open. So with `:async`
  # the last write is one that nobody waits for, be there another one on its way or not.
  defp hand_over(%{config: %{options: %{durability: :async, store: {_, _}}}, pending: %{} = pending} = holding) do
    if pending.flight != nil or pending.handed < holding.revision,
      do: encode_and_put(%{holding | pending: %{pending | flight: nil}}, nil),
      else: holding
  end

  defp hand_over(holding), do: write(holding)

  defp over?(%{pending: nil}), do: true
  defp over?(%{config: %{options: %{durability: :sync}}} = holding), do: holding.pending.kept == holding.revision
  defp over?(holding), do: holding.pending.handed == holding.revision

  defp last_again({:over, holding}, _deadline), do: holding
  defp last_again({:again, holding}, deadline), do: last(holding, deadline)

  defp await(%{pending: %{flight: %{ref: ref}}} = holding, deadline) do
    receive do
      {:kantoku_store, ^ref, result} -> {:again, answered(holding, ref, result)}
    after
      left(deadline) -> {:over, failed(holding, :no_answer)}
    end
  end

  defp pause(holding, deadline) do
    receive do
    after
      min(left(deadline), 100) -> {if(left(deadline) > 0, do: :again, else: :over), holding}
    end
  end

  defp left(deadline), do: max(deadline - System.monotonic_time(:millisecond), 0)
end

defmodule Kantoku.Agent.Writing do
  # When a revision is written, and what waits until it is kept. Knows the store, nothing of handlers.
  @moduledoc false

  alias Kantoku.Agent.{Holding, Pending, Snapshot}
  alias Kantoku.Store

  # 1. At most one write of an agent is on its way; what changes meanwhile goes out together after it.
  # 2. `kept` never runs ahead of what the store has confirmed.
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

  @doc "Answers a caller: at once, or with `durability: :sync` when the revision it saw is kept."
  @spec answer(Holding.t(), GenServer.from() | nil, term) :: Holding.t()
  def answer(holding, nil, _reply), do: holding

  def answer(%{config: %{options: %{durability: :sync}}, pending: %{} = pending} = holding, from, reply)
      when pending.kept < holding.revision,
      do: wait(holding, from, reply)

  def answer(holding, from, reply) do
    GenServer.reply(from, reply)
    holding
  end

  @doc "Writes what is unwritten and answers `from` when it is kept."
  @spec write_for(Holding.t(), GenServer.from()) :: Holding.t()
  def write_for(%{pending: nil} = holding, from), do: answer(holding, from, {:ok, holding.revision})

  def write_for(holding, from) do
    holding = holding |> wait(from, {:ok, holding.revision}) |> write()
    kept(holding, Holding.pending(holding).kept)
  end

  defp wait(holding, from, reply) do
    pending = Holding.pending(holding)
    Holding.put_pending(holding, %{pending | waiting: [{holding.revision, from, reply} | pending.waiting]})
  end

  @doc "Hands the present revision to the store, unless that is done or one before it is on its way."
  @spec write(Holding.t()) :: Holding.t()
  def write(%{pending: nil} = holding), do: holding
  def write(%{config: %{options: %{store: nil}}} = holding), do: kept(holding, holding.revision)
  def write(%{pending: %{flight: %{}}} = holding), do: holding
  def write(%{pending: %{kept: revision}, revision: revision} = holding), do: unschedule(holding)

  def write(holding) do
    holding = unschedule(holding)
    started = System.monotonic_time()

    case encode(holding) do
      {:ok, bytes} -> put(holding, flight(holding, started, bytes), bytes)
      {:error, reason} -> failed(holding, reason)
    end
  end

  defp flight(holding, started, bytes) do
    %{ref: make_ref(), revision: holding.revision, started: started, bytes: byte_size(bytes)}
  end

  defp put(holding, flight, bytes) do
    %{config: config, pending: pending} = holding
    holding = %{holding | pending: %{pending | changes: 0, flight: flight}}

    case Store.put(config.options.store, holding.id, version(holding), bytes, flight.ref) do
      :ok -> landed(holding, :ok)
      :pending -> holding
      {:error, reason} -> landed(holding, {:error, reason})
    end
  end

  defp encode(%{config: config, agent: agent, pending: pending} = holding) do
    snapshot = %Snapshot{module: config.module, vsn: holding.vsn, agent: agent, outbox: pending.outbox}

    Snapshot.encode(snapshot, version(holding), config.options.max_snapshot_bytes)
  end

  defp version(holding), do: {holding.incarnation, holding.revision}

  @doc "The store's answer to the write of that reference. One that nobody waits for is an old one."
  @spec answered(Holding.t(), reference, :ok | {:error, term}) :: Holding.t()
  def answered(%{pending: %{flight: %{ref: ref}}} = holding, ref, result), do: landed(holding, result)
  def answered(holding, _ref, _result), do: holding

  defp landed(%{pending: %{flight: flight} = pending} = holding, :ok) do
    measurements = %{
      duration: System.monotonic_time() - flight.started,
      bytes: flight.bytes,
      revision: flight.revision
    }

    Holding.emit(holding, [:agent, :snapshot, :written], measurements, %{})
    holding = kept(%{holding | pending: %{pending | flight: nil}}, flight.revision)
    if holding.pending, do: follow_up(holding), else: holding
  end

  defp landed(%{pending: pending} = holding, {:error, reason}) do
    failed(%{holding | pending: %{pending | flight: nil}}, reason)
  end

  # What changed while the write was on its way is written if the policy, a directive or a waiting caller asks for it.
  defp follow_up(%{pending: pending} = holding) do
    wanted? = Enum.any?(pending.outbox, fn {_id, revision, _directive} -> revision > pending.kept end)
    if wanted? or pending.waiting != [], do: write(holding), else: changed_again(holding)
  end

  defp changed_again(%{pending: %{changes: 0}} = holding), do: holding
  defp changed_again(holding), do: changed(holding, false)

  defp kept(holding, revision) do
    pending = Holding.pending(holding)
    {ready, waiting} = Enum.split_with(pending.waiting, fn {at, _from, _reply} -> at <= revision end)
    reply_all(ready, fn reply -> reply end)
    Holding.put_pending(holding, %{pending | kept: revision, waiting: waiting})
  end

  defp failed(%{pending: pending} = holding, reason) do
    retry_in = retry_in(reason)

    Holding.emit(
      holding,
      [:agent, :snapshot, :failed],
      %{revision: holding.revision, retry_in: retry_in},
      %{reason: reason}
    )

    reply_all(pending.waiting, fn _reply -> {:error, {:not_durable, reason}} end)
    holding = %{holding | pending: %{pending | waiting: [], changes: max(pending.changes, 1)}}
    if retry_in > 0, do: schedule(holding, retry_in), else: holding
  end

  # What is too large stays so until the next change; what is stale comes from a process that has a successor.
  defp retry_in({:too_large, _bytes, _most}), do: 0
  defp retry_in(:stale), do: 0
  defp retry_in(_reason), do: @retry_in

  defp reply_all(waiting, fun) do
    waiting |> Enum.reverse() |> Enum.each(fn {_at, from, reply} -> GenServer.reply(from, fun.(reply)) end)
  end

  defp schedule(%{pending: %{write_timer: nil} = pending} = holding, ms) do
    timer = Process.send_after(self(), {:"$kantoku", :write}, ms)
    %{holding | pending: %{pending | write_timer: timer}}
  end

  defp schedule(holding, _ms), do: holding

  defp unschedule(%{pending: %Pending{write_timer: nil}} = holding), do: holding

  defp unschedule(%{pending: %Pending{write_timer: timer} = pending} = holding) do
    Process.cancel_timer(timer)
    Holding.put_pending(holding, %{pending | write_timer: nil})
  end

  @doc "The time to write has come."
  @spec timer(Holding.t()) :: Holding.t()
  def timer(%{pending: nil} = holding), do: holding
  def timer(%{pending: pending} = holding), do: write(%{holding | pending: %{pending | write_timer: nil}})

  @doc "Writes what is unwritten, for a server that ends: waits for the store, but not for ever."
  @spec last(Holding.t()) :: Holding.t()
  def last(holding), do: last(holding, System.monotonic_time(:millisecond) + @last_write_within)

  defp last(holding, deadline) do
    holding = write(holding)
    pending = Holding.pending(holding)

    cond do
      pending.kept == holding.revision -> holding
      pending.flight -> holding |> await(deadline) |> last_again(deadline)
      pending.write_timer -> holding |> pause(deadline) |> last_again(deadline)
      true -> holding
    end
  end

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
    ms = min(left(deadline), 100)

    receive do
    after
      ms -> {if(left(deadline) > 0, do: :again, else: :over), holding}
    end
  end

  defp left(deadline), do: max(deadline - System.monotonic_time(:millisecond), 0)
end

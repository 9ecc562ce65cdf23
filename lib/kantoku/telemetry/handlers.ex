defmodule Kantoku.Telemetry.Handlers do
  # All handlers that were given to us: who supervises their processes, and a table of what is known of them, which outlives both. Runs
  # none. Rows: {{:own, id}, attachment, counters, subscription, status, process}, {{:kept, id}, what is kept}.
  @moduledoc false
  use Supervisor

  alias Kantoku.Domain.Pair
  alias Kantoku.Telemetry.{Attachment, Handler, Subscription}

  @table __MODULE__

  # Positions of the counts.
  @handled 1
  @failed 2
  @lost 3

  # In ms; and how often, which is longer than any part of this VM takes to be started again.
  @again 5
  @tries 2_000

  @type status :: :attached | :waiting | :left | :given_up

  @doc "Makes the table, which lives as long as the calling process."
  @spec new_table() :: :ets.tid() | atom
  def new_table, do: :ets.new(@table, [:named_table, :public, read_concurrency: true])

  @spec start_link(term) :: Supervisor.on_start()
  def start_link(_arg), do: Supervisor.start_link(__MODULE__, nil, name: __MODULE__)

  # A successor begins with those that were there.
  @impl true
  def init(nil) do
    children = for {{:own, _id}, attachment, _, _, _, _} <- :ets.tab2list(@table), do: Handler.child_spec(attachment)
    Supervisor.init(children, [strategy: :one_for_one] ++ Pair.unlimited())
  end

  @spec attach(Attachment.t()) :: :ok | {:error, :already_exists}
  def attach(attachment), do: attach(attachment, @tries)

  defp attach(attachment, tries) do
    case Supervisor.start_child(__MODULE__, Handler.child_spec(attachment)) do
      {:ok, _pid} -> :ok
      {:error, {:already_started, _pid}} -> {:error, :already_exists}
      {:error, :already_present} -> {:error, :already_exists}
      {:error, reason} -> attach_later(attachment, reason, tries)
    end
  end

  # Who takes subscriptions in is being started again.
  defp attach_later(%{id: id}, reason, 0),
    do: raise("the handler #{inspect(id)} cannot be started: #{Exception.format_exit(reason)}")

  defp attach_later(attachment, _reason, tries) do
    Process.sleep(@again)
    attach(attachment, tries - 1)
  end

  # Whoever has it in hand is ended in the middle of that, as it may take for ever.
  @spec detach(term) :: :ok | {:error, :not_found}
  def detach(id) do
    with :ok <- Supervisor.terminate_child(__MODULE__, id), :ok <- Supervisor.delete_child(__MODULE__, id) do
      :ets.delete(@table, {:own, id})
      :ok
    end
  end

  @doc "The process of a handler."
  @spec whereis(term) :: pid | nil
  def whereis(id) do
    case :ets.lookup(@table, {:own, id}) do
      [{_key, _attachment, _counters, _ref, _status, pid}] -> pid
      [] -> nil
    end
  end

  # For handlers' own processes ------------------------------------------------------------------------------------------

  @doc "The counts of a handler. Whoever comes after one that died counts what that did not come to as lost."
  @spec inherit(term) :: :counters.counters_ref()
  def inherit(id) do
    case :ets.lookup(@table, {:own, id}) do
      [{_key, attachment, counters, ref, _status, _pid}] ->
        count(counters, :lost, Subscription.dropped(ref) + unseen(attachment.mode, ref))
        counters

      [] ->
        :counters.new(3, [:write_concurrency])
    end
  end

  # What is in the hands of those who emit is handled by them.
  defp unseen(:async, ref), do: Subscription.outstanding(ref)
  defp unseen(:sync, _ref), do: 0

  @spec put(Attachment.t(), :counters.counters_ref(), Subscription.t()) :: true
  def put(attachment, counters, ref),
    do: :ets.insert(@table, {{:own, attachment.id}, attachment, counters, ref, :attached, self()})

  @spec put_status(term, status) :: boolean
  def put_status(id, status), do: :ets.update_element(@table, {:own, id}, {5, status})

  @spec count(:counters.counters_ref(), :handled | :failed | :lost, non_neg_integer) :: :ok
  def count(counters, what, by), do: :counters.add(counters, at(what), by)

  defp at(:handled), do: @handled
  defp at(:failed), do: @failed
  defp at(:lost), do: @lost

  # What is kept of others' ------------------------------------------------------------------------------------------------

  @spec keep(term, map) :: true
  def keep(id, kept), do: :ets.insert(@table, {{:kept, id}, kept})

  @spec kept(term) :: map | nil
  def kept(id) do
    case :ets.lookup(@table, {:kept, id}) do
      [{_key, kept}] -> kept
      [] -> nil
    end
  end

  @spec all_kept() :: [{term, map}]
  def all_kept, do: for({{:kept, id}, kept} <- :ets.tab2list(@table), do: {id, kept})

  @spec forget(term) :: true
  def forget(id), do: :ets.delete(@table, {:kept, id})

  # Reading ------------------------------------------------------------------------------------------------------------------

  @doc "What is known of all, ours and those that are kept."
  @spec list() :: [map]
  def list, do: Enum.map(:ets.tab2list(@table), &shown/1)

  defp shown({{:kept, id}, kept}),
    do: %{id: id, mode: :telemetry, instance: nil, status: kept.status, failed: kept.failed}

  defp shown({{:own, id}, attachment, counters, ref, status, _pid}) do
    %{
      id: id,
      mode: attachment.mode,
      instance: attachment.instance,
      status: status,
      handled: :counters.get(counters, @handled),
      failed: :counters.get(counters, @failed),
      dropped: :counters.get(counters, @lost) + Subscription.dropped(ref),
      waiting: Subscription.outstanding(ref)
    }
  end
end

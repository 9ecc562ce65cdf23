defmodule Kantoku.Agent.Restoring do
  # How a starting agent comes by its state: its newest snapshot, or afresh. Knows no message and no timer.
  @moduledoc false

  alias Kantoku.Agent.{Holding, Pending, Redaction, Snapshot, Writing}
  alias Kantoku.Store

  @type outcome :: {:ok, Holding.t(), restored? :: boolean} | {:park, reason :: term} | {:error, reason :: term}

  @doc "Gives a holding without an agent its agent. `restore?` false starts afresh but goes on counting where a snapshot ended."
  @spec restore(Holding.t(), args :: term, restore? :: boolean) :: outcome
  def restore(%{config: %{options: %{store: nil}}} = holding, args, _restore?), do: fresh(holding, args)

  def restore(%{config: %{options: %{store: store}}} = holding, args, restore?) do
    started = System.monotonic_time()

    case Store.get(store, holding.id) do
      :none ->
        fresh(holding, args)

      {:ok, version, bytes} when restore? ->
        holding |> take_up(version, bytes, args, started) |> claim(version, holding)

      {:ok, version, _bytes} ->
        holding |> follow(version) |> fresh(args) |> claim(version, holding)

      {:damaged, text} ->
        damaged(holding, args, text)

      {:error, reason} ->
        {:error, {:store_unavailable, reason}}
    end
  end

  defp fresh(%{config: config} = holding, args) do
    agent = Redaction.guard(config.options.redact, fn -> config.shape.new(args) end)
    {:ok, Holding.bear(holding, agent), false}
  end

  # Whoever starts later writes under a higher incarnation than what it found. Those that an instance gives out rise in one VM; after
  # another VM they may begin below what is stored. Then the next one up is taken, and claimed by a write at once: what starts
  # after this finds it. So no clock is needed to tell who is newer.
  defp follow(holding, {incarnation, revision}) do
    %{holding | incarnation: max(holding.incarnation, incarnation + 1), revision: revision}
  end

  defp claim({:ok, %{revision: revision} = holding, restored?}, {stored, revision}, %{incarnation: given})
       when given <= stored do
    pending = Holding.pending(holding)
    {:ok, Writing.write(%{holding | pending: %{pending | handed: revision - 1, kept: revision - 1}}), restored?}
  end

  defp claim(outcome, _version, _given), do: outcome

  defp take_up(%{config: config} = holding, version, bytes, args, started) do
    holding = follow(holding, version)

    case Snapshot.decode(bytes, version, config.module) do
      {:ok, snapshot} -> migrate(holding, snapshot, byte_size(bytes), started)
      {:damaged, reason} -> damaged(holding, args, reason)
    end
  end

  defp migrate(%{config: config} = holding, snapshot, bytes, started) do
    case Redaction.guard(config.options.redact, fn ->
           Kantoku.Agent.migrate(config.shape, snapshot.vsn, snapshot.agent)
         end) do
      {:ok, agent} -> {:ok, restored(holding, agent, snapshot, bytes, started), true}
      {:error, reason} -> {:park, {:migration_failed, snapshot.vsn, reason}}
    end
  end

  defp restored(holding, agent, snapshot, bytes, started) do
    outbox = snapshot.outbox
    holding = Holding.bear(holding, agent)
    holding = Holding.put_pending(holding, %{Pending.none(holding.revision) | outbox: outbox})
    migrated_from = if snapshot.vsn !== holding.vsn, do: snapshot.vsn

    measurements = %{
      duration: System.monotonic_time() - started,
      bytes: bytes,
      revision: holding.revision,
      outbox: length(outbox)
    }

    metadata = %{incarnation: holding.incarnation, migrated_from: migrated_from}
    Holding.emit(holding, [:agent, :restored], measurements, metadata)
    holding
  end

  defp damaged(%{config: %{options: options}} = holding, args, reason) do
    Holding.emit(holding, [:agent, :snapshot, :damaged], %{}, %{reason: reason, action: options.on_damaged})
    damaged(options.on_damaged, holding, args, reason)
  end

  defp damaged(:park, _holding, _args, reason), do: {:park, {:damaged_snapshot, reason}}

  defp damaged(:fresh, holding, args, _reason) do
    case Store.set_aside(holding.config.options.store, holding.id) do
      :ok -> fresh(holding, args)
      {:error, reason} -> {:error, {:store_unavailable, reason}}
    end
  end
end

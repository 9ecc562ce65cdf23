defmodule Kantoku.Health.Renewal do
  # Has a pool's worker that is at risk finish what it has, and start again with its state, where the pool wants that (`on_risk: :replace`).
  # It is shut out as one that is not ready is, so it gets no more work; when it has none it is restarted, uncharged; its next start
  # lets it in. That it is shut is in the book: whoever sees to it next goes on from there. Finds nobody at risk.
  #
  # N1  Of a pool's workers, one in ten is renewed at a time, and one of fewer.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.{Agents, Telemetry}
  alias Kantoku.Domain.Rows
  alias Kantoku.Engine
  alias Kantoku.Engine.Pools
  alias Kantoku.Health.{Gate, Risks}
  alias Kantoku.Instances
  alias Kantoku.Pool.Notes
  alias Kantoku.Trace.Handling

  @doc "Begins with those that are at risk, and goes on with those that it began with. To be done once a period."
  @spec see_to(atom, :ets.tid(), :ets.tid()) :: :ok
  def see_to(instance, book, risks) do
    shut = for {:pool, pool, _number} = id <- Gate.renewed(book), do: {pool, id}
    Enum.each(shut, fn {pool, id} -> go_on(instance, book, pool, id) end)

    risks
    |> Risks.workers()
    |> Enum.reject(fn {pool, id, _pid} -> {pool, id} in shut end)
    |> Enum.group_by(&elem(&1, 0))
    |> Enum.each(fn {pool, workers} ->
      begin(instance, book, pool, workers, Enum.count(shut, &match?({^pool, _}, &1)))
    end)
  end

  # N1
  defp begin(instance, book, pool, workers, begun) do
    case Notes.config(book, pool) do
      %{on_risk: :replace} ->
        room = max(div(Notes.condition(book, pool).wanted, 10), 1) - begun
        workers |> Enum.take(max(room, 0)) |> Enum.each(fn {_pool, id, pid} -> shut(instance, book, id, pid) end)

      _told_only ->
        :ok
    end
  end

  defp shut(instance, book, id, pid) do
    {rows, _book} = Instances.tables!(instance)

    with row(pid: ^pid, phase: :up, wanted: true) = row <- Rows.get(rows, id) do
      unless Gate.shut?(book, id), do: Gate.shut(instance, book, row, Gate.renewal())
    end
  end

  # The pool is gone, or does not want it any more: it is let in as it is.
  defp go_on(instance, book, pool, id) do
    {rows, _book} = Instances.tables!(instance)

    case {Notes.config(book, pool), Rows.get(rows, id)} do
      {%{on_risk: :replace}, row(pid: pid, phase: :up) = row} ->
        unless at_work?(instance, pool, pid), do: restart(instance, book, row)

      {_config, row(phase: :up) = row} ->
        Gate.open(instance, book, row)

      {_config, _not_up} ->
        Gate.forget(book, id)
    end
  end

  defp at_work?(instance, pool, pid) do
    case Pools.pool_workers(instance, pool) do
      :unknown -> false
      workers -> Enum.any?(workers, &match?({^pid, _number, _state, ongoing, _latency, _served} when ongoing > 0, &1))
    end
  end

  # It may take as long as it may take to stop, so another waits for it, and not a second one meanwhile: that would restart the
  # successor.
  defp restart(instance, book, row(id: {:pool, pool, number} = id, pid: pid)) do
    unless under_way?(book, id) do
      Telemetry.emit(instance, [:pool, :replaced], %{}, %{pool: pool, member: number, pid: pid, reason: :at_risk})
      spawn(fn -> run(instance, book, id, pid) end)
    end
  end

  # One that was killed at it is forgotten.
  defp under_way?(book, id) do
    case :ets.lookup(book, {:renewal, id}) do
      [{_key, runner}] -> Process.alive?(runner) or not :ets.delete(book, {:renewal, id})
      [] -> false
    end
  end

  defp run(instance, book, id, pid) do
    if :ets.insert_new(book, {{:renewal, id}, self()}) do
      if Engine.whereis(instance, id) == pid, do: hand_off(instance, id)
      :ets.delete(book, {:renewal, id})
    end
  rescue
    # The book went with the instance.
    ArgumentError -> :ok
  end

  defp hand_off(instance, id) do
    restart = fn -> Agents.restart(instance, id) end
    Handling.hand_off(instance, id, %{"kantoku.reason" => :at_risk}, restart, &(not match?({:error, _}, &1)))
  end
end

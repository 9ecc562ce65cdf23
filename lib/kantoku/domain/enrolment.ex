defmodule Kantoku.Domain.Enrolment do
  # What the start of a pool's worker has beyond that of another agent: it is timed, it joins its pool, and the pool's foreman hears
  # of it. Run by the worker's supervisor, so that whoever OTP restarts is back in its pool with no process in between, and
  # therefore brief. Knows of pools no more than the engine does.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.Domain.{Book, Rows}
  alias Kantoku.{Engine, Telemetry}

  @type mark :: {supervisor :: pid, id :: term, since :: integer}

  @doc "Runs the start of an agent. While it runs, one of a pool's worker leaves a mark; how it was refused is told to the foreman."
  @spec while_starting(:ets.tid(), Rows.row(), (() -> result)) :: result when result: term
  def while_starting(book, row(domain: {:pool, pool} = domain, id: id, part: part), start) do
    :ets.insert(book, {{:starting, domain, part}, self(), id, System.monotonic_time(:millisecond)})
    result = start.()
    :ets.delete(book, {:starting, domain, part})
    with {:error, reason} <- result, do: tell(book, pool, {:refused, id, reason})
    result
  end

  def while_starting(_book, _row, start), do: start.()

  @doc "What the supervisor of a place is starting, with the monotonic ms of its begin."
  @spec starting(:ets.tid(), Kantoku.Domain.name(), Book.part()) :: mark | nil
  def starting(book, domain, part) do
    case :ets.lookup(book, {:starting, domain, part}) do
      [{_place, supervisor, id, since}] -> {supervisor, id, since}
      [] -> nil
    end
  end

  @doc """
  Has a worker that is up take part in its pool. Its row names it already: so a foreman that opens the pool later finds it
  there, and one that opened it before need not look.
  """
  @spec join(atom, :ets.tid(), Rows.row()) :: :ok
  def join(instance, book, row(domain: {:pool, pool}, id: {:pool, pool, member}, pid: pid)) do
    if Engine.Pools.pool_join(instance, pool, pid, member) == :ok do
      Telemetry.emit(instance, [:pool, :worker_joined], %{}, %{pool: pool, member: member, pid: pid})
      tell(book, pool, {:joined, member, pid})
    else
      :ok
    end
  end

  def join(_instance, _book, _row), do: :ok

  defp tell(book, pool, what) do
    with foreman when is_pid(foreman) <- Book.seated(book, {:foreman, pool}), do: send(foreman, what)
    :ok
  end
end

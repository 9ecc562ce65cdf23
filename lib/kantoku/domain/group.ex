defmodule Kantoku.Domain.Group do
  # The declared agents of a domain, under OTP's own Supervisor with the domain's strategy. Knows what the order of the group means
  # for a restart; the rest is `Start`'s.
  #
  # The supervisor does not say who crashed. But it restarts in order, so:
  # G1  a predecessor that was started later than I was is there because of the restart that I am part of: mine is collateral;
  # G2  a predecessor that rests or is parked makes me wait behind it;
  # G3  otherwise I am the first of this restart, and am charged for it; with :one_for_all that is the group's charge, and
  #     none if it was someone's rest that ended.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.Domain.{Book, Remains, Repair, Rows, Start}

  @doc """
  Starts the group's supervisor. It comes empty, takes the rows of the one before it, of which nothing is left by then, and only
  then starts anybody. `in_office?` says whether the calling process is still the one that is to start it.
  """
  @spec start_link(Start.context(), Kantoku.Domain.name(), in_office? :: (() -> boolean)) ::
          Supervisor.on_start()
  def start_link({instance, rows, book}, domain, in_office?) do
    %{strategy: strategy, declared: declared} = Book.shape(book, domain)
    {:ok, group} = Supervisor.start_link([], strategy: strategy, max_restarts: 1_000_000, max_seconds: 1)

    with {:ok, taken} <- take_over(rows, declared, group, in_office?, 0),
         :ok <- Repair.tell(instance, domain, taken),
         :ok <- start_all(group, for(id <- declared, do: Start.child(instance, Rows.get(rows, id)))) do
      {:ok, group}
    else
      error ->
        Process.exit(group, :shutdown)
        Remains.await(group, :infinity)
        error
    end
  end

  # T1  A row passes from one supervisor to the next by compare and swap, and only when the one before is dead.
  # T2  Rows are read before it is asked who is in office. So who was cut off from above, and is still at it, never sees his successor's
  #     supervisor in a row and thinks it one of before.
  defp take_over(rows, declared, group, in_office?, taken) do
    left = for id <- declared, row(sup: sup) = row when sup != group <- [Rows.get(rows, id)], do: row

    cond do
      left == [] ->
        {:ok, taken}

      in_office?.() ->
        settle(rows, left, group)
        take_over(rows, declared, group, in_office?, taken + Enum.count(left, &row(&1, :sup)))

      true ->
        {:error, :superseded}
    end
  end

  defp settle(rows, left, group) do
    supervisors = for row(sup: sup) when sup != nil <- left, uniq: true, do: sup
    Enum.each(supervisors, &Remains.await(&1, Rows.patience(left)))
    Remains.kill_strays(supervisors)
    left = for row(id: id, sup: sup) <- left, row(sup: ^sup) = row <- [Rows.get(rows, id)], do: row
    Remains.kill_all(for row(pid: pid) when is_pid(pid) <- left, do: pid)
    Enum.each(left, &Rows.hand_over(rows, &1, group, after_settling(&1)))
  end

  @doc "The phase in which a row passes to the next supervisor."
  @spec after_settling(Rows.row()) :: Rows.phase()
  def after_settling(row(phase: phase)) when phase in [:new, :resting, :parked, :stopped], do: phase
  def after_settling(_row), do: :recover

  # As OTP does, it ends at the first that does not start, and says which. The supervisor may be killed at any time.
  defp start_all(group, children) do
    Enum.reduce_while(children, :ok, fn %{id: id} = child, :ok ->
      case Supervisor.start_child(group, child) do
        {:error, {:already_started, _pid} = reason} -> {:halt, not_started(id, reason)}
        {:error, {reason, _child}} -> {:halt, not_started(id, reason)}
        _started_or_ignored -> {:cont, :ok}
      end
    end)
  catch
    :exit, reason -> {:error, reason}
  end

  defp not_started(id, reason), do: {:error, {:shutdown, {:failed_to_start_child, id, reason}}}

  @doc "Why a restart of this agent happens: its own doing, or that of the group."
  @spec cause(:ets.tid(), :ets.tid(), Rows.row()) :: :own | :collateral | :behind
  def cause(rows, book, row(part: :group, domain: domain) = row) do
    %{strategy: strategy, declared: declared} = Book.shape(book, domain)
    because(strategy, row, Enum.map(declared, &Rows.get(rows, &1)))
  end

  def cause(_rows, _book, _row), do: :own

  defp because(:one_for_one, _row, _members), do: :own

  defp because(strategy, row(id: id, started: started) = row, members) do
    before = Enum.take_while(members, &(row(&1, :id) != id))

    cond do
      Enum.any?(before, &waiting?/1) -> :behind
      Enum.any?(before, &newer?(&1, started)) and row(row, :phase) in [:up, :starting] -> :collateral
      strategy == :one_for_all and row(row, :phase) in [:up, :starting] and Enum.any?(members, &over?/1) -> :collateral
      true -> :own
    end
  end

  defp waiting?(row(phase: phase)), do: phase in [:resting, :parked, :behind]

  defp newer?(row(started: nil), _started), do: false
  defp newer?(row(started: stamp), started), do: started == nil or stamp > started

  defp over?(row(phase: phase, due: due)) when phase in [:resting, :parked] and is_integer(due),
    do: due <= System.monotonic_time(:millisecond)

  defp over?(_row), do: false
end

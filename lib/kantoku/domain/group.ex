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

  alias Kantoku.Domain.{Book, Remains, Rows, Start}

  @doc "Starts the group's supervisor, once nothing of the one before it is left."
  @spec start_link(atom, :ets.tid(), :ets.tid(), atom) :: Supervisor.on_start()
  def start_link(instance, rows, book, domain) do
    %{strategy: strategy, declared: declared} = Book.shape(book, domain)
    settle(rows, Enum.map(declared, &Rows.get(rows, &1)))
    children = for id <- declared, do: Start.child(instance, Rows.get(rows, id))
    Supervisor.start_link(children, strategy: strategy, max_restarts: 1_000_000, max_seconds: 1)
  end

  defp settle(rows, members) do
    left = for row(sup: sup) = row when sup != nil <- members, do: row
    supervisors = left |> Enum.map(&row(&1, :sup)) |> Enum.uniq()
    Enum.each(supervisors, &Remains.await(&1, patience(left)))
    Remains.kill_strays(supervisors)
    Remains.kill_all(for row(pid: pid) when is_pid(pid) <- left, do: pid)
    for row(id: id) <- left, now = Rows.get(rows, id), do: Rows.hand_over(rows, now, nil, after_settling(now))
  end

  defp patience(rows), do: rows |> Enum.map(&allowed/1) |> Enum.max(fn -> 0 end) |> Kernel.+(1_000)

  defp allowed(row(child: {_restart, shutdown, _type})) when is_integer(shutdown), do: shutdown
  defp allowed(_row), do: 5_000

  @doc "The phase in which a row passes to the next supervisor."
  @spec after_settling(Rows.row()) :: Rows.phase()
  def after_settling(row(phase: phase)) when phase in [:new, :resting, :parked, :stopped], do: phase
  def after_settling(_row), do: :recover

  @doc "Enters the calling supervisor as the one of a declared agent."
  @spec seat(:ets.tid(), Rows.row()) :: Rows.row()
  def seat(rows, row(part: :group, id: id, sup: sup) = row) when sup != self() do
    Rows.put(rows, id, [{sup_at(), self()}])
    row(row, sup: self())
  end

  def seat(_rows, row), do: row

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

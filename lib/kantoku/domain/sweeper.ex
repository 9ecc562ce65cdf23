defmodule Kantoku.Domain.Sweeper do
  # Goes over all rows of an instance from time to time and tells keepers which ones have looked wrong twice in a row: ended for good,
  # left over by a killed client, meant for a dead supervisor. It changes no row, so it may die at any time.
  #
  # It works for at most a fiftieth of the time, however many rows there are.
  @moduledoc false
  use GenServer

  import Kantoku.Domain.Rows

  alias Kantoku.Instances
  alias Kantoku.Domain.{Book, Gauges, Keeper, Rows}

  @slice 500
  @share 50

  @spec start_link({instance :: atom, period :: pos_integer}) :: GenServer.on_start()
  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  @impl true
  def init({instance, period}) do
    Process.send_after(self(), :sweep, period)
    {:ok, %{instance: instance, period: period, suspects: MapSet.new(), counts: %{}}, :hibernate}
  end

  @impl true
  def handle_info(:sweep, %{instance: instance, period: period} = state) do
    {:ok, tables} = Instances.tables(instance)
    begun = System.monotonic_time(:millisecond)
    state = sweep(tables, state)
    spent = System.monotonic_time(:millisecond) - begun
    Process.send_after(self(), :sweep, max(period, spent * @share))
    {:noreply, state, :hibernate}
  end

  defp sweep({rows, book}, state) do
    found = collect(rows)
    again = for {seen, place} <- found.suspects, seen in state.suspects, do: {place, elem(seen, 0)}
    for {{domain, part}, ids} <- group(again), do: Keeper.look(book, domain, part, ids)
    counts = recount(book, found.counts, state.counts)
    %{state | suspects: MapSet.new(found.suspects, &elem(&1, 0)), counts: counts}
  end

  defp group(again), do: Enum.group_by(again, &elem(&1, 0), &elem(&1, 1))

  defp collect(rows), do: Rows.fold(rows, @slice, %{suspects: [], counts: %{}}, &note/2)

  defp note(row(id: id, gen: gen, phase: phase, pid: pid, domain: domain, part: part) = row, found) do
    found = update_in(found.counts[domain], &((&1 || 0) + 1))
    if suspect?(row), do: update_in(found.suspects, &[{{id, gen, phase, pid}, {domain, part}} | &1]), else: found
  end

  defp suspect?(row(phase: :stopped)), do: false
  defp suspect?(row(wanted: wanted, phase: phase)) when wanted == false or phase == :recover, do: true
  defp suspect?(row(pid: pid)), do: not (is_pid(pid) and Process.alive?(pid))

  # A count is put right when it was wrong by the same twice: whoever should have given a place back was killed.
  defp recount(book, own, before) do
    for domain <- [nil | Book.domains(book)], into: %{} do
      gauges = book |> Book.chain(domain) |> hd()
      pair = {Gauges.agents(gauges), total(book, domain, own)}
      {seen, right} = pair
      if seen != right and before[domain] == pair, do: Gauges.correct(gauges, seen, right)
      {domain, pair}
    end
  end

  defp total(book, domain, own) do
    nested = Book.shape(book, domain).nested
    Map.get(own, domain, 0) + Enum.sum(Enum.map(nested, &total(book, &1, own)))
  end
end

defmodule Kantoku.Pool.Errands do
  # What a pool's foreman has others do, because it may wait for a supervisor: workers started, stopped, replaced, starts that take
  # too long ended. One process for each, linked to the foreman; what dies with it is seen in the rows by the next. Decides nothing.
  @moduledoc false

  alias Kantoku.Pool.{Config, Members, Worker}
  alias Kantoku.Telemetry

  # Starts at once; more would only stand before the same supervisors.
  @starts 32

  @type kind :: :start | :stop | :replace | :end_start
  @typedoc "The foreman's, as far as it is needed here."
  @type state :: %{
          :errands => t,
          :instance => atom,
          :pool => atom,
          :config => Config.t(),
          :book => :ets.tid(),
          optional(atom) => term
        }
  @type t :: %{pid => {kind, number :: non_neg_integer}}

  @doc "The numbers of workers that are being started."
  @spec numbers(state) :: MapSet.t()
  def numbers(%{errands: errands}), do: for({_pid, {:start, number}} <- errands, into: MapSet.new(), do: number)

  @doc "Those of them that have no row yet, as members."
  @spec beginning(state, [Members.member()]) :: [Members.member()]
  def beginning(state, found) do
    known = MapSet.new(found, & &1.number)

    for number <- numbers(state), number not in known do
      %{number: number, pid: nil, phase: :new, wanted: true, leaving: false, expired: false}
    end
  end

  @doc "Has a worker started, unless enough are."
  @spec start(state, non_neg_integer) :: state
  def start(%{instance: instance, config: config} = state, number) do
    if MapSet.size(numbers(state)) < @starts,
      do: run(state, {:start, number}, fn -> Worker.start(instance, config, number) end),
      else: state
  end

  @doc "Has a worker stopped."
  @spec stop(state, non_neg_integer) :: state
  def stop(%{instance: instance, pool: pool} = state, number),
    do: run(state, {:stop, number}, fn -> Worker.stop(instance, pool, number) end)

  @doc "Has a worker replaced."
  @spec replace(state, non_neg_integer, pid, atom) :: state
  def replace(%{instance: instance, pool: pool} = state, number, pid, reason) do
    run(state, {:replace, number}, fn ->
      replaced(instance, pool, number, pid, reason)
      Worker.replace(instance, pool, number, pid)
    end)
  end

  @doc "Has starts ended that take longer than they may."
  @spec end_starts(state) :: state
  def end_starts(%{config: %{start_timeout: :infinity}} = state), do: state

  def end_starts(%{instance: instance, pool: pool, book: book, config: config} = state) do
    begun_before = System.monotonic_time(:millisecond) - config.start_timeout

    for {part, {_supervisor, {:pool, ^pool, number}, since} = mark} <- Members.starting(book, pool),
        since <= begun_before,
        reduce: state do
      state ->
        run(state, {:end_start, part}, fn ->
          replaced(instance, pool, number, nil, :start_timeout)
          Worker.kill_start(instance, pool, part, mark)
        end)
    end
  end

  defp replaced(instance, pool, number, pid, reason) do
    metadata = %{pool: pool, member: number, pid: pid, reason: reason}
    Telemetry.emit(instance, [:pool, :replaced], %{}, metadata)
  end

  # Not twice at once.
  defp run(%{errands: errands} = state, what, fun) do
    if what in Map.values(errands),
      do: state,
      else: %{state | errands: Map.put(errands, go(fun), what)}
  end

  defp go(fun) do
    foreman = self()
    spawn_link(fn -> send(foreman, {:errand, self(), fun.()}) end)
  end
end

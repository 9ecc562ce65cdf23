defmodule Kantoku.Pool.Members do
  # Who is a member of a pool, as the rows of its domain have it, and who comes and goes so that there are as many as wanted. Starts
  # and stops nobody.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.Domain.{Book, Rows}
  alias Kantoku.Pool.{Config, Worker}

  @type member :: %{
          number: non_neg_integer,
          pid: pid | nil,
          phase: Rows.phase(),
          wanted: boolean,
          leaving: boolean,
          expired: boolean
        }

  @typedoc "Numbers to start, members to let go."
  @type plan :: {start :: [non_neg_integer], leave :: [member]}

  @doc "The numbers of all rows of a pool. Looks at every row of the instance."
  @spec numbers(:ets.tid(), atom) :: [non_neg_integer]
  def numbers(rows, pool), do: for(row(id: {:pool, ^pool, number}) <- Rows.of(rows, {:pool, pool}), do: number)

  @doc "The members among some numbers; who has no row is none. `leaving` maps numbers to the pid that was told to go."
  @spec look(:ets.tid(), Config.t(), Enumerable.t(), %{non_neg_integer => pid}) :: [member]
  def look(rows, config, numbers, leaving) do
    for number <- Enum.sort(numbers), row() = row <- [Rows.get(rows, Worker.id(config.name, number))] do
      member(row, number, config, leaving)
    end
  end

  defp member(row(pid: pid, phase: phase, wanted: wanted) = row, number, config, leaving) do
    pid = if phase == :up, do: pid

    %{
      number: number,
      pid: pid,
      phase: phase,
      wanted: wanted != false,
      leaving: wanted == false or (pid != nil and leaving[number] == pid),
      expired: phase == :up and expired?(row, config)
    }
  end

  defp expired?(_row, %{max_lifetime: nil}), do: false

  # The same for each look at one process, whoever looks.
  defp expired?(row(started: started, id: id, incarnation: incarnation), config) do
    jitter = div(config.max_lifetime * config.lifetime_jitter, 100)
    age = System.convert_time_unit(System.monotonic_time() - started, :native, :millisecond)
    age >= config.max_lifetime - :erlang.phash2({id, incarnation}, jitter + 1)
  end

  @doc "Who comes and who goes for `wanted` members; `idle` pids go first. Expired ones go when their successors are there."
  @spec plan([member], wanted :: non_neg_integer, idle :: [pid]) :: plan
  def plan(members, wanted, idle) do
    {leaving, staying} = Enum.split_with(members, & &1.leaving)
    outgoing = staying |> Enum.filter(& &1.expired) |> Enum.take(max(1, div(wanted, 10)))
    surplus = length(staying) - wanted

    cond do
      surplus < 0 -> {free(staying ++ leaving, -surplus), []}
      surplus < length(outgoing) -> {free(staying ++ leaving, length(outgoing) - surplus), []}
      outgoing != [] and Enum.count(staying, &(&1.pid != nil)) >= wanted + length(outgoing) -> {[], outgoing}
      outgoing != [] -> {[], dismissed(staying, surplus - length(outgoing), idle)}
      true -> {[], dismissed(staying, surplus, idle)}
    end
  end

  defp free(members, count) do
    taken = MapSet.new(members, & &1.number)
    Stream.iterate(0, &(&1 + 1)) |> Stream.reject(&(&1 in taken)) |> Enum.take(count)
  end

  # Who cannot work goes first, then who is idle, then the newest numbers: so those that keys are hashed to stay.
  defp dismissed(staying, count, idle) do
    staying |> Enum.sort_by(&{&1.pid != nil, &1.pid not in idle, -&1.number}) |> Enum.take(count)
  end

  @doc "The supervisors of a pool's domain by partition, and what each is starting."
  @spec starting(:ets.tid(), atom) :: [{Book.part(), Kantoku.Domain.Enrolment.mark()}]
  def starting(book, pool) do
    domain = {:pool, pool}

    for part <- 0..(Book.shape(book, domain).partitions - 1),
        mark = Kantoku.Domain.Enrolment.starting(book, domain, part),
        do: {part, mark}
  end
end

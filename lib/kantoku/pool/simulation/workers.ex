defmodule Kantoku.Pool.Simulation.Workers do
  # The workers and the queue of a simulated pool, from event to event: one request at a time for each worker, first come, first
  # served. Knows no scaler. Its answers are what became of requests: {:served, wait} | :rejected | :expired.
  @moduledoc false

  @enforce_keys [:size, :ready, :start_time, :max_queue, :max_wait]
  defstruct [:size, :ready, :start_time, :max_queue, :max_wait] ++
              [starting: [], busy: :gb_sets.new(), queue: :queue.new(), waiting: 0, served: 0, ends: []]

  @type ending :: {at :: number, {:served, wait :: number} | :rejected | :expired}

  @type t :: %__MODULE__{
          size: non_neg_integer,
          ready: integer,
          start_time: non_neg_integer,
          max_queue: non_neg_integer,
          max_wait: number | :infinity,
          starting: [{at :: number, count :: pos_integer}],
          busy: :gb_sets.set({number, pos_integer}),
          queue: :queue.queue({number, number}),
          waiting: non_neg_integer,
          served: non_neg_integer,
          ends: [ending]
        }

  @doc "All events until `to`, with the arrivals given. What ended is in `ends`, newest first, until `ended/1` takes it."
  @spec run(t, [{number, number}], number) :: t
  def run(workers, arrivals, to) do
    case next(workers, arrivals, to) do
      nil -> expire(workers, to)
      {:finish, at} -> workers |> finish() |> pull(at) |> run(arrivals, to)
      {:ready, at} -> workers |> arrive() |> pull(at) |> run(arrivals, to)
      {:arrival, at} -> workers |> receive_request(hd(arrivals), at) |> run(tl(arrivals), to)
    end
  end

  @doc "What ended since this was asked last, in order, and the workers without it."
  @spec ended(t) :: {[ending], t}
  def ended(workers), do: {Enum.reverse(workers.ends), %{workers | ends: []}}

  @doc "Starts or stops workers. Those that still start go first; one that is busy finishes what it has."
  @spec resize(t, non_neg_integer, number) :: t
  def resize(%{size: size} = workers, wanted, now) when wanted > size do
    starting = workers.starting ++ [{now + workers.start_time, wanted - size}]
    %{workers | size: wanted, starting: starting}
  end

  def resize(workers, wanted, _now) do
    {newest_first, left} = cancel(Enum.reverse(workers.starting), workers.size - wanted)
    %{workers | size: wanted, starting: Enum.reverse(newest_first), ready: workers.ready - left}
  end

  @doc "How many requests workers have and wait."
  @spec ongoing(t) :: non_neg_integer
  def ongoing(workers), do: :gb_sets.size(workers.busy) + workers.waiting

  @doc "The share of the ready workers that have a request."
  @spec utilization(t) :: float
  def utilization(%{ready: ready}) when ready <= 0, do: 1.0
  def utilization(workers), do: min(1.0, :gb_sets.size(workers.busy) / workers.ready)

  @doc "How long the oldest waits (ms)."
  @spec oldest(t, number) :: number
  def oldest(workers, now) do
    case :queue.peek(workers.queue) do
      {:value, {at, _}} -> now - at
      :empty -> 0
    end
  end

  # At one time: who finishes, then who becomes ready, then who comes. `:never` is later than any number.
  defp next(workers, arrivals, to) do
    {finish, ready, arrival} = {finishing(workers.busy), first(workers.starting), first(arrivals)}

    cond do
      finish <= to and finish <= ready and finish <= arrival -> {:finish, finish}
      ready <= to and ready <= arrival -> {:ready, ready}
      arrival <= to -> {:arrival, arrival}
      true -> nil
    end
  end

  defp finishing(busy) do
    if :gb_sets.is_empty(busy), do: :never, else: elem(:gb_sets.smallest(busy), 0)
  end

  defp first([]), do: :never
  defp first([{at, _} | _]), do: at

  defp finish(workers) do
    {_, busy} = :gb_sets.take_smallest(workers.busy)
    %{workers | busy: busy}
  end

  defp arrive(%{starting: [{_, count} | starting]} = workers),
    do: %{workers | ready: workers.ready + count, starting: starting}

  defp receive_request(workers, {at, service}, now) do
    cond do
      free?(workers) -> serve(workers, at, service, now)
      workers.waiting >= workers.max_queue -> ending(workers, now, :rejected)
      true -> %{workers | queue: :queue.in({at, service}, workers.queue), waiting: workers.waiting + 1}
    end
  end

  defp pull(workers, now) do
    if free?(workers) and workers.waiting > 0, do: workers |> pull_one(now) |> pull(now), else: workers
  end

  defp pull_one(workers, now) do
    {{:value, {at, service}}, queue} = :queue.out(workers.queue)
    workers = %{workers | queue: queue, waiting: workers.waiting - 1}
    if late?(workers, at, now), do: ending(workers, now, :expired), else: serve(workers, at, service, now)
  end

  defp serve(workers, at, service, now) do
    served = workers.served + 1

    ending(
      %{workers | busy: :gb_sets.add({now + service, served}, workers.busy), served: served},
      now,
      {:served, now - at}
    )
  end

  defp expire(workers, now) do
    if workers.waiting > 0 and late?(workers, now - oldest(workers, now), now),
      do: expire(ending(drop(workers), now, :expired), now),
      else: workers
  end

  defp drop(workers), do: %{workers | queue: :queue.drop(workers.queue), waiting: workers.waiting - 1}

  defp late?(%{max_wait: :infinity}, _at, _now), do: false
  defp late?(%{max_wait: most}, at, now), do: now - at > most

  defp free?(workers), do: :gb_sets.size(workers.busy) < workers.ready

  defp ending(workers, now, what), do: %{workers | ends: [{now, what} | workers.ends]}

  defp cancel(starting, 0), do: {starting, 0}
  defp cancel([], left), do: {[], left}
  defp cancel([{_at, count} | rest], left) when count <= left, do: cancel(rest, left - count)
  defp cancel([{at, count} | rest], left), do: {[{at, count - left} | rest], 0}
end

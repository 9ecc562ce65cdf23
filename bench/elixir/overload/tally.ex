defmodule Bench.Overload.Tally do
  @moduledoc false
  # What becomes of requests, by when it did: counts in slots of 100 ms from a start on, and how long those waited who were served.
  # Written by many processes at once.

  alias Bench.{Callers, Latencies}

  @slot 100
  @reasons [:overloaded, :queue_full, :other]

  @enforce_keys [:start, :slots, :late, :served, :refused, :slow, :waits]
  defstruct @enforce_keys

  @type t :: %__MODULE__{}
  @typedoc "From and until, in ms from the start."
  @type stretch :: {non_neg_integer, non_neg_integer}

  @doc "For so many ms from now on. Whoever waits more than `late` ms is counted as slow. Waits are kept by these stretches."
  @spec new(pos_integer, pos_integer, [stretch]) :: t
  def new(millis, late, stretches) do
    slots = div(millis, @slot) + 1
    counters = fn -> :counters.new(slots, [:write_concurrency]) end

    %__MODULE__{
      start: Callers.now(),
      slots: slots,
      late: late * 1_000_000,
      served: counters.(),
      slow: counters.(),
      refused: for(reason <- @reasons, into: %{}, do: {reason, counters.()}),
      waits: for(stretch <- stretches, do: {stretch, Latencies.new()})
    }
  end

  @doc "A request that began to wait at `meant` is served from now on."
  @spec waited(t, integer) :: :ok
  def waited(tally, meant) do
    now = Callers.now()
    at = div(now - tally.start, 1_000_000)
    for {{from, until}, waits} <- tally.waits, at >= from and at < until, do: Latencies.record(waits, now - meant)
    if now - meant > tally.late, do: :counters.add(tally.slow, slot(tally), 1)
    :ok
  end

  @doc "It was served."
  @spec served(t) :: :ok
  def served(tally), do: :counters.add(tally.served, slot(tally), 1)

  @doc "It was refused."
  @spec refused(t, atom) :: :ok
  def refused(%{refused: refused} = tally, reason),
    do: :counters.add(Map.get(refused, reason, refused.other), slot(tally), 1)

  defp slot(tally), do: min(div(Callers.now() - tally.start, @slot * 1_000_000) + 1, tally.slots)

  @doc "How many were served in a stretch."
  @spec count(t, stretch) :: non_neg_integer
  def count(tally, stretch), do: sum(tally.served, stretch)

  @doc "The fewest that were served in a second of a stretch."
  @spec worst_second(t, stretch) :: non_neg_integer
  def worst_second(tally, {from, until}) do
    Enum.min(for second <- from..(until - 1_000)//1_000, do: count(tally, {second, second + 1_000}))
  end

  @doc "How many were refused in a stretch, by reason."
  @spec refusals(t, stretch) :: [{atom, non_neg_integer}]
  def refusals(tally, stretch), do: for(reason <- @reasons, do: {reason, sum(tally.refused[reason], stretch)})

  @doc "How long those waited who were served in one of the stretches, in µs."
  @spec waits(t, stretch) :: [{String.t(), float}]
  def waits(tally, stretch) do
    {_stretch, waits} = List.keyfind(tally.waits, stretch, 0)
    Latencies.summary(waits)
  end

  @doc "After how many ms of a stretch nobody was refused or slow any more."
  @spec calm_after(t, stretch) :: non_neg_integer
  def calm_after(tally, {from, until}) do
    trouble = [tally.slow | Map.values(tally.refused)]
    troubled? = fn at -> Enum.any?(trouble, &(sum(&1, {at, at + @slot}) > 0)) end
    last = from..(until - @slot)//@slot |> Enum.filter(troubled?) |> List.last()
    if last, do: last + @slot - from, else: 0
  end

  defp sum(counters, {from, until}) do
    for(slot <- div(from, @slot)..(div(until, @slot) - 1)//1, do: :counters.get(counters, slot + 1)) |> Enum.sum()
  end
end

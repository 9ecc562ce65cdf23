defmodule Kantoku.Engine.Elixir.Metrics.Cells do
  # Counters, gauges and histograms in atomics. Floats are kept as their bits. Knows no names.
  @moduledoc false

  alias Kantoku.Metrics.Scale

  @type t ::
          {:counter, :atomics.atomics_ref()}
          | {:gauge, :atomics.atomics_ref()}
          | {:histogram, :atomics.atomics_ref(), ticks :: float}

  # Of a counter: what was whole, and the rest. Of a gauge: all of it.
  @whole 1
  @rest 2
  @value 1

  # Of a histogram: its buckets, and the sum of its ticks behind them.
  @buckets Scale.bounded() + 1
  @sum @buckets + 1

  # What is more in ticks is as much, and what is more is not added as a whole number: so thousands of the largest have room.
  @most 9_007_199_254_740_992

  # No series takes integers beyond.
  @words -9_223_372_036_854_775_808..9_223_372_036_854_775_807

  defguardp taken(number) when is_float(number) or (is_integer(number) and number in @words)

  @spec new(Kantoku.Engine.Metrics.kind(), float) :: t
  def new(:counter, _ticks), do: {:counter, :atomics.new(2, signed: true)}
  def new(:gauge, _ticks), do: {:gauge, :atomics.new(1, signed: true)}
  def new(:histogram, ticks), do: {:histogram, :atomics.new(@sum, signed: false), ticks}

  @doc "What one takes, in bytes."
  @spec bytes(Kantoku.Engine.Metrics.kind()) :: pos_integer
  def bytes(:counter), do: 16
  def bytes(:gauge), do: 8
  def bytes(:histogram), do: 8 * @sum

  @spec add(t, number) :: :ok | :refused
  def add({:counter, ref}, more) when is_integer(more) and more in 0..@most, do: :atomics.add(ref, @whole, more)
  def add({:counter, ref}, more) when taken(more) and more >= 0, do: add_float(ref, @rest, more)
  def add({:gauge, ref}, more) when taken(more), do: add_float(ref, @value, more)
  def add(_series, more) when is_number(more), do: :refused

  @spec set(t, number) :: :ok | :refused
  def set({:gauge, ref}, value) when taken(value), do: :atomics.put(ref, @value, bits(value))
  def set(_series, value) when is_number(value), do: :refused

  @spec observe(t, number) :: :ok | :refused
  def observe({:histogram, ref, ticks}, value) when taken(value) and value >= 0 do
    observed = if value < @most / ticks, do: trunc(value * ticks + 0.5), else: @most
    :atomics.add(ref, Scale.bucket(observed) + 1, 1)
    :atomics.add(ref, @sum, observed)
  end

  def observe(_series, value) when is_number(value), do: :refused

  @spec quantile(t, number) :: float | nil
  def quantile({:histogram, ref, ticks}, share) when is_number(share) do
    if found = ref |> counts() |> Scale.quantile(share), do: found / ticks
  end

  def quantile(_series, share) when is_number(share), do: nil

  @spec read(t) :: float | Kantoku.Engine.Metrics.spread()
  def read({:counter, ref}), do: unsigned(:atomics.get(ref, @whole)) + float(:atomics.get(ref, @rest))
  def read({:gauge, ref}), do: float(:atomics.get(ref, @value))
  def read({:histogram, ref, ticks}), do: ref |> counts() |> Scale.spread(:atomics.get(ref, @sum), ticks)

  defp counts(ref),
    do: for(bucket <- 0..(@buckets - 1), (count = :atomics.get(ref, bucket + 1)) > 0, do: {bucket, count})

  defp add_float(ref, place, more) do
    old = :atomics.get(ref, place)

    with {:ok, sum} <- sum(float(old), more),
         another when is_integer(another) <- :atomics.compare_exchange(ref, place, old, bits(sum)),
         do: add_float(ref, place, more)
  end

  # Which stays finite.
  defp sum(one, other) do
    {:ok, one + other}
  rescue
    ArithmeticError -> :refused
  end

  # Of a counter all 64 bits count.
  defp unsigned(word) when word < 0, do: word + 0x1_0000_0000_0000_0000
  defp unsigned(word), do: word

  defp bits(value) do
    <<bits::signed-64>> = <<value::float-64>>
    bits
  end

  defp float(bits) do
    <<value::float-64>> = <<bits::signed-64>>
    value
  end
end

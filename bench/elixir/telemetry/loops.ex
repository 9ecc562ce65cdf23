defmodule Bench.Telemetry.Loops do
  @moduledoc false
  # The tight loops that are timed, each with its call written out; and what the peers record in.
  @compile {:no_warn_undefined, [:telemetry, :hdr_histogram]}

  alias Kantoku.Metrics

  # The boundaries that Prometheus's own clients begin with, in ns.
  @bounds for bound <- [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10], do: trunc(bound * 1_000_000_000)
  @sum length(@bounds) + 2

  @event [:bench, :request, :stop]
  @table __MODULE__

  @doc "`count` observations of durations in ns; `where` is what the side records at."
  @spec observe(:ours | :counters | :telemetry, where :: term, pos_integer) :: :ok
  def observe(:ours, series, count), do: ours(series, count)
  def observe(:counters, ref, count), do: counters(ref, count)
  def observe(:telemetry, _table, count), do: telemetry(count)

  @doc "`count` additions of one."
  @spec add(:ours | :counters, where :: term, pos_integer) :: :ok
  def add(_side, _where, 0), do: :ok

  def add(:ours, series, count) do
    :ok = Metrics.add(series, 1)
    add(:ours, series, count - 1)
  end

  def add(:counters, ref, count) do
    :ok = :counters.add(ref, 1, 1)
    add(:counters, ref, count - 1)
  end

  @doc "`count` times the 99th percentile."
  @spec quantile(:ours | :hdr_histogram, where :: term, pos_integer) :: :ok
  def quantile(_side, _where, 0), do: :ok

  def quantile(:ours, series, count) do
    _p99 = Kantoku.Engine.Metrics.quantile(series, 0.99)
    quantile(:ours, series, count - 1)
  end

  def quantile(:hdr_histogram, histogram, count) do
    _p99 = :hdr_histogram.percentile(histogram, 99.0)
    quantile(:hdr_histogram, histogram, count - 1)
  end

  @doc "A histogram of :counters: a count for each boundary, and a sum."
  @spec counters() :: :counters.counters_ref()
  def counters, do: :counters.new(@sum, [:write_concurrency])

  @doc "Whether :telemetry is here."
  @spec telemetry?() :: boolean
  def telemetry?, do: Code.ensure_loaded?(:telemetry)

  @doc "A handler that keeps the same in a table."
  @spec attach() :: :ok
  def attach do
    :ets.new(@table, [:named_table, :public, write_concurrency: true])
    :ok = :telemetry.attach(@table, @event, &__MODULE__.handle/4, nil)
  end

  @doc false
  def handle(_event, %{duration: ns}, %{kind: kind}, _config) do
    key = {kind, bucket(ns)}
    :ets.update_counter(@table, key, 1, {key, 0})
    :ets.update_counter(@table, {kind, :sum}, ns, {{kind, :sum}, 0})
  end

  defp ours(_series, 0), do: :ok

  defp ours(series, count) do
    :ok = Metrics.observe(series, duration(count) / 1.0e9)
    ours(series, count - 1)
  end

  defp counters(_ref, 0), do: :ok

  defp counters(ref, count) do
    ns = duration(count)
    :counters.add(ref, bucket(ns), 1)
    :counters.add(ref, @sum, ns)
    counters(ref, count - 1)
  end

  defp telemetry(0), do: :ok

  defp telemetry(count) do
    :ok = :telemetry.execute(@event, %{duration: duration(count)}, %{kind: :request})
    telemetry(count - 1)
  end

  # From 1 to 100 ms.
  defp duration(count), do: 1_000_000 + rem(count * 7_919, 99) * 1_000_000

  for {bound, at} <- Enum.with_index(@bounds, 1), do: defp(bucket(ns) when ns <= unquote(bound), do: unquote(at))
  defp bucket(_ns), do: unquote(length(@bounds) + 1)
end

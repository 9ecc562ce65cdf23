defmodule Demo.Gauges do
  # What has happened so far, in numbers that every process of a run may change and read. Knows nobody who does.
  @moduledoc false

  alias Demo.Histogram

  @names [:files, :parts, :bytes, :binary, :unreadable, :damaged, :too_large] ++
           [:kills, :spared, :restarts, :parked, :repeated, :refused, :called_back, :pass, :floor] ++
           [:queue_full, :overloaded, :late, :died, :pool_closed, :breaker_open] ++
           [:hangs, :slowdowns, :leaks, :stuck_found, :healthy_restarted, :hung_killed, :hung_left] ++
           [{:again, :read}, {:again, :extract}, {:again, :index}]
  @numbers @names |> Enum.with_index(1) |> Map.new()
  @histograms [:work, :back, :beyond]

  @type name :: atom | {:again, kind :: atom}
  @type spread :: %{p50: non_neg_integer, p99: non_neg_integer}

  @doc "Makes the gauges of an instance, all at 0."
  @spec new(atom) :: :ok
  def new(instance) do
    histograms = Map.new(@histograms, &{&1, Histogram.new()})
    :persistent_term.put({__MODULE__, instance}, {:counters.new(length(@names), []), histograms})
  end

  @doc "Adds to a number."
  @spec add(atom, name, integer) :: :ok
  def add(instance, name, change \\ 1), do: :counters.add(counters(instance), @numbers[name], change)

  @doc "Sets a number, of which one process alone says what it is."
  @spec put(atom, name, integer) :: :ok
  def put(instance, name, value), do: :counters.put(counters(instance), @numbers[name], value)

  @doc "Reads a number."
  @spec get(atom, name) :: integer
  def get(instance, name), do: :counters.get(counters(instance), @numbers[name])

  @doc "Reads all numbers."
  @spec all(atom) :: %{name => integer}
  def all(instance), do: Map.new(@names, &{&1, get(instance, &1)})

  @doc "Records a duration in µs: `:work` on a file, `:back` from kill to back, `:beyond` the delay that the policy asked for."
  @spec record(atom, :work | :back | :beyond, integer) :: :ok
  def record(instance, name, duration), do: instance |> histogram(name) |> Histogram.record(duration)

  @doc "The median and the 99th percentile of durations in µs."
  @spec spread(atom, :work | :back | :beyond) :: spread
  def spread(instance, name) do
    histogram = histogram(instance, name)
    %{p50: Histogram.quantile(histogram, 0.5), p99: Histogram.quantile(histogram, 0.99)}
  end

  @doc "All spreads."
  @spec spreads(atom) :: %{(:work | :back | :beyond) => spread}
  def spreads(instance), do: Map.new(@histograms, &{&1, spread(instance, &1)})

  defp counters(instance), do: elem(:persistent_term.get({__MODULE__, instance}), 0)
  defp histogram(instance, name), do: Map.fetch!(elem(:persistent_term.get({__MODULE__, instance}), 1), name)
end

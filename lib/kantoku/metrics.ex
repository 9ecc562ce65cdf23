defmodule Kantoku.Metrics do
  @moduledoc """
  Counters, gauges and histograms of an instance: Kantoku's own and yours, through one door.

      :ok = Kantoku.Metrics.counter(MyApp.Agents, "tokens_used", labels: [:model], help: "Tokens that were paid for.")
      :ok = Kantoku.Metrics.histogram(MyApp.Agents, "answer_duration_seconds", unit: :seconds)

      :ok = Kantoku.Metrics.add(MyApp.Agents, "tokens_used", 512, model: "small")
      :ok = Kantoku.Metrics.observe(MyApp.Agents, "answer_duration_seconds", 0.25)

      {:ok, seconds} = Kantoku.Metrics.quantile(MyApp.Agents, "answer_duration_seconds", 0.99)

  A metric is declared once, with its kind and the names of its labels; declaring the same again changes nothing, so any process may do
  it as it starts. Where something is counted often, `series/3` finds the series once, and `add/2`, `set/2` and `observe/2` record there without a
  lock and without looking anything up:

      {:ok, small} = Kantoku.Metrics.series(MyApp.Agents, "tokens_used", model: "small")
      :ok = Kantoku.Metrics.add(small, 512)

  Recording never waits, and never fails for who reads. What is measured is of the instance, and ends with it.

  ## What it costs

  A histogram has buckets whose width grows with what they hold (32 for each power of two, as in HdrHistogram): 8.8 KB a series, whatever comes, and
  a quantile is within 3 % of what was observed. The engine's counters have a place for each few schedulers.

  Labels are what makes metrics expensive, so both are limited (option `:metrics` of `Kantoku`):

  #{Kantoku.Options.docs(Kantoku.Metrics.Config.schema())}

  Who asks for one series more than `:max_series` is given the one of which each label says `other`, and
  `kantoku_metrics_folded_total` counts that. Pools and breakers beyond it are summed there too, and a place that one leaves as it is stopped or
  removed is another's. An agent's id is no label: there are too many of them. What would be beyond `:max_bytes` is refused with `:limit`, which is
  logged once.

  ## Names

  Of letters, digits and `_`, as Prometheus has them, with the unit at the end and without what is added where they are written out: a counter
  is `tokens_used`, and read as `tokens_used_total`. Names that begin with `kantoku_` or `erlang_vm_` are Kantoku's own, as are those that Prometheus
  has for a process (`process_cpu_seconds`): they can be read, not declared or recorded. A bad name or label raises `ArgumentError`, as does
  another kind or other labels than a metric was declared with.

  Values of labels are texts; other terms are shown as they are written (of modules without `Elixir.`), and 200 bytes of what is longer.

  ## Kantoku's own

  Each has the label `instance`, before those that are its own. Pools or breakers whose names are the same as texts (`:api` and `"api"`) have
  one series, which is their sum.

  | metric | kind | what |
  |---|---|---|
  #{Enum.map_join(Kantoku.Metrics.Own.all() ++ Kantoku.Metrics.Standing.all(), "\n", fn {name, kind, help} -> "| `#{name}` | #{kind} | #{help} |" end)}

  Beside these are the counter `kantoku_handler_events`, of each handler of `Kantoku.Telemetry.attach/4` by `outcome` (`handled`, `failed`, `dropped`),
  without `instance` of those that hear of all, and those of `Kantoku.Resources.families/1`, of which what is the VM's (`erlang_vm_`, `process_`) is of no instance. What pools do is read when somebody looks, and costs a request nothing but an addition where the pool's lock is held anyway.

  All functions answer `{:error, %Kantoku.Error{}}`: `:not_running`, and `:not_found` where a metric was not declared.
  See the guide "Observability".
  """

  alias Kantoku.Engine.Metrics, as: Engine
  alias Kantoku.{Error, Resources, Telemetry}
  alias Kantoku.Metrics.{Board, Definition, Exemplars, Spread, Standing}

  @typedoc "Where to record: found once, good as long as anyone holds it."
  @opaque series :: Engine.series()

  @typedoc "Values by the names of labels, all that the metric was declared with."
  @type labels :: keyword | %{atom => term}

  @typedoc """
  How the observations of a histogram are spread. Counts are of each bucket alone; empty buckets are left out but for the bound that another one
  begins at, as is what lies above them all.
  """
  @type spread :: %{
          buckets: [{upper_bound :: float, non_neg_integer}],
          above: non_neg_integer,
          sum: float,
          count: non_neg_integer
        }

  @typedoc "A metric with all of its series. `name` is without `_total`."
  @type family :: %{
          name: String.t(),
          help: String.t(),
          unit: String.t() | nil,
          kind: :counter | :gauge | :histogram,
          series: [%{labels: %{String.t() => String.t()}, value: float | spread}]
        }

  # Declaring ------------------------------------------------------------------------------------------------------------

  @doc """
  Declares a counter, of what only grows.

  #{Definition.docs()}

  `:least` is for histograms only. Errors: `:limit`.
  """
  @spec counter(instance :: atom, name :: String.t(), keyword) :: :ok | {:error, Error.t()}
  def counter(instance, name, opts \\ []), do: declare(instance, Definition.new!(name, :counter, opts))

  @doc "Declares a gauge, of what rises and falls. Options as for `counter/3`."
  @spec gauge(instance :: atom, name :: String.t(), keyword) :: :ok | {:error, Error.t()}
  def gauge(instance, name, opts \\ []), do: declare(instance, Definition.new!(name, :gauge, opts))

  @doc "Declares a histogram, of how observations are spread. Options as for `counter/3`."
  @spec histogram(instance :: atom, name :: String.t(), keyword) :: :ok | {:error, Error.t()}
  def histogram(instance, name, opts \\ []), do: declare(instance, Definition.new!(name, :histogram, opts))

  defp declare(instance, definition),
    do: Board.reading(instance, fn collection, found -> Board.declare({collection, found}, definition) end)

  # Recording ------------------------------------------------------------------------------------------------------------

  @doc """
  The series of a metric, to record at it often. Ask again where the instance was started anew: what is recorded at a series of one that is
  gone is lost.
  """
  @spec series(instance :: atom, name :: String.t(), labels) :: {:ok, series} | {:error, Error.t()}
  def series(instance, name, labels \\ []) do
    Definition.users!(name)

    Board.reading(instance, fn collection, found -> Board.series(instance, {collection, found}, name, labels) end)
  end

  @doc "Adds to a counter (0 or more) or a gauge (any number)."
  @spec add(series, number) :: :ok
  def add(series, number) when is_number(number), do: Engine.add(series, number) |> taken!(number)

  @doc "Sets a gauge."
  @spec set(series, number) :: :ok
  def set(series, number) when is_number(number), do: Engine.set(series, number) |> taken!(number)

  @doc "Adds an observation (0 or more, in the metric's unit) to a histogram."
  @spec observe(series, number) :: :ok
  def observe(series, number) when is_number(number), do: Engine.observe(series, number) |> taken!(number)

  defp taken!(:ok, _number), do: :ok

  defp taken!(:refused, number) do
    raise ArgumentError,
          "expected what a metric of this kind takes: add/2 for counters (0 or more) and gauges, set/2 for gauges, observe/2 for " <>
            "histograms (0 or more), of at most 64 bits and so that sums stay finite; got: #{inspect(number)}"
  end

  @doc "As `add/2`, of a metric by its name."
  @spec add(instance :: atom, name :: String.t(), number, labels) :: :ok | {:error, Error.t()}
  def add(instance, name, number, labels \\ []), do: record(instance, name, labels, &add(&1, number))

  @doc "As `set/2`, of a metric by its name."
  @spec set(instance :: atom, name :: String.t(), number, labels) :: :ok | {:error, Error.t()}
  def set(instance, name, number, labels \\ []), do: record(instance, name, labels, &set(&1, number))

  @doc """
  As `observe/2`, of a metric by its name. Within a span that is recorded (`Kantoku.Trace`) it may become an exemplar: OpenMetrics and OTLP tell it with
  the ids of its trace.
  """
  @spec observe(instance :: atom, name :: String.t(), number, labels) :: :ok | {:error, Error.t()}
  def observe(instance, name, number, labels \\ []) do
    with :ok <- record(instance, name, labels, &observe(&1, number)),
         do: Exemplars.observed(instance, name, number, labels)
  end

  defp record(instance, name, labels, fun), do: with({:ok, series} <- series(instance, name, labels), do: fun.(series))

  # Looking --------------------------------------------------------------------------------------------------------------

  @doc """
  What a share of a histogram's observations (0 to 1) is not above, in its unit and within 3 %; `nil` of none. Kantoku's own are asked as yours
  are:

      {:ok, p99} = Kantoku.Metrics.quantile(MyApp.Agents, "kantoku_pool_request_duration_seconds", 0.99, pool: :writers)

  Labels that have no series of their own are those of all others (`other`) where the metric has as many as it may, and else of nothing.
  """
  @spec quantile(instance :: atom, name :: String.t(), share :: number, labels) ::
          {:ok, float | nil} | {:error, Error.t()}
  def quantile(instance, name, share, labels \\ []) when is_number(share) do
    Board.reading(instance, fn collection, found ->
      Board.quantile(instance, {collection, found}, name, share, labels)
    end)
  end

  @doc """
  The same of a series that was found, or of the value of a histogram in a snapshot.

      iex> Kantoku.Metrics.quantile(%{buckets: [{0.25, 0}, {0.5, 3}, {1.0, 1}], above: 0, sum: 2.0, count: 4}, 0.5)
      0.375
  """
  @spec quantile(series | spread, share :: number) :: float | nil
  def quantile(%{buckets: _} = spread, share) when is_number(share), do: spread |> told() |> Spread.quantile(share)
  def quantile(series, share) when is_number(share), do: Engine.quantile(series, share)

  @doc """
  How observations are spread that were made in several places: the values of one histogram's series, of several instances or nodes.

      iex> here = %{buckets: [{0.25, 0}, {0.5, 3}], above: 0, sum: 1.2, count: 3}
      iex> there = %{buckets: [{0.5, 1}, {1.0, 2}], above: 0, sum: 2.0, count: 3}
      iex> both = Kantoku.Metrics.merge(here, there)
      %{buckets: [{0.25, 0}, {0.5, 4}, {1.0, 2}], above: 0, sum: 3.2, count: 6}
      iex> Kantoku.Metrics.quantile(both, 0.5)
      0.375

  A quantile of what was merged is as good as one of all observations together, which no mean of quantiles is.
  """
  @spec merge(spread, spread) :: spread
  def merge(%{buckets: _} = one, %{buckets: _} = other), do: Spread.merge(told(one), told(other)) |> value()

  defp told(%{buckets: buckets, above: above, sum: sum, count: count}), do: {buckets, above, sum, count}

  @doc """
  All metrics of an instance that have a series, as they are now; after them how its objectives, health and store stand, what its handlers did, and what its agents
  and the VM use (`Kantoku.Resources.families/1`), unless it does not look at that. Who records is not held up.

      {:ok, families} = Kantoku.Metrics.snapshot(MyApp.Agents)
      %{series: series} = Enum.find(families, &(&1.name == "kantoku_pool_queue"))
  """
  @spec snapshot(instance :: atom) :: {:ok, [family]} | {:error, Error.t()}
  def snapshot(instance) do
    read = fn collection, _found -> {:ok, collection |> Engine.snapshot() |> Enum.map(&family/1)} end

    with {:ok, families} <- Board.reading(instance, read),
         do: {:ok, families ++ Standing.of(instance) ++ Telemetry.Families.of(instance) ++ used(instance)}
  end

  defp used(instance), do: with({:error, _not_looked_at} <- Resources.families(instance), do: {:ok, []}) |> elem(1)

  defp family({name, help, unit, kind, series}) do
    series = for {labels, value} <- series, do: %{labels: Map.new(labels), value: value(value)}
    %{name: name, help: help, unit: unit, kind: kind, series: series}
  end

  defp value({buckets, above, sum, count}), do: %{buckets: buckets, above: above, sum: sum, count: count}
  defp value(number), do: number
end

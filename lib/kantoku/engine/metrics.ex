defmodule Kantoku.Engine.Metrics do
  @moduledoc """
  What an engine knows of metrics: families by name, series by the values of their labels, and what was recorded at each.

  Metrics are not an instance's facts but of whoever opened them: a *collection*, and the *series* that it gives out, are terms, and live as
  long as somebody holds them. So which engine keeps them is seen by the term, nothing has to be looked up to record, and what
  is measured outlives a registry that is started again.

  ## Rules

    * **A family** is declared once, and stays what it was declared as. `ticks` is how many steps of a histogram make one of its unit.
    * **A series** is named by one text for each label, in the order of the family's labels.
    * **A limit** on the series of a family: who asks for one more is given the series of which each label is `"other"`, and that is counted
      (`kantoku_metrics_folded_total`). A limit on bytes: who asks for more is refused.
    * **A reading** is bound to a series, and made when somebody looks: counts of pools, breakers and spans, and native bytes. What cannot be read is
      left out, and what is of nothing that is there may be refused. Readings that are bound to the same values are summed, as are all those
      for which there is no series more, under `"other"`. Nothing is recorded at such a series.
    * **Sums are finite.** What would make one infinite is refused, as are integers beyond 64 bits; a histogram counts what is beyond 2^53 ticks as
      that.
    * **A histogram** has 32 buckets for each power of two of ticks from 1024 to 2^42, so a quantile is within 3 % of what was observed; what
      is less or more has a bucket at each end.
  """

  alias Kantoku.Engine.Elixir.Metrics
  alias Kantoku.Native

  @opaque collection :: reference | Metrics.t()
  @opaque series :: reference | Metrics.series()

  @type kind :: :counter | :gauge | :histogram
  @type unit :: nil | :seconds | :bytes | :ratio

  @typedoc "Labels and their values, in order."
  @type labels :: [{String.t(), String.t()}]

  @typedoc "Upper bounds in the family's unit with how many are in each bucket (not cumulative), how many are above, their sum and count."
  @type spread :: {[{float, non_neg_integer}], above :: non_neg_integer, sum :: float, count :: non_neg_integer}

  @type family :: {name :: String.t(), help :: String.t(), unit :: String.t() | nil, kind, [{labels, float | spread}]}

  @type reading ::
          {:pool, atom, atom, figure :: atom}
          | {:breaker, atom, name :: term, figure :: atom}
          | {:spans, atom, outcome :: :kept | :dropped | :taken}
          | {:bytes, atom, owner :: atom}

  @type refusal ::
          :unknown
          | :bound
          | {:different, kind, [String.t()]}
          | {:labels, non_neg_integer}
          | {:limit, bytes :: pos_integer}

  @doc "A collection whose series all begin with the labels `common`."
  @callback metrics_open(common :: labels, series :: pos_integer, bytes :: pos_integer) :: collection | :unknown

  @callback metrics_declare(collection, name :: String.t(), help :: String.t(), {kind, unit, ticks :: float}, [
              String.t()
            ]) ::
              :ok | {:error, refusal}

  @doc "The series of these values, or that of all others."
  @callback metrics_series(collection, name :: String.t(), values :: [String.t()]) ::
              {:ok | :other, series} | {:error, refusal}

  @doc "Binds a reading to these values; `:other` if it is part of the series of all others."
  @callback metrics_bind(collection, name :: String.t(), values :: [String.t()], reading) ::
              :ok | :other | {:error, refusal}

  @doc "Takes away a reading while it still can be read; in the sum of all others it leaves what it was last."
  @callback metrics_unbind(collection, name :: String.t(), values :: [String.t()], reading) :: :ok | {:error, refusal}

  @doc """
  Keeps one observation of a histogram and the trace and span that it was made in, for exporters: the last of each size (a power of two), of at most 16
  sizes of at most 256 series. `at` is in seconds since 1970. `:other` where it is not kept: always by the Elixir engine, whose numbers exporters are only given.
  """
  @callback metrics_exemplar(
              collection,
              name :: String.t(),
              values :: [String.t()],
              value :: number,
              at :: float,
              {trace_id :: String.t(), span_id :: String.t()}
            ) :: :ok | :other | {:error, refusal}

  @doc "As `c:metric_quantile/2`, of the series of these values, or that of all others where they have none. Enters nothing."
  @callback metrics_quantile(collection, name :: String.t(), values :: [String.t()], share :: number) ::
              {:ok, float | nil} | {:error, refusal}

  @callback metrics_snapshot(collection) :: [family]

  @callback metrics_bytes(collection) :: non_neg_integer

  @doc "Adds to a counter (not less than 0) or a gauge; `:refused` if the series does not take that. So do the next two."
  @callback metric_add(series, number) :: :ok | :refused

  @callback metric_set(series, number) :: :ok | :refused

  @callback metric_observe(series, number) :: :ok | :refused

  @doc "What a share of the observations (0 to 1) is not above, in the family's unit; `nil` of none."
  @callback metric_quantile(series, share :: number) :: float | nil

  @doc "Opens a collection in the engine asked for; without a native library, in the other one."
  @spec open(Kantoku.Engine.kind(), labels, pos_integer, pos_integer) :: collection
  def open(:native, common, series, bytes) do
    case Native.metrics_open(common, series, bytes) do
      :unknown -> open(:elixir, common, series, bytes)
      collection -> collection
    end
  end

  def open(:elixir, common, series, bytes), do: Metrics.metrics_open(common, series, bytes)

  @doc "See `c:metrics_declare/5`."
  @spec declare(collection, String.t(), String.t(), {kind, unit, float}, [String.t()]) :: :ok | {:error, refusal}
  def declare(collection, name, help, shape, labels),
    do: of(collection).metrics_declare(collection, name, help, shape, labels)

  @doc "See `c:metrics_series/3`."
  @spec series(collection, String.t(), [String.t()]) :: {:ok | :other, series} | {:error, refusal}
  def series(collection, name, values), do: of(collection).metrics_series(collection, name, values)

  @doc "See `c:metrics_bind/4`."
  @spec bind(collection, String.t(), [String.t()], reading) :: :ok | :other | {:error, refusal}
  def bind(collection, name, values, reading), do: of(collection).metrics_bind(collection, name, values, reading)

  @doc "See `c:metrics_unbind/4`."
  @spec unbind(collection, String.t(), [String.t()], reading) :: :ok | {:error, refusal}
  def unbind(collection, name, values, reading), do: of(collection).metrics_unbind(collection, name, values, reading)

  @doc "See `c:metrics_exemplar/6`."
  @spec exemplar(collection, String.t(), [String.t()], number, float, {String.t(), String.t()}) ::
          :ok | :other | {:error, refusal}
  def exemplar(collection, name, values, value, at, ids),
    do: of(collection).metrics_exemplar(collection, name, values, value, at, ids)

  @doc "See `c:metrics_quantile/4`."
  @spec quantile(collection, String.t(), [String.t()], number) :: {:ok, float | nil} | {:error, refusal}
  def quantile(collection, name, values, share), do: of(collection).metrics_quantile(collection, name, values, share)

  @doc "Whether native threads can read a collection."
  @spec native?(collection) :: boolean
  def native?(collection), do: is_reference(collection)

  @doc "See `c:metrics_snapshot/1`."
  @spec snapshot(collection) :: [family]
  def snapshot(collection), do: of(collection).metrics_snapshot(collection)

  @doc "See `c:metrics_bytes/1`."
  @spec bytes(collection) :: non_neg_integer
  def bytes(collection), do: of(collection).metrics_bytes(collection)

  @doc "See `c:metric_add/2`."
  @spec add(series, number) :: :ok | :refused
  def add(series, number) when is_reference(series), do: Native.metric_add(series, number)
  def add(series, number), do: Metrics.metric_add(series, number)

  @doc "See `c:metric_set/2`."
  @spec set(series, number) :: :ok | :refused
  def set(series, number) when is_reference(series), do: Native.metric_set(series, number)
  def set(series, number), do: Metrics.metric_set(series, number)

  @doc "See `c:metric_observe/2`."
  @spec observe(series, number) :: :ok | :refused
  def observe(series, number) when is_reference(series), do: Native.metric_observe(series, number)
  def observe(series, number), do: Metrics.metric_observe(series, number)

  @doc "See `c:metric_quantile/2`."
  @spec quantile(series, number) :: float | nil
  def quantile(series, share), do: of(series).metric_quantile(series, share)

  defp of(term) when is_reference(term), do: Native
  defp of(_ours), do: Metrics
end

defmodule Kantoku.SLO do
  @moduledoc """
  How good calls are meant to be, how good they were, and how fast what may fail is used up.

      {Kantoku,
       name: MyApp.Agents,
       objectives: [
         [name: :writers, pool: :writers, target: 99.9],
         [name: :quick_answers, type: MyApp.Assistant, target: 95, latency: 2_000],
         [name: :checkout, operation: "checkout", target: 99.5]
       ]}

      {:ok, %{budget: %{left: left}, burn_rates: rates}} = Kantoku.SLO.report(MyApp.Agents, :writers)

  An objective says what percent of calls is to be good over a window. What is left to a hundred percent is its *error budget*: how
  many may be bad. The *burn rate* is how many times faster than evenly the budget is being used up. Names, defaults and
  alerts are those of Google's [SRE workbook](https://sre.google/workbook/alerting-on-slos/).

  ## What is counted

    * of a pool: `Kantoku.Pool.call/3`, `Kantoku.Pool.run/3` and leases that are handed in. Casts are not;
    * of a type: `Kantoku.call/4` to agents of that module (the `type` of the registry);
    * of an operation: what `record/4` and `measure/4` say.

  A call is good if it was answered, or handed in as `:ok`; with a `:latency`, if that took no longer. One that timed out, crashed or
  was refused is bad, as its caller had nothing of it. A refusal that is the caller's own doing (`:quota`, `:not_found`) is not counted.
  What a reply says is not looked at.

  A call costs half a microsecond more: two readings of the clock and, for each objective, one addition to a counter of its scheduler.
  Where no objective asks for it, nothing.

  ## Options of an objective

  #{Kantoku.SLO.Objective.docs()}

  ## Burn rates

  A burn rate is too high if it is so over `:long` (enough of the budget is gone to matter) and over `:short` (it goes on): multiwindow,
  multi-burn-rate alerts. Unless told otherwise those of the workbook's table, as far as they fit into the window:

  | rate | long | short | severity | of a budget of 30 days |
  |---|---|---|---|---|
  | 14.4 | 1 h | 5 min | `:page` | 2 % |
  | 6 | 6 h | 30 min | `:page` | 5 % |
  | 1 | 3 d | 6 h | `:ticket` | 10 % |

  What is too high becomes an alert by itself (`Kantoku.Alert`). Rates and budgets are among the metrics, too (`kantoku_slo_burn_rate` and others,
  see `Kantoku.Metrics`), for Prometheus to alert on.

  ## What is remembered

  For each window a hundred buckets, whatever comes: a window ends now, and begins up to two hundredths of it late. A count is
  put down to the second in which it is looked at.

  Where the instance's store outlives the VM (`Kantoku.Store.Disk`), histories are kept in it once a minute, by `flush/1`, and in an orderly shutdown.
  A VM that is killed loses what came since: up to a minute of it. An objective goes on with what was kept under its name if it is of
  the same, with the same latency. Objectives that were put at run time are the instance's, and end with it.

  Time in which the VM did not run is time in which nothing came. A clock that is set back makes nothing younger or older; one that is
  set forward makes all that was counted older.

  All functions answer `{:error, %Kantoku.Error{}}`: `:not_running`, `:not_found` where there is no such objective, `:restarting`
  while who keeps them is being started again. See the guide "Objectives and alerts".
  """

  alias Kantoku.{Error, Instances, Telemetry}
  alias Kantoku.SLO.{Board, Clerk, Drawing, History, Objective, Report, Watch}

  @typedoc "How a call ended. `:ignore`: as if it had not been made."
  @type outcome :: :ok | :error | :ignore

  @typedoc """
  What an objective comes to:

    * what was asked for: `name`, `of` (`{:pool, name}`, `{:type, module}`, `{:operation, name}`), `kind` (`:availability` or `:latency`),
      `target` in percent, `latency` in ms or `nil`, `window` in ms;
    * `good` and `bad` calls within the window, and `ratio`, percent that were good, `nil` of none; `since`, ms of system time,
      when counting began;
    * `budget`: how many bad calls are `allowed` of so many, what part of these was `spent` (above 1 when there were more), and
      `left`, 1 less that;
    * `burn_rates`: each pair with its `rate`, `long`, `short` and `severity`, the `long_rate` and `short_rate` that were found, and
      whether it is `burning`;
    * `history`: the window's buckets, oldest first: `at`, `until` (ms of system time), `good`, `bad`, their `burn_rate`, and what
      was `left` of the budget after them.
  """
  @type report :: map

  # Calls ------------------------------------------------------------------------------------------------------------------

  @doc """
  Says how an operation ended and how many ms it took; `duration` matters to objectives with a `:latency`. `:ok` as well where no
  objective is of that operation.

      :ok = Kantoku.SLO.record(MyApp.Agents, "checkout", :ok, 120)
  """
  @spec record(instance :: atom, operation :: term, outcome, duration :: non_neg_integer) :: :ok | {:error, Error.t()}
  def record(instance, operation, outcome, duration \\ 0)
      when outcome in [:ok, :error, :ignore] and is_integer(duration) and duration >= 0,
      do: Watch.operation(instance, operation, outcome, duration * 1_000_000)

  @doc """
  Runs `fun` as an operation, records how it ended and how long it took, and answers what it does. What leaves by an exception is bad,
  and passes through. `:failure?` is a function of the result that says whether it counts as bad; by default `:error` and `{:error, _}` do.

      {:ok, order} = Kantoku.SLO.measure(MyApp.Agents, "checkout", fn -> MyApp.Shop.checkout(cart) end)
  """
  @spec measure(instance :: atom, operation :: term, (() -> result), keyword) :: result when result: term
  def measure(instance, operation, fun, opts \\ []) when is_function(fun, 0) do
    failure? = Keyword.get(Keyword.validate!(opts, failure?: &failure?/1), :failure?)
    begun = Watch.now()

    try do
      result = fun.()
      {result, if(failure?.(result), do: :error, else: :ok)}
    catch
      kind, reason ->
        Watch.operation(instance, operation, :error, Watch.now() - begun)
        :erlang.raise(kind, reason, __STACKTRACE__)
    else
      {result, outcome} ->
        Watch.operation(instance, operation, outcome, Watch.now() - begun)
        result
    end
  end

  defp failure?(:error), do: true
  defp failure?({:error, _reason}), do: true
  defp failure?(_result), do: false

  # Life -------------------------------------------------------------------------------------------------------------------

  @doc """
  Adds an objective, with the options above, or changes the one of that name: it goes on with what was counted if it is of the same,
  with the same latency. A window that was not looked at before is made of what the others have. Raises `ArgumentError` on a bad option.

      :ok = Kantoku.SLO.put(MyApp.Agents, name: :checkout, operation: "checkout", target: 99)
  """
  @spec put(instance :: atom, keyword) :: :ok | {:error, Error.t()}
  def put(instance, opts) do
    objective = Objective.new!(opts)

    with :ok <- Clerk.ask(instance, {:put, objective.name, objective}),
         do: Telemetry.emit(instance, [:objective, :put], %{}, %{objective: objective.name})
  end

  @doc "Takes an objective away, with all that was counted and kept for it."
  @spec delete(instance :: atom, name :: term) :: :ok | {:error, Error.t()}
  def delete(instance, name) do
    with :ok <- Clerk.ask(instance, {:delete, name}),
         do: Telemetry.emit(instance, [:objective, :deleted], %{}, %{objective: name})
  end

  @doc "Has all histories kept, where the store outlives the VM, and answers when they are."
  @spec flush(instance :: atom) :: :ok | {:error, Error.t() | term}
  def flush(instance), do: Clerk.ask(instance, {:flush, :all})

  # Looking ----------------------------------------------------------------------------------------------------------------

  @doc "The names of an instance's objectives, in no order."
  @spec names(instance :: atom) :: {:ok, [term]} | {:error, Error.t()}
  def names(instance), do: Board.reading(instance, &{:ok, Board.names(&1)})

  @doc "What an objective comes to now (`t:report/0`), read without asking any process."
  @spec report(instance :: atom, name :: term) :: {:ok, report} | {:error, Error.t()}
  def report(instance, name) do
    Instances.reading(instance, fn _rows, book ->
      board = Board.of(book)

      case Board.fetch(board, name) do
        {objective, counters} -> {:ok, report_of(board, objective, counters)}
        nil -> {:error, Error.new(:not_found, objective: {instance, name})}
      end
    end)
  end

  defp report_of(board, objective, counters) do
    {history, _counted, now} = current(board, objective, counters)
    Report.of(objective, history, now)
  end

  defp current(board, objective, counters) do
    now = System.system_time(:millisecond)

    {history, counted} =
      Board.history(board, objective.name) || {History.new(Objective.windows(objective), now), {0, 0}}

    {history, counted} = Board.current(history, counted, counters, now)
    {history, counted, now}
  end

  @doc "The reports of all objectives, by name."
  @spec reports(instance :: atom) :: {:ok, [report]} | {:error, Error.t()}
  def reports(instance) do
    Board.reading(instance, fn board ->
      reports = for {objective, counters} <- Board.all(board), do: report_of(board, objective, counters)
      {:ok, Enum.sort_by(reports, & &1.name)}
    end)
  end

  # All of them without their histories, each with what was counted since it was put, by name.
  @doc false
  @spec standings(instance :: atom) ::
          {:ok, [{report, {good :: non_neg_integer, bad :: non_neg_integer}}]} | {:error, Error.t()}
  def standings(instance) do
    Board.reading(instance, fn board ->
      standings = for {objective, counters} <- Board.all(board), do: standing(board, objective, counters)
      {:ok, Enum.sort_by(standings, fn {report, _counted} -> report.name end)}
    end)
  end

  defp standing(board, objective, counters) do
    {history, counted, now} = current(board, objective, counters)
    {Report.standing(objective, history, now), counted}
  end

  @doc "All objectives as a table for people, one line each."
  @spec table(instance :: atom) :: {:ok, String.t()} | {:error, Error.t()}
  def table(instance), do: with({:ok, reports} <- reports(instance), do: {:ok, Report.table(reports)})

  @doc """
  A picture of an objective's window, as SVG: what was left of the error budget, and how fast it was used up.

      {:ok, svg} = Kantoku.SLO.svg(MyApp.Agents, :writers)
      File.write!("writers.svg", svg)
  """
  @spec svg(instance :: atom, name :: term) :: {:ok, String.t()} | {:error, Error.t()}
  def svg(instance, name), do: with({:ok, report} <- report(instance, name), do: {:ok, Drawing.render(report)})
end

defmodule Kantoku.Trace do
  @moduledoc """
  What a call went through: spans around calls to agents and requests to pools, what they cost where nobody looks, and where the trace
  comes from and goes to.

      {Kantoku, name: MyApp.Agents, trace: [sampler: :parentbased_traceidratio, ratio: 0.01]}

      {:ok, reply} = Kantoku.call(MyApp.Agents, "ada", request)
      Kantoku.Trace.take(MyApp.Agents)

  Nothing is traced unless the option says so, or the variable `OTEL_TRACES_SAMPLER` of the system does. Then there is a span
  `invoke_agent {type}` around each `Kantoku.call/4`, `Kantoku.cast/4`, `Kantoku.Pool.call/3`, `Kantoku.Pool.cast/3` and
  `Kantoku.Pool.run/3`, one from `Kantoku.Pool.checkout/2` to `Kantoku.Pool.checkin/2`, and below it one for what an agent (`Kantoku.Agent`, or one of Jido's in
  Kantoku's care) does with it. Names and attributes are those of
  OpenTelemetry's conventions for agents: `gen_ai.operation.name`, `gen_ai.agent.name` (the agent's type, which is its module; or the pool's name),
  `gen_ai.agent.id` (`instance/id`), `error.type`; and `kantoku.instance`, `kantoku.agent`, `kantoku.agent.type`, `kantoku.domain`, `kantoku.pool`. An agent that
  nobody knows has no type, and a span `invoke_agent`.

  ## Where the context goes

    * In a process it is in its dictionary: what a process calls within a span is below that span. It does not follow into tasks and
      other processes by itself; `context/0` and `with_context/2` take it there.
    * With a call to an agent it goes in the tag of the `from`, and with a cast, or through a pool, in a wrapping that our own server takes
      off. A signal of Jido's that is cast says it itself. A plain GenServer sees what it always saw. It may read `carried/1` of its `from` in a call by `Kantoku.call/4`.
    * With a directive it goes to the handler that delivers it (not over a crash), and with a signal of Jido's in the signal.
    * Where OpenTelemetry's own library (`opentelemetry_api`) is there as the instance starts, what is current there is what a span comes below, and
      spans made there come below ours.
    * From and to other services it goes in the headers of W3C's Trace Context: `extract/2`, `inject/3`.

  ## What is recorded

  Whether a trace is recorded is decided where it begins, by one of OpenTelemetry's six samplers. A span of a trace that is not recorded is
  thrown away at its end, unless it failed (`:keep_errors`) or was slow (`:keep_slow`). It is judged alone, with nothing kept of others
  meanwhile: who waited for a slow one was slow as well, and who called what failed mostly fails. So what is kept is a whole path
  from the root, save where a caller made good for a failure; such a span's parent was not recorded.

  Finished spans go to a buffer of bounded size in the instance's engine, from which `exporters: [otlp: ...]` (`Kantoku.Exporters`) or `take/2` takes them. When it is full,
  further ones are dropped, and counted (`status/1`, the metric `kantoku_trace_spans`); that they were is told as `[:kantoku, :trace, :dropped]` and in
  the log, once a minute at most.

  An agent that dies in a span that is recorded: the next one of its id ends it, with `error.type` `cut_off`, and the first recorded span of
  that next one links to it. Spans that any other process is killed in, and of workers that it had checked out, end likewise within 10 s, or with the
  instance. A span `hand_off` is around an agent's move in a migration (`Kantoku.Migration`), and around the replacement of a pool's worker that is at risk;
  its successor's first recorded span links to it.

  ## Events

    * `kantoku.queued` - a request to a pool, a cast as well, found no free worker;
    * `kantoku.taken_up` - its turn came; `kantoku.wait` is how long that took, in seconds. In the spans of `Kantoku.Pool.run/3` and `Kantoku.Pool.checkout/2`, and for calls and
      casts in the span of the agent that serves them, where it includes the time in its mailbox. A worker that is no agent of ours says
      nothing of when it began;
    * `exception` - `exception.type` is the exception's module. What it said is left out, as it may be what an agent holds.

  ## Options

  #{Kantoku.Trace.Config.docs()}

  Options win over variables. Variables are read once, at the start of the instance; what one says that is not so is told in the log and
  left out. See the guide "Tracing across agents".
  """

  alias Kantoku.Engine.Traces
  alias Kantoku.Error
  alias Kantoku.Trace.{Agents, Config, Context, Open, Span}

  import Open, only: [open: 1]

  defguardp is_attributes(attributes) when is_map(attributes) or is_list(attributes)

  @typedoc "Names and values of what is said of a span. A value that is no text, number or boolean is shown as `inspect/1` does."
  @type attributes :: %{optional(String.t() | atom) => term} | keyword

  # Spans ------------------------------------------------------------------------------------------------------------------

  @doc """
  Runs `fun` in a span of its own, below the current one. Where none is current it only runs `fun`; see `span/4`.

      Kantoku.Trace.span("load profile", %{"app.tenant" => tenant}, fn -> load(tenant) end)

  What leaves `fun` by an exception passes through, and the span has failed.
  """
  @spec span(String.t(), attributes, (() -> result)) :: result when result: term
  def span(name, attributes \\ [], fun) when is_binary(name) and is_function(fun, 0) and is_attributes(attributes) do
    case Open.current() do
      open(config: config) -> run(config, name, attributes, fun)
      _none -> fun.()
    end
  end

  @doc "As `span/3`, and begins a trace of the instance where nothing is current. Where the instance does not trace it only runs `fun`."
  @spec span(instance :: atom, String.t(), attributes, (() -> result)) :: result when result: term
  def span(instance, name, attributes, fun)
      when is_binary(name) and is_function(fun, 0) and is_attributes(attributes) do
    case Config.of(instance) do
      nil -> fun.()
      config -> run(config, name, attributes, fun)
    end
  end

  defp run(config, name, attributes, fun) do
    Open.within(Open.begin(config, name, :internal, nil, attributes), fun)
  end

  @doc """
  Says something of the current span; the last of a name counts. Of more than `:max_attributes` names the first are kept. Without one it does
  nothing.
  """
  @spec set_attributes(attributes) :: :ok
  def set_attributes(attributes) when is_attributes(attributes), do: Open.describe(attributes)

  @doc "Notes that something happened in the current span. Of more than `:max_events` the first are kept. Without one it does nothing."
  @spec add_event(String.t(), attributes) :: :ok
  def add_event(name, attributes \\ []) when is_binary(name) and is_attributes(attributes),
    do: Open.event(name, attributes)

  @doc "Says that the current span failed, and how: its `error.type`. Without one it does nothing."
  @spec set_error(atom | String.t()) :: :ok
  def set_error(type), do: Open.set_error(to_string(type))

  # Contexts -----------------------------------------------------------------------------------------------------------------

  @doc "Where this process is in a trace, if it is anywhere."
  @spec context() :: Context.t() | nil
  def context, do: Open.to_context(Open.here())

  @doc """
  Runs `fun` where `context` is current: one that came from outside, or another process's.

      context = Kantoku.Trace.context()
      Task.async(fn -> Kantoku.Trace.with_context(context, fn -> Kantoku.call(MyApp.Agents, "ada", request) end) end)
  """
  @spec with_context(Context.t() | nil, (() -> result)) :: result when result: term
  def with_context(context, fun) when is_function(fun, 0) and (context == nil or is_struct(context, Context)) do
    before = Open.enter_context(Open.from_context(context))

    try do
      fun.()
    after
      Open.leave_context(before)
    end
  end

  @doc """
  The context in the headers of a request, or `nil`: `traceparent` and `tracestate`, in whatever case, as a map or a list of pairs.

      iex> headers = [{"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}]
      iex> Kantoku.Trace.extract(headers).sampled
      true
      iex> Kantoku.Trace.extract(%{"traceparent" => "nonsense"})
      nil

  With an instance, as its option `:propagators` says: nothing where that is empty, or where it does not trace.
  """
  @spec extract(Enumerable.t(), instance :: atom) :: Context.t() | nil
  def extract(headers, instance \\ nil) do
    with true <- propagates?(instance),
         [traceparent] <- header(headers, "traceparent"),
         states = header(headers, "tracestate"),
         {:ok, context} <- Context.parse(traceparent, Enum.join(states, ",")) do
      context
    else
      _none -> nil
    end
  end

  defp header(headers, wanted) do
    for {name, value} <- headers,
        is_binary(value),
        String.downcase(to_string(name)) == wanted,
        do: String.trim(value, " ")
  end

  @doc """
  Adds the current context to headers, a list of pairs, in place of one that is there. Without a context they stay as they are. With an instance, as
  its option `:propagators` says.

      headers = Kantoku.Trace.inject([{"accept", "application/json"}])
  """
  @spec inject([{String.t(), String.t()}], instance :: atom, Context.t() | nil) :: [{String.t(), String.t()}]
  def inject(headers \\ [], instance \\ nil, context \\ context()) do
    if context && propagates?(instance), do: without(headers) ++ headers(context), else: headers
  end

  defp without(headers),
    do: Enum.reject(headers, fn {name, _} -> String.downcase(name) in ["traceparent", "tracestate"] end)

  defp headers(%{state: ""} = context), do: [{"traceparent", Context.traceparent(context)}]
  defp headers(%{state: state} = context), do: [{"traceparent", Context.traceparent(context)}, {"tracestate", state}]

  defp propagates?(nil), do: true
  defp propagates?(instance), do: match?(%{propagators: [_ | _]}, Config.of(instance))

  @doc """
  The context that came with a call by `Kantoku.call/4`, for a GenServer that is an agent and wants it.

      def handle_call(request, from, state) do
        Kantoku.Trace.with_context(Kantoku.Trace.carried(from), fn -> ... end)
      end
  """
  @spec carried(GenServer.from()) :: Context.t() | nil
  def carried(from), do: with({place, nil} <- Agents.carried(from), do: Open.to_context(place))

  # What was recorded --------------------------------------------------------------------------------------------------------

  @doc """
  Takes the oldest finished spans out of the instance's buffer, `most` at most: for tests, or an exporter of your own. `[]` where it does not
  trace. `{:error, %Kantoku.Error{reason: :not_running}}`.
  """
  @spec take(instance :: atom, most :: pos_integer) :: [Span.t()] | {:error, Error.t()}
  def take(instance, most \\ 2_048) when is_integer(most) and most > 0, do: take(instance, most, [])

  defp take(_instance, 0, taken), do: merged(taken)

  defp take(instance, left, taken) do
    case Traces.trace_take(instance, left) do
      :unknown -> {:error, Error.new(:not_running, instance: instance)}
      [] -> merged(taken)
      spans -> take(instance, left - length(spans), [spans | taken])
    end
  end

  defp merged(taken), do: for(spans <- Enum.reverse(taken), span <- spans, do: Span.from_record(span))

  @doc """
  What the buffer has: `held` spans of `bytes`; of those that finished, how many it `kept` and how many it `dropped`; how many of the kept were `taken`.
  All 0 where the instance does not trace.
  """
  @spec status(instance :: atom) :: {:ok, Traces.counts()} | {:error, Error.t()}
  def status(instance) do
    case Traces.trace_counts(instance) do
      :unknown -> {:error, Error.new(:not_running, instance: instance)}
      counts -> {:ok, counts}
    end
  end
end

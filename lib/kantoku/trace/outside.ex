defmodule Kantoku.Trace.Outside do
  # Where this process is in a trace of OpenTelemetry's own API for the BEAM (`opentelemetry_api`), if that is there; and that it is in a span of
  # ours, said to that API, so that spans of other libraries within it come below it. Speaks in the W3C headers that it would send and
  # receive, which it does in all versions, and knows nothing of how it keeps what is current.
  @moduledoc false

  alias Kantoku.Trace.{Context, Open}

  # In variables, as there may be none of them when this is compiled.
  @current :otel_ctx
  @headers :otel_propagator_trace_context

  # Newer compilers see through that.
  @compile {:no_warn_undefined, [@current, @headers]}

  # Where a process has what was last said from here.
  @said :"$kantoku_outside"

  @typedoc "What was current there, and what had been said from here."
  @type before :: {term, term}

  @doc "Whether that library is there; asked where an instance begins to trace."
  @spec there?() :: boolean
  def there?, do: Code.ensure_loaded?(@current) and Code.ensure_loaded?(@headers) and loaded?()

  @doc "The same, of whoever does not know the instance."
  @spec loaded?() :: boolean
  def loaded? do
    function_exported?(@current, :get_current, 0) and function_exported?(@current, :attach, 1) and
      function_exported?(@headers, :inject, 4) and function_exported?(@headers, :extract, 5)
  end

  @doc "Where this process is there, if it is anywhere and that was not said from here."
  @spec place() :: Open.place() | nil
  def place do
    current = @current
    now = current.get_current()
    if now !== Process.get(@said), do: place(now)
  end

  defp place(now) do
    headers = @headers
    put = fn name, value, carrier -> Map.put(carrier, name, value) end

    with %{"traceparent" => parent} = found <- headers.inject(now, %{}, put, []),
         {:ok, context} <- Context.parse(parent, found["tracestate"]) do
      Open.from_context(context)
    else
      _nowhere -> nil
    end
  end

  @doc "This process is there now; what to give to `leave/1`."
  @spec enter(Open.place()) :: before
  def enter(place) do
    [current, headers] = [@current, @headers]
    before = current.get_current()
    # Versions of it that do not know level 2 of the recommendation read no flags that they do not know.
    context = %{Open.to_context(place) | random: false}
    carrier = %{"traceparent" => Context.traceparent(context), "tracestate" => context.state}
    get = fn name, carrier -> Map.get(carrier, name, :undefined) end
    now = headers.extract(before, carrier, &Map.keys/1, get, [])
    current.attach(now)
    {before, Process.put(@said, now)}
  end

  @doc "It is where it was before."
  @spec leave(before) :: :ok
  def leave({before, said}) do
    current = @current
    current.attach(before)
    Process.put(@said, said)
    :ok
  end
end

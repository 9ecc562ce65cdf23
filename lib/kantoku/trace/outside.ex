defmodule Kantoku.Trace.Outside do
  # Where this process is in a trace of OpenTelemetry's own API for the BEAM (`opentelemetry_api`), if that is there. Asks for the W3C headers that it
  # would send, which it says in all versions, and knows nothing of how it keeps what is current.
  @moduledoc false

  alias Kantoku.Trace.{Context, Open}

  # In variables, as there may be none of them when this is compiled.
  @current :otel_ctx
  @headers :otel_propagator_trace_context

  # Newer compilers see through that.
  @compile {:no_warn_undefined, [@current, @headers]}

  @doc "Whether that library is there; asked where an instance begins to trace."
  @spec there?() :: boolean
  def there?, do: has?(@current, :get_current, 0) and has?(@headers, :inject, 4)

  defp has?(module, function, arity), do: Code.ensure_loaded?(module) and function_exported?(module, function, arity)

  @doc "Where this process is there, if it is anywhere."
  @spec place() :: Open.place() | nil
  def place do
    [current, headers] = [@current, @headers]
    put = fn name, value, carrier -> Map.put(carrier, name, value) end

    with %{"traceparent" => parent} = found <- headers.inject(current.get_current(), %{}, put, []),
         {:ok, context} <- Context.parse(parent, found["tracestate"]) do
      Open.from_context(context)
    else
      _nowhere -> nil
    end
  end
end

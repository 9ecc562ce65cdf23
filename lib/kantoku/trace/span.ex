defmodule Kantoku.Trace.Span do
  @moduledoc """
  A finished span, as `Kantoku.Trace.take/2` gives it.

    * `trace_id` (32 hexadecimal digits), `span_id` (16), `parent_id` (16, or `nil` of a root);
    * `sampled` - whether its trace is recorded; if not, it was kept alone, and the attribute `kantoku.kept` says why: `"error"` or
      `"slow"`;
    * `state` - the `tracestate`, `""` where there is none;
    * `name`, and `kind`: `:internal`, `:server`, `:client`, `:producer` or `:consumer`;
    * `started_at`, `ended_at` - nanoseconds since 1970;
    * `status` - `:unset` or `:error`;
    * `attributes` - a map of names to texts, numbers and booleans;
    * `events` - `{at, name, attributes}`, in order;
    * `links` - `{trace_id, span_id}`;
    * `left_out` - how many `attributes`, `events` and `links` there were beyond the limits (options `:max_attributes`, `:max_events` and `:max_links`).
  """

  alias Kantoku.Engine.Traces
  alias Kantoku.Trace.{Context, Finished}

  @enforce_keys [
    :trace_id,
    :span_id,
    :parent_id,
    :sampled,
    :state,
    :name,
    :kind,
    :started_at,
    :ended_at,
    :status,
    :attributes,
    :events,
    :links,
    :left_out
  ]
  defstruct @enforce_keys

  @type value :: String.t() | integer | float | boolean

  @type t :: %__MODULE__{
          trace_id: String.t(),
          span_id: String.t(),
          parent_id: String.t() | nil,
          sampled: boolean,
          state: String.t(),
          name: String.t(),
          kind: :internal | :server | :client | :producer | :consumer,
          started_at: integer,
          ended_at: integer,
          status: :unset | :error,
          attributes: %{String.t() => value},
          events: [{integer, String.t(), %{String.t() => value}}],
          links: [{trace_id :: String.t(), span_id :: String.t()}],
          left_out: %{attributes: non_neg_integer, events: non_neg_integer, links: non_neg_integer}
        }

  @kinds Map.new(Finished.kinds(), fn {kind, number} -> {number, kind} end)

  @doc false
  @spec from_record(Traces.span()) :: t
  def from_record(
        {trace, span, parent, flags, state, name, kind, began, ended, status, attributes, events, links, left_out}
      ) do
    {attributes_out, events_out, links_out} = left_out

    %__MODULE__{
      trace_id: trace_id(trace),
      span_id: Context.span_hex(span),
      parent_id: Context.span_hex(parent),
      sampled: Bitwise.band(flags, 1) == 1,
      state: state,
      name: name,
      kind: Map.fetch!(@kinds, kind),
      started_at: began,
      ended_at: ended,
      status: if(status == 2, do: :error, else: :unset),
      attributes: Map.new(attributes),
      events: for({at, name, attributes} <- events, do: {at, name, Map.new(attributes)}),
      links: for({trace, span, _flags, _state} <- links, do: {trace_id(trace), Context.span_hex(span)}),
      left_out: %{attributes: attributes_out, events: events_out, links: links_out}
    }
  end

  defp trace_id({upper, lower}), do: Base.encode16(<<upper::64, lower::64>>, case: :lower)
end

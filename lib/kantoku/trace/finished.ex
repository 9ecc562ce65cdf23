defmodule Kantoku.Trace.Finished do
  # A span at its end: named and described as OpenTelemetry's conventions for generative AI have it, cut to size, and handed to the
  # engine's buffer. Only what is recorded comes here.
  #
  # https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/
  @moduledoc false

  import Bitwise
  import Kantoku.Trace.Open, only: [open: 1, place: 1, said: 0, said: 1]

  alias Kantoku.Engine.Traces
  alias Kantoku.Telemetry
  alias Kantoku.Trace.{Clock, Context, Ids, Open}

  # OpenTelemetry's limits of how many; and of the bytes of a text, for which it has none.
  @most 128
  @longest 4_096

  # An event is small.
  @most_of_an_event 16

  @kinds %{internal: 1, server: 2, client: 3, producer: 4, consumer: 5}

  @doc "The numbers that OTLP has for kinds."
  @spec kinds() :: %{Open.kind() => 1..5}
  def kinds, do: @kinds

  @doc "Hands a span in that ended then; `kept` says why, where its trace is not recorded."
  @spec hand_in(Open.t(), integer, error :: String.t() | nil, kept :: String.t() | nil) :: :ok
  def hand_in(open(config: %{instance: instance}) = open, ended, error, kept) do
    _kept_dropped_or_unknown = Traces.trace_put(instance, record(open, ended, error, kept))
    told(open, ended, error)
  end

  @told [:agent, :called]

  # Of a call there are two spans: it is told by who made it, as that one is there for every kind of agent.
  defp told(open(subject: {:agent, id}, kind: kind, config: %{instance: instance}) = open, ended, error)
       when kind in [:client, :producer] do
    if Telemetry.listening?(@told) do
      open(begun: begun, place: place) = open
      kind = if kind == :client, do: :call, else: :cast
      metadata = %{id: id, kind: kind, error_type: error, trace_id: Context.trace_id(Open.to_context(place))}
      Telemetry.emit(instance, @told, %{duration: Clock.native(ended - begun)}, metadata)
    end

    :ok
  end

  defp told(_of_no_agent, _ended, _error), do: :ok

  defp record(open, ended, error, kept) do
    open(config: config, place: place, parent: parent, subject: subject, kind: kind, begun: begun) = open
    open(attributes: attributes, said: said) = open
    place(trace: trace, span: span, more: {_random, state}) = place
    said(events: events, links: links) = said || said()
    {name, own} = about(subject, config.instance)
    outcome = text_of("error.type", error) ++ text_of("kantoku.kept", kept)

    {halves(trace), span, parent, flags(place), state, name, @kinds[kind], Clock.unix(config.clock, begun),
     Clock.unix(config.clock, ended), if(error, do: 2, else: 0), attributes(own ++ outcome ++ Enum.reverse(attributes)),
     events(events, config.clock), links(links)}
  end

  defp halves(trace) do
    {upper, middle, lower} = Ids.parts(trace)
    {upper, middle <<< 32 ||| lower}
  end

  defp flags(place(sampled: sampled, more: {random, _state})), do: Context.flags(sampled, random)

  defp about(name, _instance) when is_binary(name), do: {name, []}

  defp about({kind, id}, instance) do
    name = named(kind, id)

    {"invoke_agent " <> name,
     [
       {"gen_ai.operation.name", "invoke_agent"},
       {"gen_ai.agent.name", name},
       {"gen_ai.agent.id", "#{inspect(instance)}/#{name}"},
       {"kantoku.instance", inspect(instance)},
       {"kantoku.#{kind}", name}
     ]}
  end

  defp named(:agent, id) when is_binary(id), do: text(id)
  defp named(:pool, name), do: Atom.to_string(name)
  defp named(_kind, id), do: inspect(id, limit: 20, printable_limit: 200)

  defp text_of(_key, nil), do: []
  defp text_of(key, value), do: [{key, value}]

  # The last of a name counts, as in a map.
  defp attributes(pairs) do
    pairs |> Map.new(fn {key, value} -> {text("#{key}"), value(value)} end) |> Enum.take(@most)
  end

  defp events(events, clock) do
    for {at, name, attributes} <- Enum.reverse(events),
        do: {Clock.unix(clock, at), text(name), attributes |> Enum.take(@most_of_an_event) |> attributes()}
  end

  defp links(links) do
    for place(trace: trace, span: span, more: {_random, state}) = link <- links,
        do: {halves(trace), span, flags(link), state}
  end

  defp value(value) when is_boolean(value) or is_float(value), do: value
  defp value(value) when is_binary(value), do: text(value)
  defp value(value) when is_atom(value), do: Atom.to_string(value)

  defp value(value) when is_integer(value) and value in -0x8000000000000000..0x7FFFFFFFFFFFFFFF, do: value

  defp value(value), do: value |> inspect(limit: 50, printable_limit: 1_000) |> text()

  # UTF-8, as OTLP wants it.
  defp text(text) when byte_size(text) <= @longest do
    if String.valid?(text), do: text, else: inspect(text, limit: 200)
  end

  defp text(text), do: text |> binary_part(0, @longest) |> whole() |> text()

  # Without a character that was cut.
  defp whole(text) do
    case :unicode.characters_to_binary(text) do
      {_wrong, whole, _rest} -> whole
      whole -> whole
    end
  end
end

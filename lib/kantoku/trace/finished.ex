defmodule Kantoku.Trace.Finished do
  # A span at its end: named and described as OpenTelemetry's conventions for generative AI have it, cut to size, and handed to the
  # engine's buffer. Only what is recorded comes here.
  #
  # https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/
  @moduledoc false

  alias Kantoku.Engine.Traces
  alias Kantoku.Trace.{Context, Open}

  # OpenTelemetry's limits of how many; and of the bytes of a text, for which it has none.
  @most 128
  @longest 4_096

  @kinds %{internal: 1, server: 2, client: 3, producer: 4, consumer: 5}

  @doc "The numbers that OTLP has for kinds."
  @spec kinds() :: %{Open.kind() => 1..5}
  def kinds, do: @kinds

  @doc "Hands a span in that ended then; `kept` says why, where its trace is not recorded."
  @spec hand_in(Open.t(), integer, error :: String.t() | nil, kept :: String.t() | nil) :: :ok
  def hand_in(%{config: %{instance: instance}} = open, ended, error, kept) do
    _kept_dropped_or_unknown = Traces.trace_put(instance, record(open, ended, error, kept))
    :ok
  end

  defp record(%{context: context} = open, ended, error, kept) do
    offset = System.time_offset()
    {name, own} = about(open.subject, open.config.instance)
    said = error("error.type", error) ++ error("kantoku.kept", kept)

    {place(context), context.span, open.parent, Context.flags(context), context.state, name, @kinds[open.kind],
     unix(open.begun, offset), unix(ended, offset), if(error, do: 2, else: 0),
     attributes(own ++ said ++ Enum.reverse(open.attributes)), events(open.events, offset), links(open.links)}
  end

  defp place(%{trace: {upper, middle, lower}}), do: {upper, Bitwise.bor(Bitwise.bsl(middle, 32), lower)}

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

  defp error(_key, nil), do: []
  defp error(key, value), do: [{key, value}]

  defp unix(time, offset), do: System.convert_time_unit(time + offset, :native, :nanosecond)

  # The last of a name counts, as in a map.
  defp attributes(pairs) do
    pairs |> Map.new(fn {key, value} -> {text("#{key}"), value(value)} end) |> Enum.take(@most)
  end

  defp events(events, offset) do
    for {at, name, attributes} <- events |> Enum.take(@most) |> Enum.reverse(),
        do: {unix(at, offset), text(name), attributes(attributes)}
  end

  defp links(links) do
    for link <- Enum.take(links, @most), do: {place(link), link.span, Context.flags(link), link.state}
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

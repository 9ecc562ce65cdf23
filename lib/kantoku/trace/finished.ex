defmodule Kantoku.Trace.Finished do
  # A span at its end: named and described as OpenTelemetry's conventions for generative AI have it, cut to size, and handed to the
  # engine's buffer. Only what is recorded comes here.
  #
  # https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/
  @moduledoc false

  import Bitwise
  import Kantoku.Trace.Open, only: [open: 1, place: 1, said: 0, said: 1]

  alias Kantoku.Domain.{Launch, Rows}
  alias Kantoku.Engine.Traces
  alias Kantoku.{Instances, Telemetry}
  alias Kantoku.Metrics.Exemplars
  alias Kantoku.Trace.{Attributes, Clock, Context, Ids, Open}

  require Clock
  require Rows

  # So many bytes of a name.
  @longest_name 1_024

  # An event is small.
  @most_of_an_event 16

  @kinds %{internal: 1, server: 2, client: 3, producer: 4, consumer: 5}

  @doc "The numbers that OTLP has for kinds."
  @spec kinds() :: %{Open.kind() => 1..5}
  def kinds, do: @kinds

  @doc "Hands a span in that ended then; `kept` says why, where its trace is not recorded."
  @spec hand_in(Open.t(), integer, error :: String.t() | nil, kept :: String.t() | nil) :: :ok
  def hand_in(open, ended, error, kept),
    do: hand_over(open, ended, error, text_of("error.type", error) ++ text_of("kantoku.kept", kept))

  @doc "Hands one in whose process died in it. When that was nobody saw; it is now that it is found."
  @spec cut_off(Open.t()) :: :ok
  def cut_off(open),
    do: hand_over(open, Clock.now(), "cut_off", [{"error.type", "cut_off"}, {"kantoku.cut_off", true}])

  defp hand_over(open(config: %{instance: instance}) = open, ended, error, outcome) do
    _kept_dropped_or_unknown = Traces.trace_put(instance, record(open, ended, error, outcome))
    exemplify(open, ended)
    told(open, ended, error)
  end

  # Of what is timed as well.
  defp exemplify(open(subject: {_what, _of} = subject, kind: :client, config: config) = open, ended) do
    open(begun: begun, place: place) = open
    at = Clock.unix(config.clock, ended) / 1.0e9
    Exemplars.took(config.instance, subject, Clock.seconds(ended - begun), at, Open.to_context(place))
  end

  defp exemplify(_of_nothing_timed, _ended), do: :ok

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

  defp record(open, ended, error, outcome) do
    open(config: config, place: place, parent: parent, subject: subject, kind: kind, begun: begun) = open
    place(trace: trace, span: span, more: {_random, state}) = place
    {name, own} = about(subject, config)
    {attributes, attributes_out} = attributes(open, own ++ outcome)
    {events, events_out} = events(open)
    {links, links_out} = links(open)

    {halves(trace), span, parent, flags(place), state, Attributes.text(name, @longest_name), @kinds[kind],
     Clock.unix(config.clock, begun), Clock.unix(config.clock, ended), if(error, do: 2, else: 0), attributes, events,
     links, {attributes_out, events_out, links_out}}
  end

  defp halves(trace) do
    {upper, middle, lower} = Ids.parts(trace)
    {upper, middle <<< 32 ||| lower}
  end

  defp flags(place(sampled: sampled, more: {random, _state})), do: Context.flags(sampled, random)

  # What is said of an agent is looked up here, as a span that is thrown away has no use for it. The name of a span has few values, however
  # many agents there are; of one that nobody knows the conventions name none.
  defp about(name, _config) when is_binary(name), do: {name, []}

  defp about({:pool, pool}, config) do
    name = Atom.to_string(pool)
    {"invoke_agent " <> name, [{"gen_ai.agent.name", name} | invoked(config, name, "kantoku.pool")]}
  end

  defp about({:agent, id}, %{instance: instance} = config) do
    own = invoked(config, id_text(id), "kantoku.agent")

    with {:ok, {rows, _book}} <- Instances.tables(instance), {what, domain} <- wanted(rows, id) do
      kind_of(module_text(Launch.module(what)), domain, own)
    else
      _unknown -> {"invoke_agent", own}
    end
  end

  # Of a row, which has more, and may be gone with its table.
  defp wanted(rows, id) do
    {:ets.lookup_element(rows, id, Rows.what_at()), :ets.lookup_element(rows, id, Rows.domain_at())}
  rescue
    ArgumentError -> nil
  end

  # As `inspect/1` shows it, at a fifth of the price.
  defp module_text(module), do: Macro.inspect_atom(:literal, module)

  defp kind_of(type, domain, own) do
    more = [{"gen_ai.agent.name", type}, {"kantoku.agent.type", type}, {"kantoku.domain", domain_text(domain)}]
    {"invoke_agent " <> type, more ++ own}
  end

  defp invoked(%{named: instance}, id, key) do
    [
      {"gen_ai.operation.name", "invoke_agent"},
      {"gen_ai.agent.id", instance <> "/" <> id},
      {"kantoku.instance", instance},
      {key, id}
    ]
  end

  defp domain_text(domain) when is_atom(domain), do: Atom.to_string(domain)
  defp domain_text({:pool, pool}), do: "pool #{pool}"
  defp domain_text(domain), do: id_text(domain)

  defp id_text(id) when is_binary(id), do: Attributes.text(id, @longest_name)
  defp id_text(id), do: inspect(id, limit: 20, printable_limit: 200)

  defp text_of(_key, nil), do: []
  defp text_of(key, value), do: [{key, value}]

  # A user's are counted, ours are not; where both say something under one name, it is the user's.
  defp attributes(open(config: config, attributes: []), own), do: {Attributes.ours(own, config.max_value_length), 0}

  defp attributes(open(config: config, attributes: said), own) do
    {said, left_out} = Attributes.of(said, config.max_attributes)
    all = own |> Map.new() |> Map.merge(Map.new(said))
    {Attributes.finished(Map.to_list(all), config.max_value_length), left_out}
  end

  defp events(open(said: said, config: config) = open) do
    said(events: events, events_out: left_out) = said || said()
    {taken_up(open) ++ for(event <- Enum.reverse(events), do: event(event, config)), left_out}
  end

  # From when it was sent until it began: in a pool's queue, and in the mailbox.
  defp taken_up(open(sent: nil)), do: []

  defp taken_up(open(sent: sent, begun: begun, config: config)),
    do: [event({begun, "kantoku.taken_up", ["kantoku.wait": Clock.seconds(begun - sent)]}, config)]

  defp event({at, name, attributes}, %{clock: clock, max_value_length: longest}) do
    {attributes, _left_out} = Attributes.of(attributes, @most_of_an_event)
    {Clock.unix(clock, at), Attributes.text(name, @longest_name), Attributes.finished(attributes, longest)}
  end

  defp links(open(said: said, config: %{max_links: most})) do
    said(links: links) = said || said()
    {links, left_out} = Enum.split(links, most)
    {for(link <- links, do: link(link)), length(left_out)}
  end

  defp link(place(trace: trace, span: span, more: {_random, state}) = link),
    do: {halves(trace), span, flags(link), state}
end

defmodule Kantoku.Trace.Open do
  # A span that goes on, in the process that it is of: begun, changed and finished there. What is current lies in the process's
  # dictionary, beside what its ids are made of: a span of ours, a place from outside, or what the first span here has to link to.
  #
  # A span of a trace that is not recorded is begun like any other, and only at its end thrown away, unless it failed or was slow.
  # So it costs two ids, two tuples and two readings of the clock, and nothing is kept of it anywhere else. As who waits for a slow
  # one is slow, and who called what failed mostly fails, what is kept is whole from the root down; where a caller went on after a
  # failure, what it called is kept without it.
  #
  # Records and not structs: to make one of these is most of what such a span costs, and a tuple takes a tenth of the time.
  @moduledoc false

  require Record

  # A call of a function is a part of what a span costs that is thrown away. So are those of `Process`, hence `:erlang` here.
  @compile {:inline, here: 1, kept: 2, above: 2, made: 9, enter: 3, thrown_away: 2}

  alias Kantoku.Trace.{Attributes, Clock, Config, Context, Finished, Ids, Metadata, Outside, Sampler, Underway}

  require Clock
  require Sampler

  @key :"$kantoku_trace"

  # `place` of who is above, in another process or service; what goes with messages. `more`: whether the id is random, and the state.
  Record.defrecord(:place, :"$kantoku_place", [:trace, :span, :sampled, :more])
  # `sent`: when the message that it is about was, if that is known.
  # `source`: what ids after it are made of.
  @fields [:config, :place, :source, :parent, :subject, :kind, :begun, :outer, :sent, attributes: [], said: nil]
  Record.defrecord(:open, @fields)

  # What few spans have; of one that is recorded, also what the Logger said before; and what was current outside. `held`: it has a row of those
  # that are under way.
  Record.defrecord(:said, events: [], events_out: 0, links: [], error: nil, logged: nil, outside: nil, held: false)

  @typedoc "What it is of: a name of its own, or who is called in which instance."
  @type subject :: String.t() | {:agent, term} | {:pool, atom}
  @type kind :: :internal | :server | :client | :producer | :consumer
  @type place ::
          record(:place, trace: Ids.trace(), span: pos_integer, sampled: boolean | nil, more: {boolean, String.t()})
  @type said ::
          record(:said,
            events: [{integer, String.t(), Kantoku.Trace.attributes()}],
            events_out: non_neg_integer,
            links: [place],
            error: String.t() | nil,
            logged: Metadata.before() | nil,
            outside: Outside.before() | nil,
            held: boolean
          )
  @type current :: nil | t | place | {:after, place}

  @type t ::
          record(:open,
            config: Config.t(),
            place: place,
            source: Ids.source(),
            parent: non_neg_integer,
            subject: subject,
            kind: kind,
            begun: integer,
            outer: current,
            sent: integer | nil,
            attributes: Kantoku.Trace.attributes() | Attributes.t(),
            said: said | nil
          )

  @random {true, ""}

  # What is current ----------------------------------------------------------------------------------------------------------

  # In as few words as may be, as this is written twice for each span: a span with its source, if nothing was within it yet; the source alone, if
  # nothing is current; or else both.
  defp mine do
    case :erlang.get(@key) do
      open(source: source) = open -> {open, source}
      {upper, _state} = source when is_integer(upper) -> {nil, source}
      {_current, _source} = mine -> mine
      :undefined -> {nil, Ids.source()}
    end
  end

  defp kept(nil, source), do: source
  defp kept(current, source), do: {current, source}

  @spec current() :: current
  def current do
    case :erlang.get(@key) do
      open() = open -> open
      {upper, _state} when is_integer(upper) -> nil
      {current, _source} -> current
      :undefined -> nil
    end
  end

  @doc "Where this process is, if it is anywhere."
  @spec here() :: place | nil
  def here, do: here(current())

  defp here(open(place: place)), do: place
  defp here(place() = place), do: place
  defp here(_none), do: nil

  @doc "Makes something current; what was before."
  @spec put(current) :: current
  def put(current) do
    {before, source} = mine()
    :erlang.put(@key, kept(current, source))
    before
  end

  @doc "Makes a place current that is no span's of ours, for the Logger and outside as well; what to give to `leave_context/1`."
  @spec enter_context(place | nil) :: {current, Metadata.before() | nil, Outside.before() | nil}
  def enter_context(place) do
    outer = put(place)
    {outer, logged(place, outer), if(place && Outside.loaded?(), do: Outside.enter(place))}
  end

  # What a process says under these names itself stays where nothing of ours was said.
  defp logged(place(sampled: true) = place, _outer), do: Metadata.begun(place)
  defp logged(_none, outer), do: if(match?(place(sampled: true), here(outer)), do: Metadata.nowhere())

  @doc "Runs `fun` at a place that is no span's of ours; where there is none, as it is."
  @spec at(place | nil, (() -> result)) :: result when result: term
  def at(nil, fun), do: fun.()

  def at(place, fun) do
    before = enter_context(place)

    try do
      fun.()
    after
      leave_context(before)
    end
  end

  @doc "What was before is current again."
  @spec leave_context({current, Metadata.before() | nil, Outside.before() | nil}) :: :ok
  def leave_context({outer, logged, outside}) do
    put(outer)
    if logged, do: Metadata.restore(logged)
    if outside, do: Outside.leave(outside)
    :ok
  end

  @doc "A context as a place."
  @spec from_context(Context.t() | nil) :: place | nil
  def from_context(nil), do: nil

  def from_context(context),
    do: place(trace: context.trace, span: context.span, sampled: context.sampled, more: {context.random, context.state})

  @doc "A place as a context."
  @spec to_context(place | nil) :: Context.t() | nil
  def to_context(nil), do: nil

  def to_context(place(trace: trace, span: span, sampled: sampled, more: {random, state})),
    do: %Context{trace: Ids.parts(trace), span: span, sampled: sampled, random: random, state: state}

  # Its life -----------------------------------------------------------------------------------------------------------------

  @doc """
  Begins a span below what is current, or below `parent`, and makes it current. It is about a message that was `sent` then; what is said of it
  is looked at when that is wanted.
  """
  @spec begin(Config.t(), subject, kind, place | nil, Kantoku.Trace.attributes(), sent :: integer | nil) :: t
  def begin(config, subject, kind, parent \\ nil, attributes \\ [], sent \\ nil) do
    case :erlang.get(@key) do
      {upper, _state} = source when is_integer(upper) ->
        begin(config, subject, kind, parent, attributes, sent, nil, source)

      open(source: source) = outer ->
        begin(config, subject, kind, parent, attributes, sent, outer, source)

      {outer, source} ->
        begin(config, subject, kind, parent, attributes, sent, outer, source)

      :undefined ->
        begin(config, subject, kind, parent, attributes, sent, nil, Ids.source())
    end
  end

  defp begin(%{outside: outside, sampler: sampler} = config, subject, kind, parent, attributes, sent, outer, source) do
    source = Ids.next(source)

    case parent || above(outside, outer) do
      nil ->
        sampled = Sampler.root?(sampler, source)
        place = place(trace: source, span: Ids.first(source), sampled: sampled, more: @random)
        enter(made(config, subject, kind, place, 0, attributes, sent, outer, source), sampled, outside)

      place(trace: trace, span: above, sampled: sampled, more: more) ->
        sampled = Sampler.child?(sampler, trace, sampled)
        place = place(trace: trace, span: Ids.span(source), sampled: sampled, more: more)
        enter(made(config, subject, kind, place, above, attributes, sent, outer, source), sampled, outside)
    end
  end

  # Who is current outside is below ours, if that is not ours itself.
  defp above(false, outer), do: here(outer)
  defp above(true, outer), do: Outside.place() || here(outer)

  defp made(config, subject, kind, place, parent, attributes, sent, outer, source) do
    open(
      config: config,
      place: place,
      source: source,
      parent: parent,
      subject: subject,
      kind: kind,
      begun: Clock.now(),
      outer: outer,
      sent: sent,
      attributes: attributes
    )
  end

  defp enter(open, sampled, outside) do
    open = if sampled or outside, do: entered(open, sampled), else: open
    :erlang.put(@key, open)
    open
  end

  # What is to be linked to is so by the first span that is recorded.
  defp entered(open(config: config, place: place, outer: outer) = open, sampled) do
    {links, outer} = if sampled, do: followed(outer), else: {[], outer}

    said =
      said(
        links: links,
        logged: if(sampled, do: Metadata.begun(place)),
        outside: if(config.outside, do: Outside.enter(place)),
        held: sampled and goes_on?(open) and Underway.enter(open)
      )

    open(open, outer: outer, said: said)
  end

  defp followed({:after, before}), do: {[before], nil}
  defp followed(outer), do: {[], outer}

  # An agent at work has a row of its own (`Kantoku.Trace.Cuts`), and a cast is over at once.
  defp goes_on?(open(subject: {:agent, _id}, kind: :internal)), do: false
  defp goes_on?(open(kind: kind)), do: kind != :producer

  # Whether its end is ours to tell.
  defp left(nil, _open), do: true

  defp left(said(logged: logged, outside: outside, held: held), open) do
    if logged, do: Metadata.restore(logged)
    if outside, do: Outside.leave(outside)
    not held or Underway.leave(open)
  end

  @doc "Takes the current span, which `begin/6` gave, out of what is current, as it is now: its end is no bracket around what a process does."
  @spec lift(t) :: t
  def lift(open(place: place(span: span)) = begun) do
    case mine() do
      {open(place: place(span: ^span), outer: outer) = open, source} ->
        :erlang.put(@key, kept(outer, source))
        lifted(open)

      _other ->
        begun
    end
  end

  defp lifted(open(said: nil) = open), do: open

  defp lifted(open(place: place(sampled: sampled), said: said) = open) do
    left(said, open)
    said = said(said, logged: nil, outside: nil, held: sampled and goes_on?(open) and Underway.enter(open, :lease))
    open(open, said: said)
  end

  @doc "Ends one that was lifted, as what others said of it may be known: who calls this for one that is over already changes nothing."
  @spec over(t, error :: String.t() | nil) :: :ok
  def over(open(said: said) = open, error), do: if(left(said, open), do: ended(open, error), else: :ok)

  @doc "Whether its trace is recorded."
  @spec sampled?(t) :: boolean
  def sampled?(open(place: place(sampled: sampled))), do: sampled

  @doc "Ends the current span, which `begin/6` gave, as it is now."
  @spec finish(t, error :: String.t() | nil) :: :ok
  def finish(begun, error \\ nil)

  # Nobody records it, and nothing was said of it: so are most. What is put tells what was there.
  def finish(open(place: place(sampled: false), outer: outer, source: source, said: nil) = begun, nil) do
    case :erlang.put(@key, kept(outer, source)) do
      ^begun ->
        thrown_away(begun, nil)

      # There were others within it.
      {^begun, source} ->
        :erlang.put(@key, kept(outer, source))
        thrown_away(begun, nil)

      another ->
        :erlang.put(@key, another)
        close(begun, nil)
    end
  end

  def finish(begun, error), do: close(begun, error)

  defp close(open(place: place(span: span)) = begun, error) do
    case mine() do
      {open(place: place(span: ^span), outer: outer, said: said) = open, source} ->
        :erlang.put(@key, kept(outer, source))
        if left(said, open), do: ended(open, error), else: :ok

      # What was begun within it and not ended is given up.
      {_another, source} ->
        :erlang.put(@key, kept(open(begun, :outer), source))
        if left(open(begun, :said), begun), do: ended(begun, error), else: :ok
    end
  end

  defp ended(open(said: said(error: said)) = open, nil) when said != nil, do: ended(open, said)
  defp ended(open(place: place(sampled: true)) = open, error), do: Finished.hand_in(open, Clock.now(), error, nil)

  defp ended(open(config: %{keep_errors: true}) = open, error) when error != nil,
    do: Finished.hand_in(open, Clock.now(), error, "error")

  defp ended(open, error), do: thrown_away(open, error)

  # Unless it was slow.
  defp thrown_away(open(config: %{slow: slow}, begun: begun) = open, error) when slow != nil do
    now = Clock.now()
    if now - begun >= slow, do: Finished.hand_in(open, now, error, "slow"), else: :ok
  end

  defp thrown_away(_open, _error), do: :ok

  @doc "Runs `fun` within a span. What leaves by an exception has failed."
  @spec within(t, (() -> result)) :: result when result: term
  def within(open, fun) do
    fun.()
  catch
    kind, reason ->
      fail(open, kind, reason, __STACKTRACE__)
      :erlang.raise(kind, reason, __STACKTRACE__)
  else
    result ->
      finish(open)
      result
  end

  @doc "Ends a span by an exception, as OpenTelemetry's conventions for these have it; whether it is recorded."
  @spec fail(t, :error | :exit | :throw, term, Exception.stacktrace()) :: boolean
  def fail(open(place: place(span: span, sampled: sampled), config: config) = begun, kind, reason, stacktrace) do
    type = type(kind, reason, stacktrace)
    if match?(open(place: place(span: ^span)), current()), do: event("exception", "exception.type": type)
    finish(begun, type)
    sampled or config.keep_errors
  end

  # An exception's module, or how it left. What it says is left out: it may be what an agent holds.
  defp type(:error, reason, stacktrace), do: inspect(Exception.normalize(:error, reason, stacktrace).__struct__)
  defp type(kind, _reason, _stacktrace), do: Atom.to_string(kind)

  # While it goes on -----------------------------------------------------------------------------------------------------------

  @doc "Notes something in the current span, if there is one of ours."
  @spec event(String.t(), Kantoku.Trace.attributes()) :: :ok
  def event(name, attributes) do
    change(fn open(said: said, config: %{max_events: most}) = open ->
      said(events: events, events_out: left_out) = said = said || said()

      said =
        if length(events) < most,
          do: said(said, events: [{Clock.now(), name, attributes} | events]),
          else: said(said, events_out: left_out + 1)

      open(open, said: said)
    end)
  end

  @doc "Says something of the current span, if there is one of ours."
  @spec describe(Kantoku.Trace.attributes()) :: :ok
  def describe(attributes) do
    change(fn open(attributes: before, config: %{max_attributes: most}) = open ->
      open(open, attributes: before |> Attributes.of(most) |> Attributes.put(attributes, most))
    end)
  end

  @doc "Says that the current span failed, if there is one of ours."
  @spec set_error(String.t()) :: :ok
  def set_error(type), do: change(fn open(said: said) = open -> open(open, said: said(said || said(), error: type)) end)

  defp change(fun) do
    case :erlang.get(@key) do
      open() = open -> :erlang.put(@key, fun.(open))
      {open() = open, source} -> :erlang.put(@key, {fun.(open), source})
      _none -> :undefined
    end

    :ok
  end
end

defmodule Kantoku.Trace.Open do
  # A span that goes on, in the process that it is of: begun, changed and finished there. What is current lies in the process's
  # dictionary, beside what its ids are made of: a span of ours, a place from outside, or what the first span here has to link to.
  #
  # A span of a trace that is not recorded is begun like any other, and only at its end thrown away, unless it failed or was slow.
  # So it costs two ids, a tuple and two readings of the clock, and nothing is kept of it anywhere else. As who waits for a slow
  # one is slow, and who called what failed mostly fails, what is kept is whole from the root down; where a caller went on after a
  # failure, what it called is kept without it.
  #
  # Records and not structs: to make one of these is most of what such a span costs, and a tuple takes a tenth of the time.
  @moduledoc false

  require Record

  # A call of a function is a part of what a span costs that is thrown away. So are those of `Process`, hence `:erlang` here.
  @compile {:inline, here: 1, mine: 0, outside: 1, made: 7, enter: 3}

  alias Kantoku.Trace.{Clock, Config, Context, Finished, Ids, Metadata, Outside, Sampler}

  @key :"$kantoku_trace"

  # So many events and attributes are kept of a span: OpenTelemetry's limit.
  @most 128

  # `place` of who is above, in another process or service; what goes with messages. `more`: whether the id is random, and the state.
  Record.defrecord(:place, :"$kantoku_place", [:trace, :span, :sampled, :more])
  Record.defrecord(:open, [:config, :place, :parent, :subject, :kind, :begun, :outer, attributes: [], said: nil])
  # What few spans have.
  Record.defrecord(:said, events: [], links: [], error: nil)

  @typedoc "What it is of: a name of its own, or who is called in which instance."
  @type subject :: String.t() | {:agent, term} | {:pool, atom}
  @type kind :: :internal | :server | :client | :producer | :consumer
  @type place :: record(:place, trace: Ids.trace(), span: pos_integer, sampled: boolean, more: {boolean, String.t()})
  @type said :: record(:said, events: [{integer, String.t(), Enumerable.t()}], links: [place], error: String.t() | nil)
  @type current :: nil | t | place | {:after, place}

  @type t ::
          record(:open,
            config: Config.t(),
            place: place,
            parent: non_neg_integer,
            subject: subject,
            kind: kind,
            begun: integer,
            outer: current,
            attributes: [{atom | String.t(), term}],
            said: said | nil
          )

  @random {true, ""}

  # What is current ----------------------------------------------------------------------------------------------------------

  @spec current() :: current
  def current do
    case Process.get(@key) do
      {current, _source} -> current
      nil -> nil
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
    case Process.get(@key) do
      nil ->
        Process.put(@key, {current, Ids.source()})
        nil

      {before, source} ->
        Process.put(@key, {current, source})
        before
    end
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

  @doc "Begins a span below what is current, or below `parent`, and makes it current."
  @spec begin(Config.t(), subject, kind, place | nil, [{atom | String.t(), term}]) :: t
  def begin(config, subject, kind, parent \\ nil, attributes \\ []) do
    {outer, source} = mine()
    begin(config, subject, kind, parent || here(outer) || outside(config), attributes, outer, source)
  end

  defp outside(%{outside: false}), do: nil
  defp outside(_other_api), do: Outside.place()

  defp mine do
    case :erlang.get(@key) do
      :undefined -> {nil, Ids.source()}
      mine -> mine
    end
  end

  defp begin(config, subject, kind, nil, attributes, outer, {upper, _state} = source) do
    {trace, span, state} = Ids.root(source)
    sampled = Sampler.root?(config.sampler, trace)
    place = place(trace: trace, span: span, sampled: sampled, more: @random)
    enter(made(config, subject, kind, place, 0, attributes, outer), sampled, {upper, state})
  end

  defp begin(config, subject, kind, place(trace: trace, span: above) = parent, attributes, outer, {upper, _} = source) do
    {span, state} = Ids.span(source)
    sampled = Sampler.child?(config.sampler, trace, place(parent, :sampled))
    place = place(trace: trace, span: span, sampled: sampled, more: place(parent, :more))
    enter(made(config, subject, kind, place, above, attributes, outer), sampled, {upper, state})
  end

  defp made(config, subject, kind, place, parent, attributes, outer) do
    open(
      config: config,
      place: place,
      parent: parent,
      subject: subject,
      kind: kind,
      begun: Clock.now(),
      outer: outer,
      attributes: attributes
    )
  end

  defp enter(open, false, source) do
    :erlang.put(@key, {open, source})
    open
  end

  # What is to be linked to is so by the first span that is recorded.
  defp enter(open(place: place, outer: outer) = open, true, source) do
    open =
      case outer do
        {:after, before} -> open(open, outer: nil, said: said(links: [before]))
        _other -> open
      end

    :erlang.put(@key, {open, source})
    Metadata.begun(place)
    open
  end

  @doc "Takes the current span, which `begin/5` gave, out of what is current, as it is now: its end is no bracket around what a process does."
  @spec lift(t) :: t
  def lift(open(place: place(span: span)) = begun) do
    case :erlang.get(@key) do
      {open(place: place(span: ^span, sampled: sampled), outer: outer) = open, source} ->
        :erlang.put(@key, {outer, source})
        if sampled, do: Metadata.ended(outer)
        open

      _other ->
        begun
    end
  end

  @doc "Ends one that was lifted."
  @spec over(t, error :: String.t() | nil) :: :ok
  def over(open(place: place(sampled: true)) = open, error), do: Finished.hand_in(open, Clock.now(), error, nil)
  def over(open, error), do: ended(open, error)

  @doc "Ends the current span, which `begin/5` gave, as it is now."
  @spec finish(t, error :: String.t() | nil) :: :ok
  def finish(open(place: place(span: span)) = begun, error \\ nil) do
    case :erlang.get(@key) do
      {open(place: place(span: ^span), outer: outer) = open, source} ->
        :erlang.put(@key, {outer, source})
        ended(open, error)

      # What was begun within it and not ended is given up.
      _other ->
        put(open(begun, :outer))
        ended(begun, error)
    end
  end

  defp ended(open(said: said(error: said)) = open, nil) when said != nil, do: ended(open, said)

  defp ended(open(place: place(sampled: true), outer: outer) = open, error) do
    Metadata.ended(outer)
    Finished.hand_in(open, Clock.now(), error, nil)
  end

  defp ended(open(config: %{keep_errors: true}) = open, error) when error != nil,
    do: Finished.hand_in(open, Clock.now(), error, "error")

  defp ended(open(config: %{slow: nil}), _error), do: :ok

  defp ended(open(config: %{slow: slow}, begun: begun) = open, error) do
    now = Clock.now()
    if now - begun >= slow, do: Finished.hand_in(open, now, error, "slow"), else: :ok
  end

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
  @spec event(String.t(), Enumerable.t()) :: :ok
  def event(name, attributes) do
    change(fn open(said: said) = open ->
      said(events: events) = said = said || said()
      more = if length(events) < @most, do: [{Clock.now(), name, attributes} | events], else: events
      open(open, said: said(said, events: more))
    end)
  end

  @doc "Says something of the current span, if there is one of ours."
  @spec describe(Enumerable.t()) :: :ok
  def describe(attributes) do
    change(fn open(attributes: before) = open ->
      open(open, attributes: Enum.take(Enum.reverse(attributes, before), @most))
    end)
  end

  @doc "Says that the current span failed, if there is one of ours."
  @spec set_error(String.t()) :: :ok
  def set_error(type), do: change(fn open(said: said) = open -> open(open, said: said(said || said(), error: type)) end)

  defp change(fun) do
    with {open() = open, source} <- Process.get(@key), do: Process.put(@key, {fun.(open), source})
    :ok
  end
end

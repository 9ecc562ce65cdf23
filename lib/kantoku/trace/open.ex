defmodule Kantoku.Trace.Open do
  # A span that goes on, in the process that it is of: begun, changed and finished there. What is current lies in the process's
  # dictionary: a span of ours, a context from outside, or what the first span here has to link to.
  #
  # A span of a trace that is not recorded is begun like any other, and only at its end thrown away, unless it failed or was slow.
  # So it costs two ids, a small term and two readings of the clock, and nothing is kept of it anywhere else. As who waits for a slow
  # one is slow, and who called what failed mostly fails, what is kept is whole from the root down; where a caller went on after a
  # failure, what it called is kept without it.
  @moduledoc false

  alias Kantoku.Trace.{Config, Context, Finished, Ids, Metadata, Sampler}

  @key :"$kantoku_trace"

  # So many events and attributes are kept of a span: OpenTelemetry's limit.
  @most 128

  @enforce_keys [:config, :context, :parent, :subject, :kind, :begun, :outer]
  defstruct @enforce_keys ++ [attributes: [], events: [], links: [], error: nil]

  @typedoc "What it is of: a name of its own, or who is called in which instance."
  @type subject :: String.t() | {:agent, term} | {:pool, atom}
  @type kind :: :internal | :server | :client | :producer | :consumer
  @type current :: nil | t | Context.t() | {:after, Context.t()}

  @type t :: %__MODULE__{
          config: Config.t(),
          context: Context.t(),
          parent: non_neg_integer,
          subject: subject,
          kind: kind,
          begun: integer,
          outer: current,
          attributes: [{atom | String.t(), term}],
          events: [{integer, String.t(), Enumerable.t()}],
          links: [Context.t()],
          error: String.t() | nil
        }

  # What is current ----------------------------------------------------------------------------------------------------------

  @spec current() :: current
  def current, do: Process.get(@key)

  @doc "Where this process is, if it is anywhere."
  @spec context() :: Context.t() | nil
  def context, do: context(current())

  defp context(%__MODULE__{context: context}), do: context
  defp context(%Context{} = context), do: context
  defp context(_none), do: nil

  @doc "Makes something current; what was before."
  @spec put(current) :: current
  def put(nil), do: Process.delete(@key)
  def put(current), do: Process.put(@key, current)

  # Its life -----------------------------------------------------------------------------------------------------------------

  @doc "Begins a span below what is current, or below `parent`, and makes it current."
  @spec begin(Config.t(), subject, kind, Context.t() | nil) :: t
  def begin(config, subject, kind, parent \\ nil) do
    outer = Process.get(@key)
    {context, parent, links} = place(config.sampler, parent || context(outer), outer)

    open = %__MODULE__{
      config: config,
      context: context,
      parent: parent,
      subject: subject,
      kind: kind,
      begun: System.monotonic_time(),
      outer: outer,
      links: links
    }

    Process.put(@key, open)
    if context.sampled, do: Metadata.begun(context)
    open
  end

  defp place(sampler, parent, {:after, before} = _outer) do
    {context, above, []} = place(sampler, parent, nil)
    {context, above, [before]}
  end

  defp place(sampler, nil, _outer) do
    {trace, span} = Ids.root()
    {%Context{trace: trace, span: span, sampled: Sampler.root?(sampler, trace), random: true}, 0, []}
  end

  defp place(sampler, parent, _outer) do
    {%{parent | span: Ids.span(), sampled: Sampler.child?(sampler, parent), remote: false}, parent.span, []}
  end

  @doc "Ends the current span, which `begin/4` gave, as it is now."
  @spec finish(t, error :: String.t() | nil) :: :ok
  def finish(%{context: %{span: span}} = begun, error \\ nil) do
    open = current_of(begun, span)
    leave(open)
    ended(open, error || open.error)
  end

  # What was begun within it and not ended is given up.
  defp current_of(begun, span) do
    case Process.get(@key) do
      %__MODULE__{context: %{span: ^span}} = open -> open
      _other -> begun
    end
  end

  # What is to be linked to is so by the first span that is recorded.
  defp leave(%{outer: {:after, _before}, context: %{sampled: true}}), do: Process.delete(@key)
  defp leave(%{outer: nil}), do: Process.delete(@key)
  defp leave(%{outer: outer}), do: Process.put(@key, outer)

  defp ended(%{context: %{sampled: true}} = open, error) do
    Metadata.ended(open.outer)
    Finished.hand_in(open, System.monotonic_time(), error, nil)
  end

  defp ended(%{config: %{keep_errors: true}} = open, error) when error != nil,
    do: Finished.hand_in(open, System.monotonic_time(), error, "error")

  defp ended(%{config: %{slow: nil}}, _error), do: :ok

  defp ended(%{config: %{slow: slow}, begun: begun} = open, error) do
    now = System.monotonic_time()
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
  def fail(%{context: %{span: span}, config: config} = begun, kind, reason, stacktrace) do
    open = current_of(begun, span)
    type = type(kind, reason, stacktrace)
    event = {System.monotonic_time(), "exception", ["exception.type": type]}
    Process.put(@key, %{open | events: [event | open.events]})
    finish(begun, type)
    open.context.sampled or config.keep_errors
  end

  # An exception's module, or how it left. What it says is left out: it may be what an agent holds.
  defp type(:error, reason, stacktrace), do: inspect(Exception.normalize(:error, reason, stacktrace).__struct__)
  defp type(kind, _reason, _stacktrace), do: Atom.to_string(kind)

  # While it goes on -----------------------------------------------------------------------------------------------------------

  @doc "Notes something in the current span, if there is one of ours."
  @spec event(String.t(), keyword | %{optional(String.t() | atom) => term}) :: :ok
  def event(name, attributes) do
    at = System.monotonic_time()
    change(&if(length(&1.events) < @most, do: %{&1 | events: [{at, name, attributes} | &1.events]}, else: &1))
  end

  @doc "Says something of the current span, if there is one of ours."
  @spec describe(Enumerable.t()) :: :ok
  def describe(attributes), do: change(&%{&1 | attributes: Enum.take(Enum.reverse(attributes, &1.attributes), @most)})

  @doc "A time of the VM in seconds."
  @spec seconds(integer) :: float
  def seconds(native), do: System.convert_time_unit(native, :native, :nanosecond) / 1.0e9

  @doc "Changes the current span, if there is one of ours."
  @spec change((t -> t)) :: :ok
  def change(fun) do
    with %__MODULE__{} = open <- Process.get(@key), do: Process.put(@key, fun.(open))
    :ok
  end
end

defmodule Kantoku.Trace.Agents do
  # The spans of calls and casts to agents, in the process that makes them, and how the context goes with the message.
  #
  # A call's goes in the tag of its `from`, which is nobody's business but `GenServer.reply/2`'s (`:gen.reply/2` of OTP sends the tag
  # back whatever is behind the alias): so a plain GenServer sees nothing, and whoever knows of it can read it (`carried/1`). A cast has
  # no such place: only our own server's are wrapped.
  @moduledoc false

  # `[[:alias | alias] | place]` is how OTP writes a tag that says more than the alias.
  @dialyzer {:no_improper_lists, call: 4}

  alias Kantoku.Domain.{Launch, Rows}
  alias Kantoku.Instances
  alias Kantoku.Trace.{Clock, Config, Open}

  require Clock
  require Rows
  import Open, only: [open: 1, place: 0]

  @type answer :: {:ok, term} | {:error, Kantoku.Error.t()}

  @doc "Runs `fun` with what is to go with the call, within a span that fails as its answer does."
  @spec span(Config.t(), Open.subject(), Open.kind(), Open.place() | nil, (Open.place() -> answer)) :: answer
        when answer: :ok | answer
  def span(config, subject, kind, parent, fun) do
    open(place: place) = open = Open.begin(config, subject, kind, parent)

    try do
      fun.(place)
    catch
      kind, reason ->
        Open.fail(open, kind, reason, __STACKTRACE__)
        :erlang.raise(kind, reason, __STACKTRACE__)
    else
      {:error, %{reason: reason}} = answer ->
        Open.finish(open, Atom.to_string(reason))
        answer

      answer ->
        Open.finish(open)
        answer
    end
  end

  @doc "As `GenServer.call/3`, with a place."
  @spec call(pid, term, timeout, Open.place()) :: term
  def call(pid, request, timeout, place) do
    alias = :erlang.monitor(:process, pid, alias: :reply_demonitor)
    send(pid, {:"$gen_call", {self(), [[:alias | alias] | place]}, request})

    receive do
      {[[:alias | ^alias] | _place], reply} -> reply
      {:DOWN, ^alias, :process, _pid, reason} -> exit({down(reason, pid), {GenServer, :call, [pid, request, timeout]}})
    after
      timeout -> give_up(pid, request, timeout, alias)
    end
  end

  defp down(:noconnection, pid), do: {:nodedown, node(pid)}
  defp down(reason, _pid), do: reason

  # It may have come in this instant.
  defp give_up(pid, request, timeout, alias) do
    Process.demonitor(alias, [:flush])

    receive do
      {[[:alias | ^alias] | _place], reply} -> reply
    after
      0 -> exit({:timeout, {GenServer, :call, [pid, request, timeout]}})
    end
  end

  @doc "What came with a call, by its `from`. When it was sent is not said."
  @spec carried(GenServer.from()) :: {Open.place(), nil} | nil
  def carried({_pid, [[:alias | _alias] | place() = place]}), do: {place, nil}
  def carried(_from), do: nil

  @doc "As `GenServer.cast/2`, with a place if that agent is one of ours."
  @spec cast(atom, term, pid, term, Open.place()) :: :ok
  def cast(instance, id, pid, request, place) do
    if ours?(instance, id),
      do: GenServer.cast(pid, wrapped(request, place)),
      else: GenServer.cast(pid, followed(request, place))
  end

  # Known by its name, as it may not be there.
  @signal Jido.Signal

  @doc "A request as anybody understands it: a signal of Jido's says in which trace it is, and any other stays as it is."
  @spec followed(term, Open.place()) :: term
  def followed(%{__struct__: @signal} = signal, place), do: Kantoku.Jido.follow(signal, place)
  def followed({:signal, %{__struct__: @signal} = signal}, place), do: {:signal, Kantoku.Jido.follow(signal, place)}
  def followed(request, _place), do: request

  @doc "Where a request is in a trace that says so itself, for whoever has no other place for it."
  @spec place_of(term) :: Open.place() | nil
  def place_of(%{__struct__: @signal} = signal),
    do: if(Open.here() == nil, do: Open.from_context(Kantoku.Jido.context(signal)))

  def place_of(_request), do: nil

  # Known by its name, as it may not be there.
  @jido Kantoku.Jido.Server

  @doc "Whether the workers of a pool understand what is wrapped. One of Jido's that is no worker may move to where nobody does."
  @spec wraps?(what :: term) :: boolean
  def wraps?({:informed, {@jido, _function, _args}, _module}), do: true
  def wraps?(what), do: Launch.pulse?(what)

  @doc "A request as only our own servers understand it."
  @spec wrapped(term, Open.place()) :: term
  def wrapped(request, place), do: {:"$kantoku", {:traced, place, Clock.now(), request}}

  defp ours?(instance, id) do
    {rows, _book} = Instances.tables!(instance)
    Launch.pulse?(:ets.lookup_element(rows, id, Rows.what_at()))
  rescue
    # There is no such agent, or no such instance any more.
    ArgumentError -> false
  end
end

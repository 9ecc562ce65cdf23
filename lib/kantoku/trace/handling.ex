defmodule Kantoku.Trace.Handling do
  # The spans of what our own server does for calls and casts, in the agent's process. Knows no command.
  @moduledoc false

  import Kantoku.Trace.Open, only: [open: 1, place: 1]
  alias Kantoku.Trace.{Config, Cuts, Metadata, Open}

  @typedoc "What came with a message: a place, and when it was sent if that is known."
  @type carried :: {Open.place(), sent :: integer | nil} | nil

  @doc "An agent's process begins: says so to the Logger, and looks whether one before it was cut off or handed on what it had."
  @spec born(atom, term) :: :ok
  def born(instance, id) do
    Metadata.agent(instance, id)
    if Config.of(instance), do: follow(Cuts.take(instance, id))
    :ok
  end

  defp follow(nil), do: :ok

  defp follow(place) do
    Open.put({:after, place})
    :ok
  end

  @doc """
  Does what has another process take an agent's place, in a span that the successor's first links to; `over?` says of what comes of it whether it did.
  """
  @spec hand_off(atom, term, %{String.t() => term}, (() -> result), (result -> boolean)) :: result
        when result: term
  def hand_off(instance, id, attributes, move, over?) do
    attributes = Map.put(attributes, "kantoku.agent", id)

    Kantoku.Trace.span(instance, "hand_off", attributes, fn ->
      with place(sampled: true) = place <- Open.here(), do: Cuts.hand_over(instance, id, place)
      result = move.()
      unless over?.(result), do: taken_back(instance, id)
      result
    end)
  end

  defp taken_back(instance, id) do
    Cuts.stay(instance, id)
    Open.set_error("taken_back")
  end

  @doc "Does the work of one message in a span, if this instance traces."
  @spec span(atom, term, carried, (() -> result)) :: result when result: term
  def span(instance, id, carried, work) do
    case Config.of(instance) do
      nil -> work.()
      config -> span(config, instance, id, carried, work)
    end
  end

  defp span(config, instance, id, carried, work) do
    {parent, sent} = carried || {nil, nil}
    open = Open.begin(config, {:agent, id}, :internal, parent, [], sent)
    open(place: place(sampled: sampled) = place) = open
    if sampled, do: Cuts.enter(instance, id, open)

    try do
      work.()
    catch
      kind, reason ->
        if Open.fail(open, kind, reason, __STACKTRACE__), do: ends(instance, id, place, kind)
        :erlang.raise(kind, reason, __STACKTRACE__)
    else
      result ->
        if sampled, do: Cuts.leave(instance, id)
        Open.finish(open)
        result
    end
  end

  @doc "As `span/4`, of work that others go on with after this message: what `done/2` or `broken/2` is to be given, `nil` where nothing is traced."
  @spec begun(atom, term, carried) :: Open.t() | nil
  def begun(instance, id, carried) do
    with %Config{} = config <- Config.of(instance) do
      {parent, sent} = carried || {nil, nil}
      open = config |> Open.begin({:agent, id}, :internal, parent, [], sent) |> Open.lift()
      if Open.sampled?(open), do: Cuts.enter(instance, id, open)
      open
    end
  end

  @doc "Where such work is in a trace, for who goes on with it."
  @spec place_of(Open.t() | nil) :: Open.place() | nil
  def place_of(nil), do: nil
  def place_of(open(place: place)), do: place

  @doc "It came to its end, by this error if it failed."
  @spec done(Open.t() | nil, error :: String.t() | nil) :: :ok
  def done(nil, _error), do: :ok

  def done(open(subject: {:agent, id}, config: %{instance: instance}) = open, error) do
    if Open.sampled?(open), do: Cuts.leave(instance, id)
    Open.over(open, error)
  end

  @doc "It will not, and the agent ends by that."
  @spec broken(Open.t() | nil, error :: String.t()) :: :ok
  def broken(nil, _error), do: :ok

  def broken(open(subject: {:agent, id}, config: config, place: place) = open, error) do
    done(open, error)
    if Open.sampled?(open) or config.keep_errors, do: Cuts.over(config.instance, id, place)
    :ok
  end

  # The process ends by it, unless it was thrown, which OTP takes for a result. What it logs of its end is of that trace as well.
  defp ends(instance, id, place, kind) do
    Cuts.over(instance, id, place)
    if kind != :throw, do: Metadata.begun(place)
  end
end

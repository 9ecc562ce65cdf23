defmodule Kantoku.Trace.Handling do
  # The spans of what our own server does for calls and casts, in the agent's process. Knows no command.
  @moduledoc false

  import Kantoku.Trace.Open, only: [open: 1, place: 1]
  alias Kantoku.Trace.{Clock, Config, Cuts, Metadata, Open}

  @typedoc "What came with a message: a place, and when it was sent if that is known."
  @type carried :: {Open.place(), sent :: integer | nil} | nil

  @doc "An agent's process begins: says so to the Logger, and looks whether one before it was cut off."
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

  @doc "Does the work of one message in a span, if this instance traces."
  @spec span(atom, term, carried, (() -> result)) :: result when result: term
  def span(instance, id, carried, work) do
    case Config.of(instance) do
      nil -> work.()
      config -> span(config, instance, id, carried, work)
    end
  end

  defp span(config, instance, id, carried, work) do
    open(place: place(sampled: sampled) = place) = open = Open.begin(config, {:agent, id}, :internal, parent(carried))
    if sampled, do: recorded(instance, id, carried, open)

    try do
      work.()
    catch
      kind, reason ->
        if Open.fail(open, kind, reason, __STACKTRACE__), do: Cuts.over(instance, id, place)
        :erlang.raise(kind, reason, __STACKTRACE__)
    else
      result ->
        if sampled, do: Cuts.leave(instance, id)
        Open.finish(open)
        result
    end
  end

  defp parent(nil), do: nil
  defp parent({place, _sent}), do: place

  defp recorded(instance, id, carried, open) do
    waited(carried, open)
    Cuts.enter(instance, id, open)
  end

  # From when it was sent until now: in a pool's queue, and in the mailbox.
  defp waited({_place, sent}, open(begun: begun)) when sent != nil,
    do: Open.event("kantoku.taken_up", "kantoku.wait": Clock.seconds(begun - sent))

  defp waited(_carried, _open), do: :ok
end

defmodule Kantoku.Trace.Handling do
  # The spans of what our own server does for calls and casts, in the agent's process. Knows no command.
  @moduledoc false

  alias Kantoku.Trace.{Config, Context, Cuts, Metadata, Open}

  @typedoc "What came with a message: a context, and when it was sent if that is known."
  @type carried :: {Context.t(), sent :: integer | nil} | nil

  @doc "An agent's process begins: says so to the Logger, and looks whether one before it was cut off."
  @spec born(atom, term) :: :ok
  def born(instance, id) do
    Metadata.agent(instance, id)
    if Config.of(instance), do: follow(Cuts.take(instance, id))
    :ok
  end

  defp follow(nil), do: :ok
  defp follow(context), do: Open.put({:after, context})

  @doc "Does the work of one message in a span, if this instance traces."
  @spec span(atom, term, carried, (() -> result)) :: result when result: term
  def span(instance, id, carried, work) do
    case Config.of(instance) do
      nil -> work.()
      config -> span(config, instance, id, carried, work)
    end
  end

  defp span(config, instance, id, carried, work) do
    open = Open.begin(config, {:agent, id}, :internal, parent(carried))
    waited(carried, open)
    if open.context.sampled, do: Cuts.enter(instance, id, open)

    try do
      work.()
    catch
      kind, reason ->
        if Open.fail(open, kind, reason, __STACKTRACE__), do: Cuts.over(instance, id, open.context)
        :erlang.raise(kind, reason, __STACKTRACE__)
    else
      result ->
        if open.context.sampled, do: Cuts.leave(instance, id)
        Open.finish(open)
        result
    end
  end

  defp parent(nil), do: nil
  defp parent({context, _sent}), do: context

  # From when it was handed to the pool until now: in its queue, and in the mailbox.
  defp waited({_context, sent}, %{context: %{sampled: true}, begun: begun}) when sent != nil,
    do: Open.event("kantoku.taken_up", "kantoku.wait": Open.seconds(begun - sent))

  defp waited(_carried, _open), do: :ok
end

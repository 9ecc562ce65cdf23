defmodule Kantoku.Trace.Metadata do
  # What the Logger says of who logs: the agent and its instance in an agent's process, and the trace and span while one that is
  # recorded is current. Knows no event.
  @moduledoc false

  import Kantoku.Trace.Open, only: [open: 1, place: 1]
  alias Kantoku.Trace.{Context, Open}

  @doc "The process, which has said nothing yet, is that agent's from now on."
  @spec agent(atom, term) :: :ok
  # A map as it stands here shares its keys with all others: put together by `Logger.metadata/1`, each would have keys of its own.
  def agent(instance, id), do: :logger.set_process_metadata(%{instance: instance, agent: id})

  @doc "Takes that back, if nothing else was said; whether it did."
  @spec unsay(atom, term) :: boolean
  def unsay(instance, id) do
    said? = :logger.get_process_metadata() == %{instance: instance, agent: id}
    if said?, do: :logger.unset_process_metadata()
    said?
  end

  @spec begun(Open.place()) :: :ok
  def begun(place) do
    context = Open.to_context(place)
    Logger.metadata(trace_id: Context.trace_id(context), span_id: Context.span_id(context))
  end

  @doc "What is around it is current again."
  @spec ended(Open.current()) :: :ok
  def ended(open(place: place(sampled: true) = place)), do: begun(place)
  def ended(_outer), do: Logger.metadata(trace_id: nil, span_id: nil)
end

defmodule Kantoku.Trace.Metadata do
  # What the Logger says of who logs: the agent and its instance in an agent's process, and the trace and span while one that is
  # recorded is current. Knows no event.
  @moduledoc false

  alias Kantoku.Trace.{Context, Open}

  @doc "The process is that agent's from now on."
  @spec agent(atom, term) :: :ok
  def agent(instance, id), do: Logger.metadata(instance: instance, agent: id)

  @spec begun(Context.t()) :: :ok
  def begun(context), do: Logger.metadata(trace_id: Context.trace_id(context), span_id: Context.span_id(context))

  @doc "What is around it is current again."
  @spec ended(Open.current()) :: :ok
  def ended(%Open{context: %{sampled: true} = context}), do: begun(context)
  def ended(_outer), do: Logger.metadata(trace_id: nil, span_id: nil)
end

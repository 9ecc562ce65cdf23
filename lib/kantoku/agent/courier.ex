defmodule Kantoku.Agent.Courier do
  # Runs a handler for one directive in a process of its own. Knows no outbox: it reports and ends.
  @moduledoc false

  alias Kantoku.Agent.Redaction
  alias Kantoku.Trace.{Metadata, Open}

  @typep place :: Open.place() | nil

  @doc """
  Starts a courier, at a place in a trace; the caller is sent `{:kantoku_delivery, courier, result}`, or an exit signal if it dies before.
  """
  @spec start(
          module,
          Kantoku.Agent.directive(),
          Kantoku.Agent.directive_id(),
          Kantoku.Agent.context(),
          boolean,
          place
        ) :: pid
  def start(handler, directive, id, context, redact, place) do
    :proc_lib.spawn_link(__MODULE__, :run, [handler, directive, id, context, redact, place])
  end

  # Linked until it has reported: it dies with a server that is killed, and what becomes of it later concerns no one.
  @doc false
  @spec run(module, Kantoku.Agent.directive(), Kantoku.Agent.directive_id(), Kantoku.Agent.context(), boolean, place) ::
          true
  def run(handler, directive, id, context, redact, place) do
    Metadata.agent(context.instance, context.id)
    if place, do: Open.enter_context(place)
    send(context.server, {:kantoku_delivery, self(), attempt(handler, directive, id, context, redact)})
    Process.unlink(context.server)
  end

  defp attempt(handler, directive, id, context, redact) do
    case handler.handle_directive(directive, id, context) do
      :ok -> :ok
      {:ok, action} -> {:ok, action}
      {:error, reason} -> {:error, reason}
      _other -> {:error, :bad_return_value}
    end
  catch
    kind, reason -> {:error, {kind, if(redact, do: Redaction.reason(reason), else: reason)}}
  end
end

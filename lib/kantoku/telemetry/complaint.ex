defmodule Kantoku.Telemetry.Complaint do
  # Tells of a handler that failed: an event each time, a line in the log once a minute at most. What the handler was given, or raised
  # with, may be anybody's data: the log has the kind of error and the place.
  @moduledoc false
  require Logger

  alias Kantoku.Telemetry

  @typedoc "How a handler failed, at which event."
  @type failure :: %{
          event: Telemetry.name(),
          kind: :error | :exit | :throw,
          reason: term,
          stacktrace: Exception.stacktrace()
        }

  @typedoc "When the log was told last (ms)."
  @type told :: integer | nil

  @minute 60_000

  @doc "What is to be said of a handler; when the log was told."
  @spec failed(atom, term, failure, action :: non_neg_integer | :leave | :give_up, told, now :: integer) :: told
  def failed(instance, id, failure, action, told, now) do
    retry_in = if is_integer(action), do: action, else: :never
    action = if is_integer(action), do: :reattach, else: action
    metadata = failure |> Map.take([:event, :kind, :reason]) |> Map.merge(%{handler: id, action: action})
    Telemetry.emit(instance, [:handler, :failed], %{retry_in: retry_in}, metadata)

    if due?(told, now) or action != :reattach do
      Logger.error(fn -> line(id, failure, action) end)
      now
    else
      told
    end
  end

  @doc "Whether the log may be told again of the same, a minute after it was told last."
  @spec due?(told, now :: integer) :: boolean
  def due?(told, now), do: told == nil or now - told >= @minute

  @doc "A handler is there again after so many ms."
  @spec reattached(atom, term, non_neg_integer) :: :ok
  def reattached(instance, id, detached_for),
    do: Telemetry.emit(instance, [:handler, :reattached], %{detached_for: detached_for}, %{handler: id})

  defp line(id, %{event: event} = failure, action) do
    "A handler of events failed: #{inspect(id, limit: 5)}, at #{inspect(event)}, by #{what(failure)}#{place(failure)}. " <>
      next(action)
  end

  defp what(%{kind: :error, reason: %module{}}), do: inspect(module)
  defp what(%{kind: kind, reason: reason}) when is_atom(reason), do: "#{kind}: #{inspect(reason)}"
  defp what(%{kind: kind}), do: Atom.to_string(kind)

  defp place(%{stacktrace: [{module, function, arguments, location} | _]}) do
    arity = if is_list(arguments), do: length(arguments), else: arguments
    " in " <> Exception.format_stacktrace_entry({module, function, arity, Keyword.take(location, [:file, :line])})
  end

  defp place(_unknown), do: ""

  defp next(:reattach), do: "It is attached again."
  defp next(:leave), do: "It is left out."
  defp next(:give_up), do: "It failed too often and is left out."
end

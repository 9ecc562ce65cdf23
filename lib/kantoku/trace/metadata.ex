defmodule Kantoku.Trace.Metadata do
  # What the Logger says of who logs: the agent and its instance in an agent's process, and the trace and span while one that is
  # recorded is current. What a process says under these names itself is there again when that is over. Knows no event.
  @moduledoc false

  alias Kantoku.Trace.{Context, Open}

  @ids [:trace_id, :span_id]

  @typedoc "What was said under the names of ours before."
  @type before :: %{optional(:trace_id | :span_id) => term}

  @doc "The process is that agent's from now on."
  @spec agent(atom, term) :: :ok
  def agent(instance, id) do
    # A map as it stands here shares its keys with all others: put together by `Logger.metadata/1`, each would have keys of its own.
    said = %{instance: instance, agent: id}

    case :logger.get_process_metadata() do
      :undefined -> :logger.set_process_metadata(said)
      more -> :logger.set_process_metadata(Map.merge(more, said))
    end
  end

  @doc "Takes that back, if nothing else was said; whether it did."
  @spec unsay(atom, term) :: boolean
  def unsay(instance, id) do
    said? = :logger.get_process_metadata() == %{instance: instance, agent: id}
    if said?, do: :logger.unset_process_metadata()
    said?
  end

  @doc "This place is current; what to give to `restore/1` when it is no more."
  @spec begun(Open.place()) :: before
  def begun(place) do
    context = Open.to_context(place)
    said = said()
    say(Map.merge(said, %{trace_id: Context.trace_id(context), span_id: Context.span_id(context)}))
    Map.take(said, @ids)
  end

  @doc "Nothing is current; likewise."
  @spec nowhere() :: before
  def nowhere do
    said = said()
    say(Map.drop(said, @ids))
    Map.take(said, @ids)
  end

  @spec restore(before) :: :ok
  def restore(before), do: said() |> Map.drop(@ids) |> Map.merge(before) |> say()

  defp said do
    case :logger.get_process_metadata() do
      :undefined -> %{}
      said -> said
    end
  end

  defp say(metadata) when metadata == %{}, do: :logger.unset_process_metadata()
  defp say(metadata), do: :logger.set_process_metadata(metadata)
end

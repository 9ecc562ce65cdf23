defmodule Kantoku.Metrics.Exemplars do
  # Which trace an observation was made in: of calls and requests that have a span, and of what users observe within one. Keeps nothing itself.
  @moduledoc false

  alias Kantoku.Instances
  alias Kantoku.Metrics.{Board, Whose}
  alias Kantoku.Trace
  alias Kantoku.Trace.Context

  @pool "kantoku_pool_request_duration_seconds"
  @agent "kantoku_agent_call_duration_seconds"

  @doc "A request to a pool or a call to an agent took so many seconds, and has a span."
  @spec took(atom, {:pool, atom} | {:agent, term}, float, at :: float, Context.t()) :: :ok
  def took(instance, {:pool, pool}, seconds, at, context),
    do: Board.exemplar(instance, @pool, [pool: pool], seconds, at, ids(context))

  def took(instance, {:agent, id}, seconds, at, context) do
    with {:ok, {rows, _book}} <- Instances.tables(instance),
         do: Board.exemplar(instance, @agent, Whose.of(rows, id), seconds, at, ids(context))

    :ok
  rescue
    # It ended meanwhile.
    ArgumentError -> :ok
  end

  @doc "A user observed something; where that is in a recorded trace, it is one."
  @spec observed(atom, String.t(), number, Enumerable.t()) :: :ok
  def observed(instance, name, number, labels) do
    case Trace.context() do
      %{sampled: true} = context ->
        Board.exemplar(
          instance,
          name,
          Enum.to_list(labels),
          number,
          System.system_time(:millisecond) / 1_000,
          ids(context)
        )

      _none ->
        :ok
    end
  end

  defp ids(context), do: {Context.trace_id(context), Context.span_id(context)}
end

defmodule Kantoku.SLO.Watch do
  # Counts how calls end, in the processes that make them: one addition for each objective that they are of. Knows no history.
  @moduledoc false

  alias Kantoku.Domain.{Launch, Rows}
  alias Kantoku.Instances
  alias Kantoku.SLO.Board

  require Rows

  @agents {__MODULE__, :agents}
  @good 1
  @bad 2

  # What was the caller's own doing, as HTTP's 4xx, says nothing of who was called.
  @callers [:quota, :not_found, :not_running]

  @type outcome :: :ok | :error | :ignore
  @type watching :: [{limit_ns :: pos_integer | nil, :counters.counters_ref()}]

  @doc "One call that ended so and took so many ns."
  @spec count(watching, outcome, integer) :: :ok
  def count(_watching, :ignore, _ns), do: :ok
  def count(watching, outcome, ns), do: Enum.each(watching, &add(&1, outcome, ns))

  defp add({_limit, counters}, :error, _ns), do: :counters.add(counters, @bad, 1)
  defp add({nil, counters}, :ok, _ns), do: :counters.add(counters, @good, 1)
  defp add({limit, counters}, :ok, ns), do: :counters.add(counters, if(ns <= limit, do: @good, else: @bad), 1)

  @doc "How a call ended, by what it answered."
  @spec outcome({:ok, term} | {:error, Kantoku.Error.t()}) :: outcome
  def outcome({:ok, _reply}), do: :ok
  def outcome({:error, %{reason: reason}}) when reason in @callers, do: :ignore
  def outcome({:error, _error}), do: :error

  @doc "An operation of the user's own."
  @spec operation(atom, term, outcome, integer) :: :ok | {:error, Kantoku.Error.t()}
  def operation(instance, name, outcome, ns),
    do: Board.reading(instance, &count(Board.watching(&1, {:operation, name}), outcome, ns))

  # Agents -----------------------------------------------------------------------------------------------------------------

  @doc """
  Who counts calls to agents of an instance, by their module; `nil` where nobody does. That any instance ever had an objective of agents
  is one word for the whole VM, which is all that a call reads without.
  """
  @spec types(atom) :: %{module => watching} | nil
  def types(instance), do: if(:persistent_term.get(@agents, false), do: :persistent_term.get({@agents, instance}, nil))

  @doc "From now on these do."
  @spec watch_agents(atom, %{module => watching}) :: :ok
  def watch_agents(instance, types) when types == %{} do
    :persistent_term.erase({@agents, instance})
    :ok
  end

  def watch_agents(instance, types) do
    :persistent_term.put({@agents, instance}, types)
    :persistent_term.put(@agents, true)
  end

  @doc "Makes a call to an agent, and counts how it ended."
  @spec agent(%{module => watching}, atom, term, (() -> answer)) :: answer
        when answer: {:ok, term} | {:error, Kantoku.Error.t()}
  def agent(types, instance, id, call) do
    watching = Map.get(types, module(instance, id), [])
    begun = now()
    answer = call.()
    count(watching, outcome(answer), now() - begun)
    answer
  end

  defp module(instance, id) do
    {rows, _book} = Instances.tables!(instance)
    Launch.module(:ets.lookup_element(rows, id, Rows.what_at()))
  rescue
    # There is no such agent, or no such instance any more.
    ArgumentError -> nil
  end

  @spec now() :: integer
  def now, do: System.monotonic_time(:nanosecond)
end

defmodule Demo.Extractor do
  # An agent that counts the terms and figures of a part of a file. What it has taken on is in its outbox, with its result, before it
  # says so: from then on it is delivered to the indexer that the errand names, however often this agent is killed.
  @moduledoc false
  use Kantoku.Agent

  alias Demo.{Gauges, Patience, Tally}

  # For so many ms a courier waits for an indexer to come back; then the next attempt is the outbox's.
  @patience 120_000
  @merge 60_000

  defstruct taken: 0

  @type key :: {pass :: pos_integer, file :: non_neg_integer, part :: non_neg_integer}

  @typedoc """
  One part's way: its `key`, by which a second delivery is known, the `indexer` to merge it, and who wants to hear of that.
  """
  @type errand :: %{key: key, indexer: term, asker: pid}

  @impl true
  def new(_args), do: %__MODULE__{}

  @impl true
  def cmd(agent, {:extract, errand, text}) do
    {%{agent | taken: agent.taken + 1}, [{:reply, :taken}, {:deliver, errand, Tally.of(text)}]}
  end

  def cmd(agent, {:fault, kind, instance}) do
    Demo.Fault.strike(kind, instance)
    {agent, []}
  end

  @impl true
  def handle_directive({:deliver, errand, tally}, _id, context), do: deliver(errand, tally, context, now() + @patience)

  defp deliver(%{key: key, indexer: indexer} = errand, tally, %{instance: instance} = context, until) do
    case Kantoku.call(instance, indexer, {:merge, key, Gauges.get(instance, :floor), tally}, @merge) do
      {:ok, answer} -> delivered(answer, errand, instance)
      {:error, error} -> away(error, now() < until, fn -> deliver(errand, tally, context, until) end)
    end
  end

  defp delivered(answer, %{key: key, asker: asker}, instance) do
    if answer == :refused, do: Gauges.add(instance, :refused)
    send(asker, {:merged, key})
    :ok
  end

  defp away(error, false, _once_more), do: {:error, error}

  defp away(error, true, once_more) do
    Patience.rest(error)
    once_more.()
  end

  defp now, do: System.monotonic_time(:millisecond)
end

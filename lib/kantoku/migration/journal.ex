defmodule Kantoku.Migration.Journal do
  # What shadows found: how often both sides agree, and the last cases in which they did not. Bounded, and without a process: a counter
  # says which place of a ring the next note takes.
  #
  # Rows: {{:count, subject}, agreed, disagreed}; {{:note, subject, place}, note}; a subject is {instance, feature, name}.
  @moduledoc false

  alias Kantoku.Telemetry

  @table __MODULE__
  @kept 20

  @type subject :: {instance :: atom, feature :: atom, name :: term}
  @type note :: %{key: term, ours: term, theirs: term, at: integer}

  @doc "Makes the table, which lives as long as the calling process."
  @spec new_table() :: :ok
  def new_table do
    :ets.new(@table, [:named_table, :public, write_concurrency: true, decentralized_counters: true])
    :ok
  end

  @doc "Compares what ours would have done with what theirs did."
  @spec compare(subject, key :: term, ours :: term, theirs :: term) :: :ok
  def compare(subject, key, ours, theirs), do: note(subject, key, ours, theirs, ours === theirs)

  @doc "As `compare/4`, where the caller knows whether they agree."
  @spec note(subject, key :: term, ours :: term, theirs :: term, agree? :: boolean) :: :ok
  def note(subject, _key, _ours, _theirs, true) do
    count(subject, {2, 1})
    :ok
  end

  def note({instance, feature, name} = subject, key, ours, theirs, false) do
    place = rem(count(subject, {3, 1}), @kept)
    note = %{key: key, ours: ours, theirs: theirs, at: System.system_time(:millisecond)}
    :ets.insert(@table, {{:note, subject, place}, note})

    Telemetry.emit(instance, [:migration, :disagreed], %{}, %{
      id: key,
      feature: feature,
      subject: name,
      ours: ours,
      theirs: theirs
    })
  end

  defp count(subject, step), do: :ets.update_counter(@table, {:count, subject}, step, {{:count, subject}, 0, 0})

  @doc "What was found, the newest note first."
  @spec read(subject) :: %{agreed: non_neg_integer, disagreed: non_neg_integer, last: [note]}
  def read(subject) do
    {agreed, disagreed} = counts(:ets.lookup(@table, {:count, subject}))
    notes = for place <- 0..(@kept - 1), [{_, note}] <- [:ets.lookup(@table, {:note, subject, place})], do: note
    %{agreed: agreed, disagreed: disagreed, last: Enum.sort_by(notes, & &1.at, :desc)}
  end

  defp counts([{_key, agreed, disagreed}]), do: {agreed, disagreed}
  defp counts([]), do: {0, 0}

  @doc "Forgets what was found, as a new look begins."
  @spec clear(subject) :: :ok
  def clear(subject) do
    :ets.delete(@table, {:count, subject})
    for place <- 0..(@kept - 1), do: :ets.delete(@table, {:note, subject, place})
    :ok
  end
end

defmodule Kantoku.Alert.Ears do
  # What rules of events have heard: when last, of what; and which agents may be parked. Bounded, whatever is told. Knows no rule.
  @moduledoc false

  alias Kantoku.Agents
  alias Kantoku.Alert.Condition

  # Of so many subjects and agents it remembers; those that come when there are more are not heard.
  @most 1_000

  # An agent that is told to be parked may not be yet: so long it is asked, in ms.
  @settling 60_000

  # What an event's metadata says of whom it is about. An agent's id is no label.
  @subjects [:domain, :pool, :breaker, :exporter]

  defstruct heard: %{}, parked: %{}

  @type t :: %__MODULE__{
          heard: %{{event :: [atom], labels :: map} => time :: integer},
          parked: %{(id :: term) => {domain :: term, told :: integer}}
        }

  @doc "An event was told."
  @spec hear(t, [atom], map, integer) :: t
  def hear(ears, [:agent, :parked] = event, metadata, time),
    do: ears |> park(metadata.id, metadata.domain, time) |> note(event, metadata, time)

  def hear(ears, event, metadata, time), do: note(ears, event, metadata, time)

  defp note(%{heard: heard} = ears, event, metadata, time) do
    labels =
      for subject <- @subjects,
          metadata[subject] != nil,
          into: %{},
          do: {"#{subject}", Condition.text(metadata[subject])}

    %{ears | heard: put(heard, {event, labels}, time)}
  end

  @doc "An agent may be parked."
  @spec park(t, term, term, integer) :: t
  def park(%{parked: parked} = ears, id, domain, time), do: %{ears | parked: put(parked, id, {domain, time})}

  defp put(map, key, value) when is_map_key(map, key) or map_size(map) < @most, do: Map.put(map, key, value)
  defp put(map, _key, _value), do: map

  @doc "Of what an event was told within so many ms, and how long ago."
  @spec recent(t, [atom], pos_integer, integer) :: [Condition.reading()]
  def recent(%{heard: heard}, event, within, time),
    do: for({{^event, labels}, at} <- heard, time - at < within, do: {labels, time - at})

  @doc "Forgets what was told longer ago than that."
  @spec forget(t, pos_integer, integer) :: t
  def forget(%{heard: heard} = ears, longest, time),
    do: %{ears | heard: Map.filter(heard, fn {_key, at} -> time - at < longest end)}

  @doc "How many agents of each domain are parked, as each of them says now."
  @spec parked(t, atom, integer) :: {[Condition.reading()], t}
  def parked(%{parked: parked} = ears, instance, time) do
    {are, are_not} = Enum.split_with(parked, fn {id, _told} -> parked?(instance, id) end)
    counts = Enum.frequencies_by(are, fn {_id, {domain, _told}} -> domain end)
    readings = for {domain, count} <- counts, do: {%{"domain" => Condition.text(domain)}, count}
    may_be = for {_id, {_domain, told}} = one <- are_not, time - told < @settling, do: one
    {readings, %{ears | parked: Map.new(are ++ may_be)}}
  end

  defp parked?(instance, id), do: match?({:error, %{reason: :parked}}, Agents.fetch(instance, id))
end

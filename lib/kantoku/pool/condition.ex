defmodule Kantoku.Pool.Condition do
  # What a pool wants and lacks, from its members, and what is told when that changes. Asks and tells nobody.
  @moduledoc false

  alias Kantoku.Pool.Members

  @unseen %{wanted: 0, overflow: 0, missing: 0, degraded: false, reason: nil}

  @typedoc "How many workers are wanted, how many of them beyond the target, how many are not up; whether that is for failures, and why."
  @type t :: %{
          wanted: non_neg_integer,
          overflow: non_neg_integer,
          missing: non_neg_integer,
          degraded: boolean,
          reason: term
        }

  @doc "Before anybody has looked."
  @spec unseen() :: t
  def unseen, do: @unseen

  @doc "With `held` nobody is started for now; `reason` is why the last worker did not start, if that is known."
  @spec of(
          [Members.member()],
          {wanted :: non_neg_integer, overflow :: non_neg_integer},
          held :: boolean,
          reason :: term
        ) :: t
  def of(members, {wanted, overflow}, held, reason) do
    staying = Enum.reject(members, & &1.leaving)
    missing = max(wanted - Enum.count(staying, &(&1.pid != nil)), 0)
    degraded = Enum.any?(staying, &(&1.phase in [:resting, :parked])) or (held and missing > 0)
    %{wanted: wanted, overflow: overflow, missing: missing, degraded: degraded, reason: why(degraded, missing, reason)}
  end

  defp why(true, _missing, nil), do: :crashed
  defp why(false, 0, _reason), do: nil
  defp why(_degraded, _missing, reason), do: reason

  @doc "The events of a change: names without `:pool`, measurements, metadata."
  @spec events(t, t, cause :: atom) :: [{atom, map, map}]
  def events(before, now, cause), do: resized(before, now, cause) ++ degraded(before, now)

  defp resized(%{wanted: same}, %{wanted: same}, _cause), do: []
  defp resized(%{wanted: from}, %{wanted: to}, cause), do: [{:resized, %{from: from, to: to}, %{reason: cause}}]

  defp degraded(%{degraded: same}, %{degraded: same}), do: []

  defp degraded(_before, %{degraded: true, missing: missing} = now),
    do: [{:degraded, %{missing: missing, workers: now.wanted - missing}, %{reason: now.reason}}]

  defp degraded(_before, now), do: [{:recovered, %{workers: now.wanted - now.missing}, %{}}]
end

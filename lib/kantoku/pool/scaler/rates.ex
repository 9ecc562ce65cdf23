defmodule Kantoku.Pool.Scaler.Rates do
  # How far the policies of a direction let a pool go, from the changes of size so far. A pool's changes are kept in slots of a
  # twentieth of the shortest period, dated by the last of each: bounded, and never forgotten too early. Knows no metric.
  @moduledoc false

  alias Kantoku.Pool.Scaler.Policy

  @slots 20

  @type changes :: [{at :: integer, added :: non_neg_integer, removed :: non_neg_integer}]

  @doc "The changes with one more, of `now`."
  @spec change(changes, integer, integer, Policy.t()) :: changes
  def change(changes, _now, 0, _policy), do: changes

  def change(changes, now, difference, policy) do
    {shortest, longest} = Enum.min_max(periods(policy))
    {added, removed} = {max(difference, 0), max(-difference, 0)}

    changes
    |> put(now, added, removed, max(1, div(shortest, @slots)))
    |> Enum.take_while(&(elem(&1, 0) > now - longest))
  end

  @doc "The most that a pool of `size` may grow to, the least that it may shrink to, and the policy that says so."
  @spec limit(:up | :down, non_neg_integer, Policy.rules(), changes, integer) :: {non_neg_integer, term}
  def limit(_direction, size, %{select: :disabled}, _changes, _now), do: {size, :disabled}

  def limit(direction, size, rules, changes, now) do
    allowed = for policy <- rules.policies, do: {allowed(direction, size, policy, changes, now), policy}
    select(direction, rules.select, allowed)
  end

  defp select(:up, :max, allowed), do: Enum.max_by(allowed, &elem(&1, 0))
  defp select(:up, :min, allowed), do: Enum.min_by(allowed, &elem(&1, 0))
  defp select(:down, :max, allowed), do: Enum.min_by(allowed, &elem(&1, 0))
  defp select(:down, :min, allowed), do: Enum.max_by(allowed, &elem(&1, 0))

  defp allowed(direction, size, {kind, value, [period: period]}, changes, now) do
    before = size + undone(changes, now - period)
    bounded(direction, size, reach(direction, kind, before, value))
  end

  # What the pool had when the period began is what it has, without what was added since and with what was removed.
  defp undone(changes, cutoff) do
    for {at, added, removed} <- changes, at > cutoff, reduce: 0, do: (sum -> sum - added + removed)
  end

  defp reach(:up, :count, before, value), do: before + value
  defp reach(:up, :percent, before, value), do: div(before * (100 + value) + 99, 100)
  defp reach(:down, :count, before, value), do: max(0, before - value)
  defp reach(:down, :percent, before, value), do: div(before * max(0, 100 - value), 100)

  defp bounded(:up, size, reach), do: max(size, reach)
  defp bounded(:down, size, reach), do: min(size, reach)

  defp put([{at, added, removed} | older] = changes, now, more, less, width) do
    if Integer.floor_div(at, width) == Integer.floor_div(now, width),
      do: [{now, added + more, removed + less} | older],
      else: [{now, more, less} | changes]
  end

  defp put([], now, more, less, _width), do: [{now, more, less}]

  defp periods(policy) do
    for %{policies: policies} <- [policy.scale_up, policy.scale_down], {_, _, [period: period]} <- policies, do: period
  end
end

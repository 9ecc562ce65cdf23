defmodule Bench.Names.SampledIndex do
  @moduledoc false
  # The cheapest peer: an index from tags to members in ETS, loads in one `:atomics`, and the better of two random
  # members. It does not answer with the least loaded, but with one that is likely not bad. Members are numbered
  # within their tag, so that a random one costs one look-up; with a plain bag, all members of the tag would be copied
  # for each question.

  @type t :: %{members: :ets.table(), loads: :atomics.atomics_ref()}

  @spec build([{id :: pos_integer, pid, tags :: [atom]}]) :: t
  def build(described) do
    members = :ets.new(:members, [:set, :public, read_concurrency: true])

    for {id, pid, tags} <- described, tag <- tags do
      position = :ets.update_counter(members, {tag, :size}, 1, {{tag, :size}, 0})
      :ets.insert(members, {{tag, position}, id, pid})
    end

    %{members: members, loads: :atomics.new(length(described), signed: false)}
  end

  @spec set_load(t, pos_integer, non_neg_integer) :: :ok
  def set_load(%{loads: loads}, id, load), do: :atomics.put(loads, id, load)

  @doc "The less loaded of two random agents with a tag, as `{id, pid, load}`; the other one if that one is dead."
  @spec better_of_two(t, atom) :: {pos_integer, pid, non_neg_integer} | nil
  def better_of_two(%{members: members, loads: loads}, tag) do
    [{_, size}] = :ets.lookup(members, {tag, :size})
    one = member(members, loads, tag, size)
    other = member(members, loads, tag, size)
    if elem(one, 2) <= elem(other, 2), do: living(one, other), else: living(other, one)
  end

  defp member(members, loads, tag, size) do
    [{_, id, pid}] = :ets.lookup(members, {tag, :rand.uniform(size)})
    {id, pid, :atomics.get(loads, id)}
  end

  defp living({_, pid, _} = chosen, {_, other, _} = second) do
    cond do
      Process.alive?(pid) -> chosen
      Process.alive?(other) -> second
      true -> nil
    end
  end
end

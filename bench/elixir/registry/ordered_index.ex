defmodule Bench.Names.OrderedIndex do
  @moduledoc false
  # The peer that answers "the least loaded with this tag" exactly, kept by hand in ETS: an ordered set keyed `{tag,
  # node, load, id}`. Asking is one step to the first key of a tag; each change of load moves one key for each tag.

  @type t :: %{index: :ets.table(), agents: :ets.table()}

  @spec build([{id :: pos_integer, pid, tags :: [atom]}]) :: t
  def build(described) do
    index = :ets.new(:ordered, [:ordered_set, :public, read_concurrency: true, write_concurrency: true])
    agents = :ets.new(:agents, [:set, :public, read_concurrency: true, write_concurrency: true])

    for {id, pid, tags} <- described do
      :ets.insert(agents, {id, 0, tags, pid})
      for tag <- tags, do: :ets.insert(index, {{tag, node(), 0, id}, pid})
    end

    %{index: index, agents: agents}
  end

  @spec set_load(t, pos_integer, non_neg_integer) :: true
  def set_load(%{index: index, agents: agents}, id, load) do
    [{_, old, tags, pid}] = :ets.lookup(agents, id)
    :ets.update_element(agents, id, {2, load})
    move(tags, index, node(), old, load, id, pid)
  end

  @doc "The least loaded living agent of this node with a tag, as `{id, pid, load}`."
  @spec least_loaded(t, atom) :: {pos_integer, pid, non_neg_integer} | nil
  def least_loaded(%{index: index}, tag), do: first(index, tag, node(), {tag, node(), -1, 0})

  defp move([], _index, _node, _old, _load, _id, _pid), do: true

  defp move([tag | tags], index, node, old, load, id, pid) do
    :ets.delete(index, {tag, node, old, id})
    :ets.insert(index, {{tag, node, load, id}, pid})
    move(tags, index, node, old, load, id, pid)
  end

  # Another caller may move the key between the step to it and the reading of it: then the step is taken again from
  # there.
  defp first(index, tag, node, from) do
    with {^tag, ^node, load, id} = key <- :ets.next(index, from) do
      case :ets.lookup(index, key) do
        [{_, pid}] -> if Process.alive?(pid), do: {id, pid, load}, else: first(index, tag, node, key)
        [] -> first(index, tag, node, from)
      end
    else
      _ -> nil
    end
  end
end

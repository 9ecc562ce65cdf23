Code.require_file("terms.exs", __DIR__)

# Runs the same commands, at the same times, on a tree of health of each engine, and compares every answer, what changed with it, and how
# each node then fares. Nodes are named as each engine likes.
if Kantoku.Native.loaded?() do
  defmodule Kantoku.HealthAgreeTest do
    use ExUnit.Case, async: true
    import Kantoku.EachEngine, only: [with_both: 2]
    import Kantoku.Terms, only: [check: 3]
    alias Kantoku.Engine.Health

    @moduletag :property
    @moduletag timeout: 300_000

    test "trees of both engines answer alike at the same times" do
      check(:proper_types.resize(150, :proper_types.list(command())), &agree?/1, 200)
    end

    defp command do
      :proper_types.frequency([
        {2, {:add, small(0, 9), {:group, rule()}}},
        {5, {:add, small(0, 9), {:agent, :proper_types.list(probe())}}},
        {30,
         {:report, small(0, 30), small(0, 3),
          :proper_types.elements([:success, :success, :failure, :failure, :unknown])}},
        {2, {:change, small(0, 30), :proper_types.oneof([{:group, rule()}, {:agent, :proper_types.list(probe())}])}},
        {3, {:remove, small(0, 30)}},
        {1, :clear},
        {4, {:pass, small(0, 3_000_000)}}
      ])
    end

    defp probe do
      {small(0, 3), :proper_types.elements([:startup, :liveness, :readiness, :custom]), small(1, 2), small(1, 3)}
    end

    defp rule, do: :proper_types.elements([:worst, 0, 34, 50, 67, 100])
    defp small(least, most), do: :proper_types.integer(least, most)

    defp agree?(commands) do
      with_both(:health_agree, fn instances ->
        state = step({:add, 0, {:group, 50}}, %{instances: instances, nodes: [], now: 0})
        Enum.reduce(commands, state, &step/2)
        true
      end)
    end

    defp step({:pass, ns}, state), do: %{state | now: state.now + ns}

    # `nodes` is a list of `{handle of the native engine, handle of the other}`.
    defp step({:add, below, spec}, state) do
      parent = nth(state.nodes, below)

      case both(state, fn instance, at ->
             Health.health_add(instance, parent && elem(parent, at), unique(spec), nil, state.now)
           end) do
        {{_changes, {:ok, one}}, {_same, {:ok, other}}} -> compared(%{state | nodes: state.nodes ++ [{one, other}]})
        {{[], :none}, {[], :none}} -> state
      end
    end

    defp step({:change, node, spec}, state),
      do: on_node(state, node, &Health.health_change(&1, &2, unique(spec), state.now))

    defp step({:remove, node}, state), do: on_node(state, node, &Health.health_remove(&1, &2, state.now))

    defp step(:clear, state) do
      both(state, fn instance, _at -> Health.health_clear(instance) end)
      %{compared(state) | nodes: []}
    end

    defp step({:report, node, id, outcome}, state),
      do: on_node(state, node, &Health.health_report(&1, &2, id, outcome, state.now))

    defp on_node(state, node, fun) do
      case nth(state.nodes, node) do
        nil ->
          state

        names ->
          both(state, fn instance, at -> fun.(instance, elem(names, at)) end)
          compared(state)
      end
    end

    defp nth([], _at), do: nil
    defp nth(nodes, at), do: Enum.at(nodes, rem(at, length(nodes)))
    defp unique({:agent, probes}), do: {:agent, Enum.uniq_by(probes, &elem(&1, 0))}
    defp unique(group), do: group

    # The answers of both, after they were compared but for the names in them.
    defp both(%{instances: instances, nodes: nodes}, fun) do
      [one, other] = for {instance, at} <- Enum.with_index(instances), do: told(fun.(instance, at))
      assert plain(one, nodes, 0) == plain(other, nodes, 1)
      {one, other}
    end

    defp told({:changed, changes, answer}), do: {changes, answer}
    defp told(answer), do: {[], answer}

    defp plain({changes, answer}, nodes, at) do
      named = for {node, from, to} <- changes, do: {Enum.find_index(nodes, &(elem(&1, at) == node)), from, to}
      {named, with({:ok, _handle} <- answer, do: :added)}
    end

    defp compared(%{nodes: nodes, now: now} = state) do
      for {one, other} <- nodes do
        both(%{state | nodes: []}, fn instance, at ->
          Health.health_status(instance, if(at == 0, do: one, else: other), now + 5)
        end)
      end

      state
    end
  end
end

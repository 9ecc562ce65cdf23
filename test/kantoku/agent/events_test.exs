defmodule Kantoku.Agent.EventsTest do
  use Kantoku.Test.AgentCase, async: true

  alias Kantoku.Telemetry

  setup context do
    {:ok, ref} = Telemetry.subscribe(context.instance)
    {:ok, ref: ref}
  end

  defp names(events), do: for({:kantoku_event, _ref, [:kantoku | name], _, _} <- events, do: name)

  defp all_events(ref), do: Telemetry.take(ref, 1_000, 0)

  test "an agent's life is told in order", %{ref: ref} = context do
    pid = start(context)
    GenServer.call(pid, {:add, 1})
    GenServer.call(pid, {:pay, {self(), 1}})
    deliver()
    Server.settle(pid, 5_000)
    stop(pid, :kill)
    Server.state(start(context, [], %{incarnation: 2}))

    assert names(all_events(ref)) == [
             [:agent, :ready],
             [:agent, :state_changed],
             [:agent, :snapshot, :written],
             [:agent, :state_changed],
             [:agent, :snapshot, :written],
             [:agent, :directive, :delivered],
             [:agent, :snapshot, :written],
             [:agent, :restored],
             [:agent, :ready]
           ]
  end

  test "what an event says is what the catalogue says", %{ref: ref} = context do
    live_through_everything(context)
    catalogue = Map.new(Telemetry.events(), &{&1.name, &1})
    events = all_events(ref)

    for {:kantoku_event, _ref, [:kantoku | name], measurements, metadata} <- events do
      assert Enum.sort(Map.keys(measurements)) == Enum.sort(Keyword.keys(catalogue[name].measurements))
      assert Enum.sort(Map.keys(metadata)) == Enum.sort([:instance | catalogue[name].metadata])
      assert Enum.all?(Map.values(measurements), &is_integer/1)
      assert metadata.instance == context.instance
    end

    assert Enum.uniq(Enum.sort(names(events))) == [
             [:agent, :directive, :delivered],
             [:agent, :directive, :retried],
             [:agent, :directive, :undeliverable],
             [:agent, :ready],
             [:agent, :restored],
             [:agent, :snapshot, :damaged],
             [:agent, :snapshot, :failed],
             [:agent, :snapshot, :written],
             [:agent, :state_changed]
           ]
  end
end

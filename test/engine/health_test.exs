import Kantoku.EachEngine

each_engine Kantoku.EngineHealthTest do
  import Kantoku.TestOwner, only: [eventually: 1]
  alias Kantoku.Engine
  alias Kantoku.Engine.Health

  setup do
    instance = :"health_#{@engine}_#{System.unique_integer([:positive])}"
    :ok = Engine.open(instance, :unique, 1, [], @engine)
    on_exit(fn -> Engine.close(instance) end)
    {:ok, instance: instance}
  end

  defp added({:changed, _changes, answer}), do: added(answer)
  defp added({:ok, handle}), do: handle

  defp agent(instance, parent \\ nil, probes \\ []),
    do: added(Health.health_add(instance, parent, {:agent, probes}, self(), nil))

  defp pulse(instance, agent) do
    {_state, _age, _counts, _probes, pulse} = Health.health_status(instance, agent, nil)
    pulse
  end

  defp all_at_work(instance, least, cursor \\ 0) do
    case Health.health_look(instance, cursor, 2, least, nil) do
      {found, :done} -> found
      {found, next} -> found ++ all_at_work(instance, least, next)
    end
  end

  test "an agent's change changes its groups, and is told once, from below", %{instance: instance} do
    top = added(Health.health_add(instance, nil, {:group, 50}, nil, 0))
    group = added(Health.health_add(instance, top, {:group, :worst}, nil, 0))
    agent = agent(instance, group, [{0, :liveness, 1, 2}])
    assert Health.health_report(instance, agent, 0, :failure, 1) == {:pending, :pending}

    assert Health.health_report(instance, agent, 0, :failure, 2) ==
             {:changed, [{agent, :healthy, :unhealthy}, {group, :healthy, :unhealthy}, {top, :healthy, :unhealthy}],
              {:pending, :failing}}

    assert {:unhealthy, 5, [0, 0, 0, 0, 1], [], _pulse} = Health.health_status(instance, group, 7)
    assert {:unhealthy, 5, [0, 0, 0, 0, 0], [{0, :failing, 5}], :none} = Health.health_status(instance, agent, 7)
    assert Health.health_remove(instance, group, 8) == :busy

    assert {:changed, [{^group, :unhealthy, :healthy}, {^top, _, :healthy}], :ok} =
             Health.health_remove(instance, agent, 8)

    assert Health.health_status(instance, agent, 9) == :none
    assert Health.health_report(instance, agent, 0, :failure, 9) == :none
    assert Health.health_add(instance, agent, {:agent, []}, nil, 9) == :none
  end

  test "a pulse says for how long, and how far beyond its limit", %{instance: instance} do
    agent = agent(instance)
    assert pulse(instance, agent) == :none
    :ok = Health.health_beat(instance, agent, 0)
    assert {_since, nil} = pulse(instance, agent)
    assert Health.health_put_off(instance, agent, nil) == nil
    :ok = Health.health_beat(instance, agent, 60_000)
    assert {_since, over} = pulse(instance, agent)
    assert over in -60_000..-50_000
    assert Health.health_put_off(instance, agent, 120_000) in 50_000..60_000
    assert {_since, later} = pulse(instance, agent)
    assert later in -120_000..-110_000
    :ok = Health.health_beat(instance, agent, -1)
    assert pulse(instance, agent) == :idle
  end

  test "those at work are found in slices", %{instance: instance} do
    agents = for _ <- 1..9, do: agent(instance)
    for {agent, at} <- Enum.with_index(agents), rem(at, 2) == 0, do: :ok = Health.health_beat(instance, agent, 60_000)
    for {agent, at} <- Enum.with_index(agents), rem(at, 4) == 0, do: Health.health_put_off(instance, agent, -9_000)
    found = all_at_work(instance, 0)
    assert Enum.sort(for {agent, _pid, _since, _over} <- found, do: agent) == Enum.sort(Enum.take_every(agents, 2))
    assert Enum.count(found, fn {_agent, pid, _since, over} -> pid == self() and over >= 9_000 end) == 3
    assert eventually(fn -> length(all_at_work(instance, 3)) == 5 end)
    assert all_at_work(instance, 60_000) == []
  end

  test "what is said under the name of an agent that is gone reaches nobody", %{instance: instance} do
    gone = agent(instance)
    assert Health.health_remove(instance, gone, nil) == :ok
    successor = agent(instance)
    assert successor != gone
    :ok = Health.health_beat(instance, gone, 1)
    assert pulse(instance, successor) == :none
  end

  test "cleared, nothing is known of anybody, and new ones come", %{instance: instance} do
    gone = for _ <- 1..3, do: agent(instance)
    :ok = Health.health_beat(instance, hd(gone), 60_000)
    assert Health.health_clear(instance) == :ok
    for agent <- gone, do: assert(Health.health_status(instance, agent, nil) == :none)
    assert all_at_work(instance, 0) == []
    new = for _ <- 1..3, do: agent(instance)
    assert new -- gone == new
    assert Enum.map(new, &pulse(instance, &1)) == [:none, :none, :none]
    assert Health.health_clear(:nobody_has_this_name) == :unknown
  end

  test "nothing is known of an instance that was closed, nor after it was opened again", %{instance: instance} do
    agent = agent(instance)
    Engine.close(instance)
    eventually(fn -> Health.health_status(instance, agent, nil) == :unknown end)
    assert Health.health_beat(instance, agent, 1) == :unknown
    :ok = Engine.open(instance, :unique, 1, [], @engine)
    assert Health.health_status(instance, agent, nil) == :none
  end

  test "arguments of another shape are refused", %{instance: instance} do
    for spec <- [
          {:group, 101},
          {:group, :best},
          {:agent, [{0, :other, 1, 1}]},
          {:agent, [{0, :liveness, 0, 1}]},
          :agent
        ] do
      assert_raise ArgumentError, fn -> Health.health_add(instance, nil, spec, nil, nil) end
    end

    assert_raise ArgumentError, fn -> Health.health_look(instance, 0, 0, 0, nil) end
    assert_raise ArgumentError, fn -> Health.health_report(instance, 1, 0, :good, nil) end
  end
end

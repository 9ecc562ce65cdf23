defmodule Kantoku.Migration.KillTest do
  # Kills what all tests of this VM share, so it runs alone.
  use Kantoku.MigrationCase, async: false
  alias Kantoku.Migration.{Clerk, Move, Mover, Roster}

  @ids for n <- 1..60, do: "session-#{n}"

  test "a setting that is acknowledged stays, whichever process of the room is killed", context do
    for n <- 1..20 do
      for process <- [Clerk, Mover], pid = Process.whereis(process), n in [4, 12], do: Process.exit(pid, :kill)
      assert Migration.set(context.instance, :pools, {:pool, n}, {:canary, n}, by: n) == :ok
    end

    {:ok, entries} = Migration.status(context.instance)
    assert entries |> Enum.map(& &1.mode) |> Enum.sort() == for(n <- 1..20, do: {:canary, n})
    eventually(fn -> Enum.all?([Clerk, Mover], &Process.whereis/1) end)
  end

  for engine <- Kantoku.EachEngine.engines() do
    @tag kantoku: [engine: engine]
    test "the mover and its workers may be killed at any moment: no agent is lost, doubled or without its state, on the engine #{engine}",
         context do
      for id <- @ids, do: session!(context, id, linger: 20) && Migration.call(context.subject, id, {:add, 7})

      for mode <- [:enforce, :off, :enforce, :off, :enforce, :off] do
        :ok = Migration.set(context.instance, :supervision, TestSession, mode)
        for n <- 1..6, do: kill_one(n) && pause()
        assert Migration.await(context.instance, TestSession, 30_000) == :ok
      end

      for id <- @ids, do: assert(Migration.call(context.subject, id, :total) == 7)
      settled(context)
    end
  end

  test "agents that are killed while they move come back, on one side", context do
    for id <- @ids, do: session!(context, id, linger: 20)

    for mode <- [:enforce, :off, :enforce, :off] do
      :ok = Migration.set(context.instance, :supervision, TestSession, mode)
      for id <- Enum.take_random(@ids, 20), do: shoot(context, id)
      assert Migration.await(context.instance, TestSession, 30_000) == :ok
    end

    for id <- @ids, do: eventually(fn -> Migration.whereis(context.subject, id) end)
    settled(context)
  end

  test "what a mover asked for that is dead by then, the old supervisor does not start any more", context do
    {DynamicSupervisor, supervisor} = context.old
    test = self()

    # Takes its time, as one does that has others to start first.
    slow = fn spec ->
      if Process.get(:"$callers"), do: send(test, {:asked, self(), spec}) && Process.sleep(:infinity)
      DynamicSupervisor.start_child(supervisor, spec)
    end

    old = %{start: slow, stop: &DynamicSupervisor.terminate_child(supervisor, &1)}
    session!(%{context | old: old}, "ada", linger: 20)
    supervise!(context, :enforce)
    :ok = Migration.set(context.instance, :supervision, TestSession, :off)
    assert_receive {:asked, mover, spec}
    :ok = Migration.set(context.instance, :supervision, TestSession, :enforce)
    Process.exit(mover, :kill)
    assert Migration.await(context.instance, TestSession, 30_000) == :ok

    assert DynamicSupervisor.start_child(supervisor, spec) == :ignore
    assert old_children(context) == 0
    assert {:new, _pid} = Roster.locate({context.instance, TestSession, "ada"}, 0)
  end

  test "what was left by a mover that came no further is seen out", context do
    key = {context.instance, TestSession, "ada"}
    session!(context, "ada")
    mover = eventually(fn -> Process.whereis(Mover) end)
    Process.unregister(Mover)

    try do
      # Nobody hears that it is to be seen out.
      assert Move.run(Roster.fetch(key)) == :moved
    after
      Process.register(mover, Mover)
    end

    assert Roster.left?(key)
    Mover.settle(context.instance, TestSession)
    assert Migration.await(context.instance, TestSession, 30_000) == :ok
    assert {:old, _pid} = Roster.locate(key, 0)
  end

  # One that is held still, if it is just then, else whoever is there.
  defp shoot(%{subject: {instance, subject}}, id) do
    case Roster.fetch({instance, subject, id}) do
      {_key, {:moving, _side, _by, frozen, _names}, _pid, _origin, _ledger, _stays} -> Process.exit(frozen, :kill)
      row -> if pid = Roster.pid(row), do: Process.exit(pid, :kill)
    end

    pause()
  end

  defp settled(context) do
    eventually(fn -> Roster.all_left() |> Enum.filter(&(elem(&1, 0) == context.instance)) == [] end)
    eventually(fn -> Kantoku.agents(context.instance) == {:ok, []} end)
    eventually(fn -> old_children(context) == length(@ids) end)
  end

  # The mover, or one that works for it.
  defp kill_one(n) do
    mover = eventually(fn -> Process.whereis(Mover) end)

    workers =
      with {:links, links} <- Process.info(mover, :links),
           do: Enum.filter(links, &is_pid/1) -- [Process.whereis(Kantoku.Migration.Tree)]

    victim = if rem(n, 2) == 0 and is_list(workers) and workers != [], do: Enum.random(workers), else: mover
    Process.exit(victim, :kill)
  end

  # Somewhere between two steps of a move.
  defp pause, do: for(_ <- 1..Enum.random(1..3_000), do: :erlang.yield())
end

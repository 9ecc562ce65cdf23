defmodule Kantoku.Migration.KillTest do
  # Kills what all tests of this VM share, so it runs alone.
  use Kantoku.MigrationCase, async: false
  alias Kantoku.Migration.{Clerk, Mover, Roster}

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

  test "the mover may be killed at any moment: no agent is lost, doubled or without its state", context do
    for id <- @ids, do: session!(context, id, linger: 20) && Migration.call(context.subject, id, {:add, 7})

    for mode <- [:enforce, :off, :enforce, :off, :enforce, :off] do
      :ok = Migration.set(context.instance, :supervision, TestSession, mode)
      for _ <- 1..4, do: eventually(fn -> Process.whereis(Mover) end) |> then(&(Process.exit(&1, :kill) && pause()))

      assert Migration.await(context.instance, TestSession, 30_000) == :ok
    end

    for id <- @ids, do: assert(Migration.call(context.subject, id, :total) == 7)
    eventually(fn -> Roster.all_left() |> Enum.filter(&(elem(&1, 0) == context.instance)) == [] end)
    eventually(fn -> Kantoku.agents(context.instance) == {:ok, []} end)
    eventually(fn -> old_children(context) == length(@ids) end)
  end

  # Somewhere between two steps of a move.
  defp pause, do: for(_ <- 1..Enum.random(1..3_000), do: :erlang.yield())
end

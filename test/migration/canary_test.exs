defmodule Kantoku.Migration.CanaryTest do
  use Kantoku.MigrationCase, async: true
  alias Kantoku.Migration.{Clerk, Reversal}

  @ids for n <- 1..40, do: "session-#{n}"

  # Until each side has had its calls; or the clerk, who looks by itself as well, has seen enough.
  defp calls(context, least) do
    for id <- @ids, do: Migration.call(context.subject, id, {:add, 1})
    if few?(entry(context, :supervision).canary, least), do: calls(context, least)
  end

  defp few?(nil, _least), do: false
  defp few?(%{old: old, new: new}, least), do: min(old.calls, new.calls) < least

  defp reverted(context) do
    Clerk.look()
    eventually(fn -> entry(context, :supervision).reversal end)
  end

  test "one that is slow goes back by itself, says why, and its agents with it", context do
    for id <- @ids, do: session!(context, id, slow: 15)
    {:ok, events} = Kantoku.subscribe(context.instance, events: [[:migration, :reverted]])
    # By the middle, which a busy machine does not move.
    supervise!(context, {:canary, 50}, by: "ada", quantile: 0.5)
    calls(context, 100)
    assert %Reversal{measure: :latency, from: {:canary, 50}} = why = reverted(context)
    assert why.canary >= 15_000 and why.control < why.canary
    assert why.canary_samples >= 100 and why.control_samples >= 100
    assert %{mode: :off, by: :canary} = entry(context, :supervision)
    assert [{_, _, _, %{canary_samples: _}, %{reason: ^why, to: :off}}] = Kantoku.Telemetry.take(events, 1, 5_000)
    assert Migration.await(context.instance, TestSession, 30_000) == :ok
    eventually(fn -> old_children(context) == length(@ids) end)
    assert {:ok, table} = Migration.table(context.instance)
    assert table =~ ~r/supervision +Kantoku.TestSession +off +:canary .*went back: 50.0 % of \d+ calls took up to/
  end

  test "one that fails goes back by itself, says why, and its agents with it", context do
    for id <- @ids, do: session!(context, id, fails: true)
    supervise!(context, {:canary, 50}, min_samples: 40, revert_to: :shadow)
    calls(context, 40)
    assert %Reversal{measure: :errors, margin: 0.01} = why = reverted(context)
    assert why.control == 0
    assert why.canary == 1.0
    assert %{mode: :shadow} = entry(context, :supervision)
    assert Migration.await(context.instance, TestSession, 30_000) == :ok
    assert Kantoku.whereis(context.instance, hd(@ids)) == nil
  end

  test "one that is as good stays", context do
    for id <- @ids, do: session!(context, id)
    supervise!(context, {:canary, 50}, latency_margin: 100)
    calls(context, 100)
    Clerk.look()
    assert %{mode: {:canary, 50}, reversal: nil} = entry(context, :supervision)
  end

  test "the clerk looks by itself", context do
    for id <- @ids, do: session!(context, id, fails: true)
    supervise!(context, {:canary, 50}, min_samples: 40)
    calls(context, 40)
    assert eventually(fn -> entry(context, :supervision).reversal end)
  end

  test "somebody who changes the mode meanwhile is not undone", context do
    key = {context.instance, :pools, :search}
    :ok = Migration.set(context.instance, :pools, :search, :enforce, by: "ada")
    reversal = %Reversal{measure: :errors, canary: 1.0, control: 0.0, canary_samples: 1, control_samples: 1, margin: 0}
    Kantoku.Migration.Changes.revert(key, reversal, :off)
    assert %{mode: :enforce, by: "ada", reversal: nil} = entry(context, :pools, :search)
  end

  test "a look-up that finds nothing is a failure of its side, and of nobody where there is no such agent", context do
    session!(context, "ada")
    :ok = Migration.set(context.instance, :registry, TestSession, :enforce)
    eventually(fn -> Kantoku.whereis(context.instance, "ada") end)
    assert is_pid(Migration.whereis(context.subject, "ada", context.registry))
    :ok = Migration.set(context.instance, :registry, TestSession, {:canary, 100})
    assert Migration.whereis(context.subject, "bob", context.registry) == nil
    assert %{canary: %{new: %{calls: 1, errors: 1}}} = entry(context, :registry)
  end

  test "what is run for either side is counted for it", context do
    :ok = Migration.set(context.instance, :state, :any, {:canary, 100})
    assert Migration.run({context.instance, :any}, :state, 1, fn -> :ours end, fn -> :theirs end) == :ours

    assert_raise RuntimeError, fn ->
      Migration.run({context.instance, :any}, :state, 1, fn -> raise "oh" end, fn -> 1 end)
    end

    assert %{canary: %{new: %{calls: 2, errors: 1}, old: %{calls: 0}}} = entry(context, :state, :any)
    :ok = Migration.set(context.instance, :state, :any, :off)
    assert Migration.run({context.instance, :any}, :state, 1, fn -> :ours end, fn -> :theirs end) == :theirs
  end
end

defmodule Mix.Tasks.Kantoku.MigrationTest do
  # Names two nodes of its own; this VM stays without a name.
  use ExUnit.Case, async: true
  alias Kantoku.{Migration, OtherVM}

  @task Mix.Tasks.Kantoku.Migration
  @cookie "kantoku_test"

  test "prints what a running node is moving over" do
    {vm, node} = OtherVM.start_named(:"kantoku_migration_test_#{System.unique_integer([:positive])}", @cookie)
    asker = OtherVM.start()
    ask = fn arguments -> OtherVM.mix(asker, @task, ["--node", "#{node}", "--cookie", @cookie | arguments]) end
    assert {:error, none} = ask.([])
    assert none =~ "no instance of Kantoku runs on"

    # Its supervisor has to outlive the call that starts it.
    {:ok, _pid} =
      OtherVM.run(
        vm,
        {:supervisor, :start_child, [:kernel_safe_sup, Kantoku.child_spec(name: There.Agents, engine: :elixir)]}
      )

    assert {:ok, "There.Agents\nno feature is being moved\n"} = ask.([])
    :ok = OtherVM.run(vm, {Migration, :set, [There.Agents, :pools, :search, {:canary, 10}, [by: "ada"]]})
    :ok = OtherVM.run(vm, {Migration, :set, [There.Agents, :registry, There.Session, :shadow, []]})
    assert {:ok, text} = ask.(["--instance", "There.Agents"])
    assert ["There.Agents", head, pools, registry] = String.split(text, "\n", trim: true)
    assert head =~ ~r/^feature +subject +mode +by +since +agents old\/new +agree\/differ +calls old\/new +note$/
    assert pools =~ ~r/^pools +:search +canary 10 % +ada +\d{4}-\d\d-\d\dT[\d:]+Z +- +0\/0 +0\/0 +-$/
    assert registry =~ ~r/^registry +There.Session +shadow +- +/
    assert {:error, wrong} = ask.(["--instance", "There.None"])
    assert wrong =~ "no Kantoku instance There.None runs here"
    for other <- [vm, asker], do: OtherVM.stop(other)
  end

  test "says what is wrong with its arguments" do
    asker = OtherVM.start()
    assert {:error, "--node: expected NAME@HOST, got: nil"} = OtherVM.mix(asker, @task, [])
    assert {:error, "--nodes: unknown" <> _} = OtherVM.mix(asker, @task, ["--nodes", "a@b"])
    assert {:error, "expected options only" <> _} = OtherVM.mix(asker, @task, ["a@b"])
    {:ok, host} = :inet.gethostname()
    assert {:error, away} = OtherVM.mix(asker, @task, ["--node", "kantoku_nobody@#{host}", "--cookie", "x"])
    assert away =~ "does not answer; see that it runs, its name and its cookie"
    OtherVM.stop(asker)
  end
end

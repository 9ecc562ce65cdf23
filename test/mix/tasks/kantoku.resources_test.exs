defmodule Mix.Tasks.Kantoku.ResourcesTest do
  # Names two nodes of its own; this VM stays without a name.
  use ExUnit.Case, async: true
  alias Kantoku.OtherVM

  @task Mix.Tasks.Kantoku.Resources
  @cookie "kantoku_test"

  test "prints what the agents of a running node use" do
    {vm, node} = OtherVM.start_named(:"kantoku_resources_test_#{System.unique_integer([:positive])}", @cookie)
    asker = OtherVM.start()
    ask = fn arguments -> OtherVM.mix(asker, @task, ["--node", "#{node}", "--cookie", @cookie | arguments]) end

    # Its supervisor has to outlive the call that starts it.
    for opts <- [[name: There.Agents], [name: There.Blind, resources: false]] do
      spec = Kantoku.child_spec([engine: :elixir] ++ opts)
      {:ok, _pid} = OtherVM.run(vm, {:supervisor, :start_child, [:kernel_safe_sup, Map.put(spec, :id, opts[:name])]})
    end

    assert {:ok, text} = ask.(["--instance", "There.Agents"])
    assert ["VM: " <> _, "There.Agents, " <> head | _] = String.split(text, "\n", trim: true)
    assert head =~ ~r/ agents +memory +heap +binaries +mailbox +reductions$/
    assert text =~ ~r/^most memory +domain/m
    assert {:error, wrong} = ask.(["--instance", "There.Blind"])
    assert wrong =~ "resources of There.Blind are not looked at"
    for other <- [vm, asker], do: OtherVM.stop(other)
  end
end

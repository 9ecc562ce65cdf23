defmodule Kantoku.Alert.StateTest do
  use ExUnit.Case, async: true

  alias Kantoku.Alert.{Condition, Defaults, Rule, State}
  alias Kantoku.JSON

  defp rule(opts \\ []), do: Rule.new!([name: :r, condition: :burn_rates] ++ opts)
  defp look(alert, found, rule, time), do: State.step(alert, found, rule, %{time: time, at: 1_000_000 + time})
  defp so(alert, rule, time), do: look(alert, {:active, time}, rule, time)
  defp not_so(alert, rule, time), do: look(alert, :inactive, rule, time)

  test "it is pending for as long as the rule says, then fires, and is resolved at once" do
    rule = rule(for: 100)
    assert not_so(nil, rule, 0) == nil
    assert %{state: :pending, since: 1_000_000, fired_at: nil} = alert = so(nil, rule, 0)
    assert %{state: :pending, since: 1_000_000} = alert = so(alert, rule, 99)
    assert %{state: :firing, since: 1_000_000, fired_at: 1_000_100, value: 100} = alert = so(alert, rule, 100)
    assert %{state: :firing, fired_at: 1_000_100, value: 150} = alert = so(alert, rule, 150)
    assert %{state: :resolved, resolved_at: 1_000_200, value: 150} = not_so(alert, rule, 200)
  end

  test "without a time it fires at once" do
    assert %{state: :firing} = so(nil, rule(), 0)
  end

  test "what was pending and is not so any more is forgotten, and its time begins anew" do
    rule = rule(for: 100)
    assert nil |> so(rule, 0) |> not_so(rule, 50) == nil
    assert %{state: :pending, since: 1_000_060} = so(nil, rule, 60)
  end

  test "it keeps firing for as long as the rule says after it was so last" do
    rule = rule(keep_firing_for: 100)
    alert = nil |> so(rule, 0) |> so(rule, 50)
    assert %{state: :firing} = not_so(alert, rule, 149)
    assert %{state: :resolved} = not_so(alert, rule, 150)
    assert %{state: :firing} = alert |> not_so(rule, 149) |> so(rule, 149) |> not_so(rule, 200)
  end

  test "what is resolved is known of for 15 minutes, and begins from the start when it is so again" do
    rule = rule(for: 10)
    resolved = nil |> so(rule, 0) |> so(rule, 10) |> not_so(rule, 20)
    assert not_so(resolved, rule, 20 + 15 * 60_000 - 1) == resolved
    assert not_so(resolved, rule, 20 + 15 * 60_000) == nil
    assert %{state: :pending, fired_at: nil, resolved_at: nil} = so(resolved, rule, 30)
  end

  test "changes are told from state to state, but not that something is forgotten" do
    rule = rule(for: 10)
    pending = so(nil, rule, 0)
    firing = so(pending, rule, 10)
    resolved = not_so(firing, rule, 20)
    assert State.change(nil, pending) == {:inactive, :pending}
    assert State.change(pending, pending) == nil
    assert State.change(pending, firing) == {:pending, :firing}
    assert State.change(pending, nil) == {:pending, :inactive}
    assert State.change(firing, resolved) == {:firing, :resolved}
    assert State.change(resolved, nil) == nil
    assert State.change(resolved, pending) == {:resolved, :pending}
  end

  test "a bad rule is told by its name, with what was expected" do
    for {opts, message} <- [
          {[condition: :burn_rates], ~r/option :name is required/},
          {[name: :r], ~r/alert :r: option :condition is required/},
          {[name: "", condition: :burn_rates], ~r/option :name: expected an atom or a string/},
          {[name: :r, condition: {:health, :instance, :sick}],
           ~r/option :condition: expected a condition, see Kantoku.Alert, got: {:health/},
          {[name: :r, condition: {:event, [:agent, :bored], 1}], ~r/expected a condition/},
          {[name: :r, condition: {:pools, :colour, :above, 1}], ~r/expected a condition/},
          {[name: :r, condition: :burn_rates, for: -1], ~r/option :for: expected an integer of 0 or more/},
          {[name: :r, condition: :burn_rates, labels: %{"a-b" => 1}], ~r/option :labels: expected a map of names/},
          {[name: :r, condition: :burn_rates, labels: %{severity: 1}], ~r/option :labels/},
          {[name: :r, condition: :burn_rates, severity: "page"], ~r/option :severity: expected an atom/}
        ] do
      assert_raise ArgumentError, message, fn -> Rule.new!(opts) end
    end
  end

  test "each default rule can be turned off, and all" do
    names = Enum.map(Defaults.rules(true), & &1.name)
    assert :error_budget_burn in names and :instance_unhealthy in names
    for name <- names, do: assert(Enum.map(Defaults.rules([{name, false}]), & &1.name) == names -- [name])
    assert Defaults.rules(false) == []
    refute Defaults.choice?(no_such_rule: false)
  end

  test "JSON says any text, and labels any term" do
    assert IO.iodata_to_binary(JSON.encode(%{"a" => [1, 2.5, true, nil, "\"\\\n\u0001é"], "b" => %{}})) ==
             ~S({"a":[1,2.5,true,null,"\"\\\u000a\u0001é"],"b":{}})

    assert Condition.text(Kantoku.Alert) == "Kantoku.Alert"
    assert Condition.text({:tenant, 7}) == "{:tenant, 7}"
    assert Condition.text(<<255>>) == "<<255>>"
  end
end

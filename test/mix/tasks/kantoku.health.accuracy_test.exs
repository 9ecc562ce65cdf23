defmodule Mix.Tasks.Kantoku.Health.AccuracyTest do
  use ExUnit.Case, async: true
  alias Kantoku.OtherVM

  @task Mix.Tasks.Kantoku.Health.Accuracy

  test "says what is wrong with its arguments" do
    vm = OtherVM.start()
    assert {:error, "--agents: expected a multiple of 20, got: 30"} = OtherVM.mix(vm, @task, ["--agents", "30"])
    assert {:error, "--period: expected 100 or more, got: 5"} = OtherVM.mix(vm, @task, ["--period", "5"])
    assert {:error, "--ranges: expected held_out or tuning, got: x"} = OtherVM.mix(vm, @task, ["--ranges", "x"])
    assert {:error, "--engine: expected native or elixir, got: x"} = OtherVM.mix(vm, @task, ["--engine", "x"])
    assert {:error, "--agent: unknown" <> _} = OtherVM.mix(vm, @task, ["--agent", "20"])
    assert {:error, "expected options only" <> _} = OtherVM.mix(vm, @task, ["x"])
    OtherVM.stop(vm)
  end
end

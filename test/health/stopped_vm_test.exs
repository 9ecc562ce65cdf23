defmodule Kantoku.Health.StoppedVMTest do
  use ExUnit.Case, async: true

  alias Kantoku.{MortalVM, Patient}

  @agents 50
  # KANTOKU_SOAK: as long as a machine may be paused.
  @stopped if System.get_env("KANTOKU_SOAK"), do: 60_000, else: 6_000

  @moduletag timeout: 180_000

  @tag :soak
  test "nobody is restarted for the time in which the VM was stopped" do
    vm = MortalVM.start()
    :ok = MortalVM.run(vm, {Patient, :begin, [@agents, 2_000, 3_000, 1_000]})
    :ok = MortalVM.signal(vm, "STOP")
    Process.sleep(@stopped)
    :ok = MortalVM.signal(vm, "CONT")
    # Some rounds, and then the fresh period is over.
    Process.sleep(5_000)
    assert MortalVM.run(vm, {Patient, :outcome, []}) == {0, @agents}
    # What is beyond its limit for no such reason still is.
    :ok = MortalVM.run(vm, {Kantoku, :cast, [Patient.Instance, 1, {:take, 60_000}]})
    Process.sleep(6_000)
    assert {1, @agents} = MortalVM.run(vm, {Patient, :outcome, []})
    MortalVM.kill(vm)
  end
end

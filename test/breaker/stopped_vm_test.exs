defmodule Kantoku.Breaker.StoppedVMTest do
  use ExUnit.Case, async: true

  alias Kantoku.{Guarded, MortalVM}

  # KANTOKU_SOAK: as long as a machine may be paused. Without it, longer than two beats.
  @soak? System.get_env("KANTOKU_SOAK") != nil
  @stopped if @soak?, do: 60_000, else: 3_500

  @moduletag timeout: 180_000

  if @soak?, do: @tag(:soak)

  test "breakers hold nothing against anybody for the time in which the VM was stopped" do
    vm = MortalVM.start()
    engines = Kantoku.EachEngine.engines()
    for engine <- engines, do: :ok = MortalVM.run(vm, {Guarded, :begin, [engine]})
    :ok = MortalVM.signal(vm, "STOP")
    Process.sleep(@stopped)
    :ok = MortalVM.signal(vm, "CONT")

    for engine <- engines do
      assert {:ok, {:error, :gave_up}} = MortalVM.run(vm, {Guarded, :answer, [engine]})
      assert %{call: %{state: :closed, calls: 0}, open: open} = MortalVM.run(vm, {Guarded, :outcome, [engine]})
      assert %{state: :open, retry_in: left} = open
      # Without a second, and what all of this took.
      assert left > Guarded.wait() - @stopped
    end

    MortalVM.kill(vm)
  end
end

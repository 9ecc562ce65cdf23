defmodule Kantoku.Native.UpgradeTest do
  use ExUnit.Case, async: true

  alias Kantoku.{Native, OtherVM, Traffic, Variants}

  @moduletag timeout: 300_000

  test "another build of the same layout takes the state over, under traffic, as often as one likes" do
    vm = OtherVM.start()
    assert {:ok, {"plain", layout}} = OtherVM.run(vm, {Native, :status, []})
    traffic = OtherVM.run(vm, {Traffic, :start, [8]})

    for which <- [:variant, :plain, :variant] do
      assert {:module, Native} = upgrade(vm, which)
      build = "#{which}"
      assert {:ok, {^build, ^layout}} = OtherVM.run(vm, {Native, :status, []})
      assert OtherVM.run(vm, {Traffic, :answers?, []})
    end

    assert {rounds, []} = OtherVM.run(vm, {Traffic, :stop, [traffic]})
    assert rounds > 0
    OtherVM.stop(vm)
  end

  test "a build of another layout is refused with a sentence, while the old one serves" do
    vm = OtherVM.start()
    traffic = OtherVM.run(vm, {Traffic, :start, [2]})
    assert {:error, :on_load_failure} = upgrade(vm, :other_layout)
    assert {:ok, {"plain", _}} = OtherVM.run(vm, {Native, :status, []})
    assert {:error, {:upgrade, sentence}} = OtherVM.run(vm, {:persistent_term, :get, [{Native, :refused}]})
    assert sentence =~ "another layout" and sentence =~ "restart the VM"
    assert OtherVM.run(vm, {Traffic, :answers?, []})
    assert {_, []} = OtherVM.run(vm, {Traffic, :stop, [traffic]})
    OtherVM.stop(vm)
  end

  defp upgrade(vm, which) do
    OtherVM.run(vm, {:persistent_term, :put, [{Native, :library}, Variants.path(which)]})
    OtherVM.run(vm, {:code, :purge, [Native]})
    OtherVM.run(vm, {:code, :load_file, [Native]})
  end
end

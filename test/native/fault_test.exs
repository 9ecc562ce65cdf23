defmodule Kantoku.Native.FaultTest do
  # Not async: reads what the Logger says.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog

  alias Kantoku.{Native, OtherVM}

  test "a panic in a function is its caller's exception" do
    log =
      heard(fn ->
        error = assert_raise ErlangError, fn -> Native.provoke(:nif) end
        assert {:kantoku_panic, "the function provoke: " <> _} = error.original
      end)

    assert once(log, "provoked in a function")
  end

  test "a panic in the clean-up after a process ends there" do
    log =
      heard(fn ->
        {pid, ref} = spawn_monitor(fn -> Native.provoke(:down) end)
        assert_receive {:DOWN, ^ref, :process, ^pid, :normal}
      end)

    assert once(log, "provoked in the clean-up after a process")
  end

  test "a panic in a destructor ends there" do
    assert once(heard(fn -> Native.provoke(:destructor) end), "provoked in a destructor")
  end

  test "a panic in the background thread ends there, and the thread goes on" do
    instance = :"#{__MODULE__}.thread"

    log =
      heard(fn ->
        :ok = Native.provoke(:thread)
        :ok = Native.open(instance, :unique, 1, [])
        :ok = Native.close(instance)
      end)

    assert once(log, "provoked in a background thread")
  end

  test "a panic in load or upgrade refuses the library, and the VM goes on" do
    vm = OtherVM.start({:persistent_term, :put, [{Native, :load_info}, :panic]})
    assert {:error, sentence} = OtherVM.run(vm, {Native, :status, []})
    assert sentence =~ "did not load"
    OtherVM.run(vm, {:persistent_term, :put, [{Native, :load_info}, :ok]})
    reload(vm)
    assert {:ok, {"plain", _}} = OtherVM.run(vm, {Native, :status, []})

    OtherVM.run(vm, {:persistent_term, :put, [{Native, :load_info}, :panic]})
    OtherVM.run(vm, {:persistent_term, :put, [{Native, :library}, Kantoku.Variants.path(:variant)]})
    assert {:error, :on_load_failure} = reload(vm)
    assert {:ok, {"plain", _}} = OtherVM.run(vm, {Native, :status, []})
    OtherVM.stop(vm)
  end

  defp reload(vm) do
    OtherVM.run(vm, {:code, :purge, [Native]})
    OtherVM.run(vm, {:code, :load_file, [Native]})
  end

  # What is logged by `fun`, with what comes a little later from other threads.
  defp heard(fun) do
    capture_log(fn ->
      fun.()
      before = System.monotonic_time(:millisecond)
      wait_for_log(before)
    end)
  end

  defp wait_for_log(since) do
    :erlang.garbage_collect()
    :sys.get_state(Native.FaultLog)
    if System.monotonic_time(:millisecond) - since < 200, do: Process.sleep(10) && wait_for_log(since)
  end

  defp once(log, text), do: length(String.split(log, text)) == 2
end

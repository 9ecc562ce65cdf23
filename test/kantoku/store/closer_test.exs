defmodule Kantoku.Store.CloserTest do
  use ExUnit.Case, async: true

  defmodule Told do
    @moduledoc false
    def close(pid), do: send(pid, :closed) && :ok
  end

  setup do
    Process.flag(:trap_exit, true)
    {:ok, supervisor} = Supervisor.start_link([{Kantoku.Store, {Told, self()}}], strategy: :one_for_one)
    {:ok, supervisor: supervisor}
  end

  test "the store is closed when its supervisor shuts down", %{supervisor: supervisor} do
    Supervisor.stop(supervisor)
    assert_received :closed
  end

  test "the store is closed when its supervisor is killed", %{supervisor: supervisor} do
    Process.exit(supervisor, :kill)
    assert_receive :closed
  end

  test "a crash of the closer closes nothing", %{supervisor: supervisor} do
    [{_id, closer, _type, _modules}] = Supervisor.which_children(supervisor)
    monitor = Process.monitor(closer)
    GenServer.stop(closer, :crash)
    assert_receive {:DOWN, ^monitor, _, _, :crash}
    refute_received :closed
    Supervisor.stop(supervisor)
    assert_received :closed
  end
end

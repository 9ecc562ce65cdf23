if Kantoku.Native.loaded?() do
  defmodule Kantoku.Agent.DiskTest do
    # Agents whose snapshots are in a file.
    use Kantoku.Test.AgentCase, async: true

    @moduletag :tmp_dir

    setup %{tmp_dir: dir} = context do
      path = Path.join(dir, "agents.redb")
      {:ok, path: path, store: open(context.instance, path)}
    end

    defp open(instance, path) do
      {:ok, store} = Store.open(instance, {Store.Disk, path: path})
      store
    end

    defp reopened(context) do
      :ok = Store.close(context.store)
      %{context | store: open(context.instance, context.path)}
    end

    test "what was answered with :sync is in the file, to be restored by another instance", context do
      pid = start(context, durability: :sync)
      requests = for _ <- 1..100, do: :gen_server.send_request(pid, {:add, 1})
      assert Enum.map(requests, &:gen_server.wait_response(&1, 5_000)) == Enum.map(1..100, &{:reply, &1})
      assert %{kept: 100} = Server.info(pid)
      assert Store.Disk.stats(elem(context.store, 1)).commits <= 100
      stop(pid, :kill)
      assert Server.state(start(reopened(context), durability: :sync)).count == 100
    end

    test "with :async a killed agent comes back with all that was handed over, committed or not", context do
      for incarnation <- 1..20 do
        pid = start(context, [], %{incarnation: incarnation})
        assert GenServer.call(pid, {:add, 1}) == incarnation
        stop(pid, :kill)
      end

      assert Server.state(start(reopened(context))).count == 20
    end

    test "a directive goes out when it is in the file, and its end comes in there too", context do
      pid = start(context)
      GenServer.call(pid, {:pay, {self(), :bill}})
      {courier, {_, :bill}, id, _} = delivery()
      assert %{kept: 1} = Server.info(pid)
      stop(pid, :kill)
      refute Process.alive?(courier)

      context = reopened(context)
      pid = start(context)
      assert id == deliver({:ok, {:paid, :bill}})
      assert Server.settle(pid, 5_000) == :ok
      stop(pid, :kill)
      assert Server.state(start(reopened(context))).paid == [:bill]
    end

    test "an instance that ends in order leaves all in the file, whatever the policy", context do
      {:ok, agents} = DynamicSupervisor.start_link(strategy: :one_for_one)
      arg = %{instance: context.instance, module: Account, args: [], incarnation: 1, restore: true}

      for {policy, id} <- Enum.with_index([:every_change, {:interval, 60_000}, :on_stop, :manual]) do
        arg = Map.merge(arg, %{id: id, options: %{store: context.store, snapshot: policy}})
        {:ok, pid} = DynamicSupervisor.start_child(agents, %{id: id, start: {Server, :start_link, [arg]}})
        GenServer.call(pid, {:add, id + 1})
      end

      stop(agents)
      context = reopened(context)
      for id <- 0..3, do: assert(Server.state(start(%{context | id: id})).count == id + 1)
    end

    test "an agent that outlives its file ends at once, as nothing more can be written", context do
      pids = for policy <- [[durability: :sync], [snapshot: :on_stop], []], do: start(%{context | id: policy}, policy)
      for pid <- pids, do: GenServer.call(pid, {:add, 1})
      :ok = Store.close(context.store)
      for pid <- pids, do: GenServer.call(pid, {:add, 1})
      {took, [:shutdown, :shutdown, :shutdown]} = :timer.tc(fn -> Enum.map(pids, &stop/1) end)
      assert took < 2_000_000
    end

    test "of a successor and one that was given up, the successor's state is in the file", context do
      old = start(context, durability: :sync)
      GenServer.call(old, {:add, 1})
      new = start(context, [durability: :sync], %{incarnation: 2})
      GenServer.call(new, {:add, 10})
      assert GenServer.call(old, {:add, 100}) == {:error, {:not_durable, :stale}}
      assert gone(old) == {:shutdown, :superseded}
      stop(new, :kill)
      assert Server.state(start(reopened(context), [], %{incarnation: 3})).count == 11
    end
  end
end

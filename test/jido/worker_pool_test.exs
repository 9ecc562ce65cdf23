if Kantoku.Jido.compiled?() do
  defmodule Kantoku.Jido.WorkerPoolTest do
    use Kantoku.JidoCase, async: true

    # What is asked of either, by code that does not know which it is.
    @modules [Jido.Agent.WorkerPool, Kantoku.Jido.WorkerPool]

    setup do
      jido = jido!()
      instance = kantoku!()

      {:ok, _pid} =
        Kantoku.Pool.start(instance, name: :counters, worker: {Kantoku.Jido, Counter, jido: jido}, target: 2)

      start_supervised!({Kantoku.Jido.Door, jido: jido, pool: {instance, :counters}, as: :fast})
      %{instance: instance, jido: jido}
    end

    for module <- @modules do
      @module module

      describe "#{inspect(module)}" do
        test "calls, casts and runs functions on the pool", %{instance: instance, jido: jido} do
          assert {:ok, %{state: %{total: 3}}} = @module.call(jido, :fast, signal("add", %{by: 3}))
          assert @module.cast(jido, :fast, signal("add")) == :ok
          assert @module.with_agent(jido, :fast, fn pid -> {Jido.AgentServer.alive?(pid), :done} end) == {true, :done}
          workers = for {{:pool, :counters, _}, pid} <- Kantoku.find(instance, type: Counter), do: pid
          assert @module.with_agent(jido, :fast, & &1) in workers
          eventually(fn -> workers |> Enum.map(&total/1) |> Enum.sum() == 4 end)
        end

        test "a worker that is out is out, and comes back by hand or by its holder's death", %{jido: jido} do
          a = @module.checkout(jido, :fast)
          b = @module.checkout(jido, :fast)
          assert a != b
          assert @module.checkout(jido, :fast, block: false) == :full
          assert @module.status(jido, :fast) == %{state: :full, available: 0, overflow: 0, checked_out: 2}
          assert @module.checkin(jido, :fast, a) == :ok
          test = self()
          holder = spawn(fn -> send(test, @module.checkout(jido, :fast)) && Process.sleep(:infinity) end)
          assert_receive ^a
          kill(holder)
          assert @module.checkout(jido, :fast) == a
          for pid <- [a, b], do: @module.checkin(jido, :fast, pid)
          eventually(fn -> %{state: :ready, available: 2, checked_out: 0} = @module.status(jido, :fast) end)
        end

        test "who waits too long exits, and its place is given up", %{jido: jido} do
          out = for _ <- 1..2, do: @module.checkout(jido, :fast)
          assert {:exit, {:timeout, _}} = attempt(fn -> @module.checkout(jido, :fast, timeout: 50) end)
          assert {:exit, {:timeout, _}} = attempt(fn -> @module.with_agent(jido, :fast, & &1, timeout: 50) end)
          waiting = asked!(Task.async(fn -> @module.with_agent(jido, :fast, & &1) end))
          for pid <- out, do: @module.checkin(jido, :fast, pid)
          assert Task.await(waiting) in out
          eventually(fn -> @module.status(jido, :fast).available == 2 end)
        end

        test "what the function raises passes, and the worker is back", %{jido: jido} do
          assert_raise RuntimeError, fn -> @module.with_agent(jido, :fast, fn _pid -> raise "oh" end) end
          eventually(fn -> @module.status(jido, :fast).available == 2 end)
        end

        test "many more callers than workers are all served", %{jido: jido} do
          answers =
            1..200
            |> Task.async_stream(fn _ -> @module.call(jido, :fast, signal("add")) end,
              max_concurrency: 100,
              timeout: 30_000
            )
            |> Enum.map(fn {:ok, {:ok, agent}} -> agent.state.total end)

          assert Enum.sum(Enum.map(workers(jido), &total/1)) == 200
          assert length(answers) == 200
          eventually(fn -> @module.status(jido, :fast).available == 2 end)
        end

        test "a worker that dies is replaced with its state", %{jido: jido} do
          for _ <- 1..10, do: @module.call(jido, :fast, signal("add"))
          for pid <- workers(jido), do: kill(pid)
          eventually(fn -> match?(%{available: 2}, @module.status(jido, :fast)) end)
          assert Enum.sum(Enum.map(workers(jido), &total/1)) == 10
        end
      end
    end

    defp workers(jido), do: for({_id, pid} <- Jido.list_agents(jido), do: pid)

    test "a caller that the pool refuses waits at the door", %{instance: instance, jido: jido} do
      {:ok, _} =
        Kantoku.Pool.start(instance, name: :narrow, worker: {Kantoku.Jido, Counter, jido: jido}, target: 1, max_queue: 0)

      start_supervised!({Kantoku.Jido.Door, jido: jido, pool: {instance, :narrow}})
      pid = Jido.Agent.WorkerPool.checkout(jido, :narrow)
      waiting = asked!(Task.async(fn -> Jido.Agent.WorkerPool.checkout(jido, :narrow) end))
      Jido.Agent.WorkerPool.checkin(jido, :narrow, pid)
      assert Task.await(waiting) == pid
    end

    test "options of a door are checked", %{jido: jido} do
      assert_raise ArgumentError, ~r/:pool/, fn -> Kantoku.Jido.Door.start_link(jido: jido) end
      assert_raise ArgumentError, ~r/:jido/, fn -> Kantoku.Jido.Door.start_link(pool: {A, :b}) end
      assert_raise ArgumentError, ~r/:size/, fn -> Kantoku.Jido.Door.start_link(jido: jido, pool: {A, :b}, size: 3) end
    end

    test "where there is no door the caller exits, as without a pool", %{jido: jido} do
      assert {:exit, {:noproc, _}} = attempt(fn -> Kantoku.Jido.WorkerPool.call(jido, :nobody, signal("add")) end)
      assert {:exit, {:noproc, _}} = attempt(fn -> Jido.Agent.WorkerPool.call(jido, :nobody, signal("add")) end)
    end
  end
end

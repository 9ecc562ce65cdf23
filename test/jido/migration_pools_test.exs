if Kantoku.Jido.compiled?() do
  defmodule Kantoku.Jido.MigrationPoolsTest do
    # Where Jido is, poolboy is: the real one as the old path.
    use Kantoku.JidoCase, async: true
    alias Kantoku.{Migration, TestWorker}

    setup do
      instance = kantoku!()
      name = :"kantoku_old_pool_#{System.unique_integer([:positive])}"

      options = [name: {:local, name}, worker_module: TestWorker, size: 2, max_overflow: 0]
      start_supervised!(%{id: name, start: {:poolboy, :start_link, [options, []]}})
      {:ok, pool} = Kantoku.Pool.start(instance, name: :search, worker: {TestWorker, []}, target: 4, max_queue: 0)
      %{instance: instance, pool: pool, old: {:poolboy, name}}
    end

    defp ask(context, opts \\ []), do: Migration.transaction(context.pool, &GenServer.call(&1, :pid), context.old, opts)

    defp notes(context) do
      {:ok, [%{feature: :pools, shadow: shadow}]} = Migration.status(context.instance)
      shadow
    end

    test "with nothing set poolboy serves, and its exits are its own", context do
      assert is_pid(ask(context))
      assert {:ok, %{arrived: 0}} = Kantoku.Pool.status(context.pool)
      out = for _ <- 1..2, do: :poolboy.checkout(elem(context.old, 1))
      assert {:timeout, _} = catch_exit(ask(context, timeout: 20))
      for worker <- out, do: :poolboy.checkin(elem(context.old, 1), worker)
      assert_raise RuntimeError, fn -> Migration.transaction(context.pool, fn _ -> raise "oh" end, context.old) end
      assert {:ready, 2, 0, 0} = :poolboy.status(elem(context.old, 1))
    end

    test "the shadow knows who was served, who had to wait and who was refused", context do
      :ok = Migration.set(context.instance, :pools, :search, :shadow)
      assert is_pid(ask(context))
      assert %{agreed: 1, disagreed: 0} = notes(context)
      name = elem(context.old, 1)
      [one, two] = for _ <- 1..2, do: :poolboy.checkout(name)
      waiting = Task.async(fn -> ask(context, key: :waiting) end)
      # poolboy does not say who waits for it; it has one request more in its state.
      eventually(fn -> :queue.len(elem(:sys.get_state(name), 3)) == 1 end)
      assert {:timeout, _} = catch_exit(ask(context, key: :late, timeout: 20))
      :poolboy.checkin(name, one)
      assert is_pid(Task.await(waiting))
      :poolboy.checkin(name, two)
      assert %{agreed: 1, disagreed: 2, last: last} = notes(context)

      # Ours has four workers.
      assert last |> Enum.map(&{&1.key, &1.ours, &1.theirs}) |> Enum.sort() == [
               {:late, {:served, 4}, :refused},
               {:waiting, {:served, 4}, :queued}
             ]

      eventually(fn -> match?({:ready, 2, 0, 0}, :poolboy.status(name)) end)
    end

    describe "a switch" do
      setup context do
        jido = jido!(agent_pools: [{:counters_before, Counter, size: 2}])

        {:ok, pool} =
          Kantoku.Pool.start(context.instance, name: :counters, worker: {Kantoku.Jido, Counter, jido: jido}, target: 2)

        start_supervised!({Kantoku.Jido.Door, jido: jido, pool: pool, as: :counters_ours})

        start_supervised!(
          {Kantoku.Jido.Switch, jido: jido, pool: pool, old: :counters_before, door: :counters_ours, as: :counters}
        )

        %{jido: jido, pool: pool}
      end

      defp ours?(context, pid), do: Enum.any?(elem(Kantoku.Pool.workers(context.pool), 1), &(&1.pid == pid))
      defp with_agent(context, fun), do: Jido.Agent.WorkerPool.with_agent(context.jido, :counters, fun)

      test "sends unchanged callers where the mode says", context do
        for {mode, ours?} <- [off: false, shadow: false, enforce: true, off: false] do
          :ok = Migration.set(context.instance, :pools, :counters, mode)
          assert with_agent(context, &ours?(context, &1)) == ours?
          assert {:ok, %{state: %{total: _}}} = Jido.Agent.WorkerPool.call(context.jido, :counters, signal("add"))
        end

        :ok = Migration.set(context.instance, :pools, :counters, {:canary, 50})

        sides =
          for _ <- 1..60 do
            Task.await(
              Task.async(fn -> {with_agent(context, &ours?(context, &1)), with_agent(context, &ours?(context, &1))} end)
            )
          end

        assert sides |> Enum.uniq() |> Enum.sort() == [{false, false}, {true, true}]
      end

      test "takes back what is out wherever it came from, whatever the mode is by then", context do
        alias Jido.Agent.WorkerPool
        before = WorkerPool.checkout(context.jido, :counters)
        :ok = Migration.set(context.instance, :pools, :counters, :enforce)
        later = WorkerPool.checkout(context.jido, :counters)
        assert {ours?(context, before), ours?(context, later)} == {false, true}
        for pid <- [before, later], do: WorkerPool.checkin(context.jido, :counters, pid)

        for name <- [:counters_before, :counters_ours],
            do: eventually(fn -> WorkerPool.status(context.jido, name).available == 2 end)

        assert WorkerPool.status(context.jido, :counters).available == 2

        assert {:exit, {:timeout, _}} =
                 attempt(fn -> busy(context, fn -> WorkerPool.checkout(context.jido, :counters, timeout: 20) end) end)
      end

      defp busy(context, fun, held \\ 2)
      defp busy(_context, fun, 0), do: fun.()
      defp busy(context, fun, held), do: with_agent(context, fn _pid -> busy(context, fun, held - 1) end)

      test "names the option that is wrong", context do
        assert_raise ArgumentError, ~r/option :old: expected a name, got: nil/, fn ->
          Kantoku.Jido.Switch.start_link(jido: context.jido, pool: context.pool, door: :x)
        end

        assert_raise ArgumentError, ~r/option :pool: expected {instance, pool}, got: :x/, fn ->
          Kantoku.Jido.Switch.start_link(jido: context.jido, pool: :x, old: :a, door: :b)
        end
      end
    end

    test "a share of callers goes to our pool, and all of them in the end and back", context do
      for {mode, ours} <- [{{:canary, 50}, 1..99}, {:enforce, 100..100}, {:off, 0..0}] do
        :ok = Migration.set(context.instance, :pools, :search, mode)
        {:ok, %{arrived: before}} = Kantoku.Pool.status(context.pool)
        for key <- 1..100, do: assert(is_pid(ask(context, key: key)))
        {:ok, %{arrived: later}} = Kantoku.Pool.status(context.pool)
        assert (later - before) in ours
      end
    end
  end
end

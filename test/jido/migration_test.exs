if Kantoku.Jido.compiled?() do
  defmodule Kantoku.Jido.MigrationTest do
    use Kantoku.JidoCase, async: true
    alias Kantoku.Jido.Migrated
    alias Kantoku.Migration
    alias Kantoku.Migration.{Clerk, Reversal}

    @ids for n <- 1..24, do: "counter-#{n}"

    defmodule SlowAdd do
      @moduledoc false
      # Slow on Kantoku's side, which is where the instance that it is told has an agent of that id.
      use Jido.Action, name: "add", schema: [by: [type: :integer, default: 1], slow_in: [type: :any, default: nil]]
      @impl true
      def run(%{by: by, slow_in: instance}, context) do
        if instance && Kantoku.whereis(instance, context.agent.id), do: Process.sleep(20)
        {:ok, %{total: context.state.total + by}}
      end
    end

    defmodule Sluggish do
      @moduledoc false
      use Jido.Agent,
        name: "sluggish",
        schema: [total: [type: :integer, default: 0]],
        signal_routes: [{"add", Kantoku.Jido.MigrationTest.SlowAdd}, {"fail", Kantoku.JidoAgents.Fail}]
    end

    setup do
      %{jido: jido!(), instance: kantoku!()}
    end

    defp start!(context, id, module \\ Counter) do
      {:ok, pid} = Migrated.start_agent(context.instance, context.jido, module, id: id)
      pid
    end

    defp find(context, id), do: Migrated.whereis(context.instance, context.jido, id)
    defp add!(context, id, by \\ 1), do: context |> find(id) |> add(by)

    defp mode!(context, mode, module \\ Counter, opts \\ []) do
      :ok = Migration.set(context.instance, :supervision, module, mode, opts)
      :ok = Migration.await(context.instance, module, 20_000)
    end

    defp entry(context, feature, module) do
      {:ok, entries} = Migration.status(context.instance)
      Enum.find(entries, &(&1.feature == feature and &1.subject == module))
    end

    defp jidos(context), do: DynamicSupervisor.count_children(Jido.agent_supervisor_name(context.jido)).active

    test "with nothing set agents are Jido's", context do
      pid = start!(context, "ada")
      assert find(context, "ada") == pid and Jido.whereis(context.jido, "ada") == pid
      assert Kantoku.whereis(context.instance, "ada") == nil

      assert {:error, {:already_started, ^pid}} =
               Migrated.start_agent(context.instance, context.jido, Counter, id: "ada")

      assert Migrated.stop_agent(context.instance, context.jido, "ada") == :ok
      assert Migrated.stop_agent(context.instance, context.jido, "ada") == {:error, :not_found}
      eventually(fn -> find(context, "ada") == nil end)
    end

    test "an agent moves with its state, there and back", context do
      first = start!(context, "ada")
      assert add!(context, "ada", 5) == 5
      mode!(context, :enforce)
      second = Kantoku.whereis(context.instance, "ada")
      assert second not in [nil, first]
      assert find(context, "ada") == second and Jido.whereis(context.jido, "ada") == second
      assert add!(context, "ada") == 6
      eventually(fn -> jidos(context) == 0 end)
      mode!(context, :off)
      assert find(context, "ada") not in [first, second, nil]
      assert add!(context, "ada") == 7
      eventually(fn -> Kantoku.agents(context.instance) == {:ok, []} end)
      assert Migrated.stop_agent(context.instance, context.jido, find(context, "ada")) == :ok
    end

    test "a rolling canary under load fails no call and keeps all state", context do
      for id <- @ids, do: start!(context, id)
      test = self()

      callers =
        for n <- 1..6, do: Task.async(fn -> load(context, Enum.drop(@ids, n) ++ Enum.take(@ids, n), test, 0) end)

      for percent <- [0, 1, 10, 50, 100, 0] do
        mode!(context, {:canary, percent}, Counter, latency_margin: 1_000, error_margin: 1)
        expected = Enum.count(@ids, &(Migration.side(context.instance, :supervision, Counter, &1) == :new))
        assert %{agents: %{new: ^expected, moving: 0}} = entry(context, :supervision, Counter)
        for _ <- 1..100, do: assert_receive(:called, 10_000)
      end

      rounds = for caller <- callers, do: send(caller.pid, :stop) && Task.await(caller, 20_000)
      for id <- @ids, do: assert(context |> find(id) |> total() == Enum.sum(rounds))
      eventually(fn -> jidos(context) == length(@ids) end)
    end

    defp load(context, ids, test, round) do
      for id <- ids do
        assert add!(context, id) > round
        send(test, :called)
      end

      receive do
        :stop -> round + 1
      after
        0 -> load(context, ids, test, round + 1)
      end
    end

    test "callers who have the pid already are answered, those in line as well", context do
      pid = start!(context, "ada")
      {caller, action, _task} = begin_wait(pid)
      waiting = for _ <- 1..5, do: Task.async(fn -> add(pid) end)
      eventually(fn -> Process.info(pid, :message_queue_len) == {:message_queue_len, 0} end)
      :ok = Migration.set(context.instance, :supervision, Counter, :enforce)
      send(action, :go_on)
      assert {:ok, %{state: %{total: total}}} = Task.await(caller)
      assert waiting |> Task.await_many() |> Enum.max() == 6
      assert total >= 1
      assert Migration.await(context.instance, Counter, 30_000) == :ok
      assert add!(context, "ada") == 7
    end

    test "a canary that is slow goes back by itself, though nobody calls through a front", context do
      for id <- @ids, do: start!(context, id, Sluggish)
      # By the middle, which a busy machine does not move.
      mode!(context, {:canary, 50}, Sluggish, min_samples: 60, quantile: 0.5)
      signal = signal("add", %{by: 1, slow_in: context.instance})

      for _ <- 1..8,
          do:
            Task.async_stream(@ids, &Jido.AgentServer.call(find(context, &1), signal), max_concurrency: 8)
            |> Stream.run()

      Clerk.look()
      assert %Reversal{measure: :latency} = why = eventually(fn -> entry(context, :supervision, Sluggish).reversal end)
      assert why.canary >= 20_000 and why.control < 20_000
      assert Migration.await(context.instance, Sluggish, 30_000) == :ok
      for id <- @ids, do: assert(context |> find(id) |> total() == 8)
    end

    test "snapshots are a feature of their own", context do
      mode!(context, :enforce)
      start!(context, "plain")
      :ok = Migration.set(context.instance, :state, Counter, :enforce)
      start!(context, "kept")

      for {id, after_crash} <- [{"plain", 0}, {"kept", 4}] do
        assert add!(context, id, 4) == 4
        replaced!(context.instance, id)
        assert context.instance |> Kantoku.whereis(id) |> total() == after_crash
      end
    end

    test "the shadow of state says whether an agent would be the same", context do
      start!(context, "ada")
      :ok = Migration.set(context.instance, :state, Counter, :shadow)
      :ok = Migration.set(context.instance, :state, JidoAgents.Keeper, :shadow)
      assert Migration.check_state({context.instance, Counter}, "ada") == :same
      # What its own form leaves out is not there again.
      start!(context, "keeper", JidoAgents.Keeper)
      assert Migration.check_state({context.instance, JidoAgents.Keeper}, "keeper") == {:differs, :content}
      assert %{shadow: %{agreed: 1, disagreed: 0}} = entry(context, :state, Counter)
    end

    test "an agent that is tied to its process stays, and says by what", context do
      pid = start!(context, "ada")
      :sys.replace_state(pid, &%{&1 | children: %{child: :any}})
      :ok = Migration.set(context.instance, :supervision, Counter, :enforce)

      assert eventually(fn ->
               entry(context, :supervision, Counter).agents.staying == [{"ada", {:tied, [:children]}}]
             end)

      assert add!(context, "ada") == 1
      assert find(context, "ada") == pid
    end

    test "an instance of Jido needs one line, and its callers none", context do
      defmodule Module.concat(__MODULE__, App) do
        use Jido, otp_app: :kantoku_test_app
        use Kantoku.Jido.Migrated, instance: :kantoku_jido_migration_app
      end

      app = Module.concat(__MODULE__, App)
      start_supervised!({Kantoku, name: :kantoku_jido_migration_app})
      start_supervised!(app)
      {:ok, first} = app.start_agent(Counter, id: "ada")
      assert add(app.whereis("ada"), 2) == 2
      :ok = Migration.set(:kantoku_jido_migration_app, :supervision, Counter, :enforce)
      :ok = Migration.await(:kantoku_jido_migration_app, Counter, 30_000)
      assert app.whereis("ada") == Kantoku.whereis(:kantoku_jido_migration_app, "ada")
      assert app.whereis("ada") != first
      assert [{"ada", _pid}] = app.list_agents()
      assert add(app.whereis("ada")) == 3
      assert {:ok, other} = app.start_agent(Counter)
      assert Kantoku.find(:kantoku_jido_migration_app, tag: "counting") |> Enum.map(&elem(&1, 1)) |> Enum.member?(other)
      assert app.stop_agent("ada") == :ok
      eventually(fn -> app.whereis("ada") == nil end)
      assert context.jido != app
    end
  end
end

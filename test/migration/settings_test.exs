defmodule Kantoku.Migration.SettingsTest do
  use Kantoku.MigrationCase, async: true

  test "nothing set is off, and code goes the old way", context do
    assert Migration.status(context.instance) == {:ok, []}
    assert Migration.mode(context.instance, :supervision, TestSession) == :off
    pid = session!(context, "ada")
    assert Kantoku.whereis(context.instance, "ada") == nil
    assert Migration.whereis(context.subject, "ada", context.registry) == pid
    assert old_children(context) == 1
  end

  test "a change says what, who and when", context do
    {:ok, events} = Kantoku.subscribe(context.instance, events: [[:migration, :changed]])
    assert Migration.set(context.instance, :pools, :search, {:canary, 10}, by: "ada", min_samples: 7) == :ok
    assert %{mode: {:canary, 10}, by: "ada", source: :run_time, reversal: nil} = said = entry(context, :pools, :search)
    assert_in_delta said.at, System.system_time(:millisecond), 5_000
    assert %{min_samples: 7, window: 60_000} = said.rules
    assert [{_, _, _, _, %{from: :off, to: {:canary, 10}, by: "ada"}}] = Kantoku.Telemetry.take(events, 1, 5_000)
    assert Migration.reset(context.instance, :pools, :search) == :ok
    assert Migration.mode(context.instance, :pools, :search) == :off
  end

  test "a subject that would read as a variable changes alone", context do
    subjects = [:search, :_, :"$1"]
    for subject <- subjects, do: :ok = Migration.set(context.instance, :pools, subject, :shadow, by: 1)
    :ok = Migration.set(context.instance, :pools, :_, :enforce, by: 2)
    :ok = Migration.set(context.instance, :pools, :"$1", {:canary, 3}, by: 3)
    assert for(subject <- subjects, do: entry(context, :pools, subject).mode) == [:shadow, :enforce, {:canary, 3}]
  end

  @tag kantoku: [
         migration: [supervision: %{TestSession => {:canary, 100}}, pools: [search: :shadow], canary: [window: 10]]
       ]
  test "options of the instance are its modes", context do
    assert %{mode: {:canary, 100}, source: :option, option: {:canary, 100}, rules: %{window: 10}} =
             entry(context, :supervision)

    assert %{mode: :shadow, by: :option} = entry(context, :pools, :search)
    pid = session!(context, "ada")
    assert Kantoku.whereis(context.instance, "ada") == pid
    assert old_children(context) == 0
  end

  @tag kantoku: [migration: [pools: [search: :shadow]]]
  test "what is reset has its option again", context do
    :ok = Migration.set(context.instance, :pools, :search, :enforce, by: 1)
    assert %{mode: :enforce, option: :shadow} = entry(context, :pools, :search)
    :ok = Migration.reset(context.instance, :pools, :search)
    assert %{mode: :shadow, source: :option} = entry(context, :pools, :search)
  end

  describe "an instance that starts again" do
    defp again(name, opts) do
      {:ok, pid} = Kantoku.start_link([name: name, engine: hd(Kantoku.EachEngine.engines())] ++ opts)
      pid
    end

    defp name, do: :"kantoku_test_#{System.unique_integer([:positive])}"

    test "has what was set at run time, by whom" do
      name = name()
      first = again(name, migration: [pools: [search: :shadow]])
      :ok = Migration.set(name, :pools, :search, {:canary, 5}, by: "ada")
      :ok = Migration.set(name, :registry, :any, :enforce, by: "bob")
      Supervisor.stop(first)
      eventually(fn -> match?({:error, %Error{reason: :not_running}}, Migration.status(name)) end)
      second = again(name, migration: [pools: [search: :shadow]])

      assert {:ok, [%{mode: {:canary, 5}, by: "ada", option: :shadow}, %{mode: :enforce, by: "bob"}]} =
               Migration.status(name)

      Supervisor.stop(second)
    end

    test "has its option where that is another than it was: it is the newer word" do
      name = name()
      first = again(name, migration: [pools: [search: :shadow]])
      :ok = Migration.set(name, :pools, :search, {:canary, 5}, by: "ada")
      Supervisor.stop(first)
      second = again(name, migration: [pools: [search: {:canary, 50}]])
      assert {:ok, [%{mode: {:canary, 50}, by: :option}]} = Migration.status(name)
      Supervisor.stop(second)
      third = again(name, [])
      assert Migration.status(name) == {:ok, []}
      Supervisor.stop(third)
    end

    @tag :tmp_dir
    test "has it from disk in a VM that knows nothing of it", %{tmp_dir: dir} do
      if Kantoku.Native.loaded?() do
        {name, store} = {name(), {Kantoku.Store.Disk, path: Path.join(dir, "agents.redb")}}
        first = again(name, store: store)
        :ok = Migration.set(name, :pools, {:any, "subject"}, {:canary, 2.5}, by: "ada", min_samples: 9)
        Supervisor.stop(first)
        # As another VM finds it.
        :ets.match_delete(Kantoku.Migration.Settings, {{name, :_, :_}, :_, :_, :_})
        second = again(name, store: store)
        assert {:ok, [%{mode: {:canary, 2.5}, by: "ada", rules: %{min_samples: 9}}]} = Migration.status(name)
        Supervisor.stop(second)
      end
    end
  end

  test "of many who set at once, each is heard and the last stays", context do
    1..50
    |> Task.async_stream(&Migration.set(context.instance, :pools, :search, {:canary, &1}, by: &1), max_concurrency: 10)
    |> Enum.each(&assert &1 == {:ok, :ok})

    assert %{mode: {:canary, percent}, by: percent} = entry(context, :pools, :search)
  end

  test "a percentage that changes goes on counting", context do
    :ok = Migration.set(context.instance, :supervision, TestSession, {:canary, 1})
    session!(context, "ada")
    Migration.call(context.subject, "ada", {:add, 1})
    :ok = Migration.set(context.instance, :supervision, TestSession, {:canary, 2})
    %{canary: %{old: old, new: new}} = entry(context, :supervision)
    assert old.calls + new.calls == 2
  end

  describe "bad arguments" do
    test "name the option, the value and what is expected", %{instance: instance} do
      assert_raise ArgumentError, ~r/feature: expected one of \[:supervision, .*got: :poools/, fn ->
        Migration.set(instance, :poools, :x, :off)
      end

      assert_raise ArgumentError,
                   ~r/mode: expected :off, :shadow, .* from 0 to 100, or :enforce, got: {:canary, 101}/,
                   fn ->
                     Migration.set(instance, :pools, :x, {:canary, 101})
                   end

      assert_raise ArgumentError, ~r/unknown option :buy/, fn -> Migration.set(instance, :pools, :x, :off, buy: 1) end

      assert_raise ArgumentError, ~r/option :migration, option :pools, subject :x: expected .*got: :on/, fn ->
        Kantoku.start_link(name: :never, migration: [pools: [x: :on]])
      end

      assert_raise ArgumentError, ~r/option :pools: expected a map or a list of {subject, mode}, got: :x/, fn ->
        Kantoku.start_link(name: :never, migration: [pools: :x])
      end
    end

    test "of an instance that does not run are an error" do
      assert {:error, %Error{reason: :not_running}} = Migration.set(:no_such_instance, :pools, :x, :off)
    end

    test "of a start are refused before anything is started", context do
      assert_raise ArgumentError, ~r/option :state: expected :sys, :fresh, :none or a module .* got: :yes/, fn ->
        session!(context, "ada", state: :yes)
      end

      assert_raise ArgumentError, ~r/old path of :supervision: expected {DynamicSupervisor, supervisor} or/, fn ->
        Migration.start_child(context.subject, "ada", {TestSession, id: "ada"}, :old)
      end
    end
  end
end

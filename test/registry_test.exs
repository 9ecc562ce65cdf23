import Kantoku.EachEngine

alias Kantoku.{Engine, Registry, TestOwner}

defmodule Kantoku.RegistryDocTest do
  use ExUnit.Case, async: true
  doctest Kantoku.Registry
  doctest Kantoku.Entry
end

defmodule Kantoku.RegistryFallbackTest do
  use ExUnit.Case, async: true

  test "a registry has the native engine by default, and the other where no library loads" do
    start_supervised!({Registry, keys: :unique, name: __MODULE__})
    expected = if Kantoku.Native.loaded?(), do: :native, else: :elixir
    assert Engine.kind(__MODULE__) == expected
  end
end

each_engine Kantoku.RegistryTest do
  setup %{test: test} = context do
    registry = :"#{test}_#{@engine}"
    defaults = [name: registry, keys: Map.get(context, :keys, :unique), engine: @engine]
    options = Keyword.merge(defaults, Map.get(context, :options, []))
    unless context[:unstarted], do: start_supervised!({Registry, options})
    %{registry: registry, options: options}
  end

  defp owner(registry, key, value \\ nil), do: TestOwner.start(fn -> Registry.register(registry, key, value) end)

  describe "start" do
    test "is served by the engine asked for", %{registry: registry} do
      assert Engine.kind(registry) == @engine
    end

    @tag options: [partitions: 3]
    test "runs a process for each partition under the registry's name", %{registry: registry} do
      pids = for {_id, pid, :worker, _} <- Supervisor.which_children(registry), do: pid
      assert length(pids) == 3
      assert {:ok, partition} = Registry.register(registry, :a, 1)
      assert partition in pids
    end

    test "of a name that is taken answers who has it", %{registry: registry, options: options} do
      pid = Process.whereis(registry)
      assert Registry.start_link(options) == {:error, {:already_started, pid}}
    end

    @tag :unstarted
    test "says which option is bad, what it is and what was expected", %{options: options} do
      for {bad, message} <- [
            {[keys: :bag], "expected :keys to be given and be one of :unique or :duplicate, got: :bag"},
            {[name: "x"], ~s(expected :name to be an atom, got: "x")},
            {[partitions: 0], "expected :partitions to be a positive integer, got: 0"},
            {[listeners: :x], "expected :listeners to be a list of named processes, got: :x"},
            {[meta: [1]], "expected :meta to be a keyword list, got: [1]"},
            {[compressed: 1], "expected :compressed to be a boolean, got: 1"},
            {[engine: :java], "expected :engine to be :native or :elixir, got: :java"},
            {[resolver: :ask], "expected :resolver to be :keep, :replace or a function of three arguments, got: :ask"}
          ] do
        assert_raise ArgumentError, message, fn -> Registry.start_link(Keyword.merge(options, bad)) end
      end

      assert_raise ArgumentError, "expected :name option to be present", fn ->
        Registry.start_link(Keyword.delete(options, :name))
      end

      assert_raise ArgumentError, ~r/unknown option :partition, expected one of/, fn ->
        Registry.start_link([partition: 2] ++ options)
      end
    end

    test "begins anew however often its supervisor is killed", %{registry: registry} do
      for round <- 1..30 do
        owner = owner(registry, :a, round)
        ref = Process.monitor(owner)
        registry |> Process.whereis() |> TestOwner.kill()
        assert_receive {:DOWN, ^ref, :process, ^owner, _reason}
        TestOwner.eventually(fn -> Process.whereis(registry) && registered?(registry, round) end)
        assert Registry.lookup(registry, {:round, round}) == [{self(), round}]
        assert Registry.count(registry) == 1
        Registry.unregister(registry, {:round, round})
      end
    end

    defp registered?(registry, round) do
      match?({:ok, _}, Registry.register(registry, {:round, round}, round))
    rescue
      _not_yet in ArgumentError -> false
    end

    test "can be repeated after a stop, with nothing left", %{registry: registry, options: options} do
      owner(registry, :a)
      stop_supervised!(registry)
      start_supervised!({Registry, options})
      assert Registry.count(registry) == 0
      assert {:ok, _} = Registry.register(registry, :a, 1)
    end
  end

  describe "an unknown registry" do
    @describetag :unstarted

    test "raises from every function, naming it", %{registry: registry} do
      spec = [{{:"$1", :_, :_}, [], [:"$1"]}]

      calls = [
        fn -> Registry.register(registry, :a, 1) end,
        fn -> Registry.unregister(registry, :a) end,
        fn -> Registry.unregister_match(registry, :a, :_) end,
        fn -> Registry.update_value(registry, :a, & &1) end,
        fn -> Registry.lookup(registry, :a) end,
        fn -> Registry.keys(registry, self()) end,
        fn -> Registry.values(registry, :a, self()) end,
        fn -> Registry.match(registry, :a, :_) end,
        fn -> Registry.count_match(registry, :a, :_) end,
        fn -> Registry.select(registry, spec) end,
        fn -> Registry.count_select(registry, spec) end,
        fn -> Registry.count(registry) end,
        fn -> Registry.dispatch(registry, :a, & &1) end,
        fn -> Registry.lock(registry, :a, fn -> :ok end) end,
        fn -> Registry.meta(registry, :a) end,
        fn -> Registry.put_meta(registry, :a, 1) end,
        fn -> Registry.delete_meta(registry, :a) end,
        fn -> Registry.whereis_name({registry, :a}) end,
        fn -> Registry.describe(registry, :a, tags: []) end,
        fn -> Registry.entry(registry, :a) end,
        fn -> Registry.load_handle(registry, :a) end,
        fn -> Registry.set_load(registry, :a, 1) end,
        fn -> Registry.add_load(registry, :a, 1) end,
        fn -> Registry.find(registry, tag: :a) end,
        fn -> Registry.count(registry, tag: :a) end,
        fn -> Registry.watch(registry, tag: :a) end,
        fn -> Registry.unwatch(registry, make_ref()) end
      ]

      for call <- calls do
        error = assert_raise ArgumentError, call
        assert error.message =~ "unknown registry: #{inspect(registry)}"
      end
    end
  end

  describe "the dead" do
    @describetag options: [partitions: 2]

    test "are shown by no read, even while the partitions sleep", %{registry: registry} do
      for {_id, partition, _, _} <- Supervisor.which_children(registry), do: :sys.suspend(partition)
      spec = [{{:"$1", :"$2", :"$3"}, [], [true]}]

      for n <- 1..200 do
        owner = owner(registry, :a, n)
        TestOwner.kill(owner)
        assert Registry.whereis_name({registry, :a}) == :undefined
        assert Registry.lookup(registry, :a) == []
        assert Registry.keys(registry, owner) == []
        assert Registry.values(registry, :a, owner) == []
        assert Registry.match(registry, :a, :_) == []
        assert Registry.count_match(registry, :a, :_) == 0
        assert Registry.count(registry) == 0
        assert Registry.select(registry, spec) == []
        assert Registry.count_select(registry, spec) == 0
        assert Registry.find(registry, []) == []
        assert Registry.entry(registry, :a) == :error
        assert Registry.dispatch(registry, :a, fn _ -> flunk("called for the dead") end) == :ok
      end
    end

    test "leave their name to the next, even while the partitions sleep", %{registry: registry} do
      owner = owner(registry, :a)
      for {_id, partition, _, _} <- Supervisor.which_children(registry), do: :sys.suspend(partition)
      TestOwner.kill(owner)
      assert {:ok, _} = Registry.register(registry, :a, :new)
      assert Registry.lookup(registry, :a) == [{self(), :new}]
    end

    @tag keys: :duplicate
    test "are left out beside the living under a duplicate key", %{registry: registry} do
      for _ <- 1..100 do
        dead = owner(registry, :a, :dead)
        live = owner(registry, :a, :live)
        TestOwner.kill(dead)
        assert Registry.lookup(registry, :a) == [{live, :live}]
        assert Registry.select(registry, [{{:_, :"$1", :_}, [], [:"$1"]}]) == [live]
        assert Registry.count(registry) == 1
        TestOwner.kill(live)
      end
    end

    @tag keys: :duplicate
    test "are counted and selected whole where thousands hold one key", %{registry: registry} do
      for n <- 1..3_000, do: Registry.register(registry, :crowded, n)
      for n <- 1..300, do: Registry.register(registry, n, n)
      assert Registry.count(registry) == 3_300
      assert registry |> Registry.lookup(:crowded) |> Enum.map(&elem(&1, 1)) == Enum.to_list(1..3_000)
      found = Registry.select(registry, [{{:"$1", :_, :"$2"}, [], [{{:"$1", :"$2"}}]}])
      assert Enum.sort(found) == Enum.sort(for(n <- 1..3_000, do: {:crowded, n}) ++ for(n <- 1..300, do: {n, n}))
    end
  end

  describe "links" do
    test "tie an owner to the registry's life", %{registry: registry} do
      owner = owner(registry, :a)
      ref = Process.monitor(owner)
      stop_supervised!(registry)
      assert_receive {:DOWN, ^ref, :process, ^owner, :shutdown}
    end

    test "are neither made nor cut by a refused registration", %{registry: registry} do
      holder = owner(registry, :a)
      before = Process.info(self(), :links)
      assert Registry.register(registry, :a, 1) == {:error, {:already_registered, holder}}
      assert Process.info(self(), :links) == before
    end

    @tag options: [partitions: 4]
    test "take only a crashed partition's owners with it", %{registry: registry} do
      owners = for n <- 1..40, do: owner(registry, n)
      partition = TestOwner.run(hd(owners), fn -> Registry.register(registry, :more, 1) |> elem(1) end)
      {theirs, others} = Enum.split_with(owners, &(partition in (&1 |> Process.info(:links) |> elem(1))))
      TestOwner.kill(partition)
      TestOwner.eventually(fn -> not Enum.any?(theirs, &Process.alive?/1) end)
      assert Enum.all?(others, &Process.alive?/1)
      assert Registry.count(registry) == length(others)

      TestOwner.eventually(fn ->
        length(for {_, pid, _, _} when is_pid(pid) <- Supervisor.which_children(registry), do: pid) == 4
      end)

      for n <- 100..140, do: owner(registry, n)
      assert Registry.count(registry) == length(others) + 41
    end
  end

  describe "listeners" do
    test "hear of registrations and unregistrations, dead ones are passed over", %{registry: registry, options: options} do
      stop_supervised!(registry)
      listener = :"#{registry}_listener"
      Process.register(self(), listener)
      start_supervised!({Registry, options ++ [listeners: [listener, :"#{listener}_absent"]]})
      owner = owner(registry, :a, 1)
      assert_received {:register, ^registry, :a, ^owner, 1}
      TestOwner.run(owner, fn -> Registry.unregister(registry, :a) end)
      assert_received {:unregister, ^registry, :a, ^owner}
      TestOwner.run(owner, fn -> Registry.unregister(registry, :a) end)
      assert_received {:unregister, ^registry, :a, ^owner}
    end

    test "are not told of an owner's death, nor of who takes its name", %{registry: registry, options: options} do
      stop_supervised!(registry)
      listener = :"#{registry}_listener"
      Process.register(self(), listener)
      start_supervised!({Registry, options ++ [listeners: [listener]]})
      owner = owner(registry, :a, 1)
      assert_received {:register, ^registry, :a, ^owner, 1}
      TestOwner.kill(owner)
      {:ok, _} = Registry.register(registry, :a, 2)
      assert_received {:register, ^registry, :a, _, 2}
      Registry.unregister(registry, :a)
      assert_received {:unregister, ^registry, :a, me} when me == self()
      refute_receive {:unregister, _, _, _}, 100
    end

    @tag keys: :duplicate
    test "hear of a partial unregistration only when nothing is left", %{registry: registry, options: options} do
      stop_supervised!(registry)
      listener = :"#{registry}_listener"
      Process.register(self(), listener)
      start_supervised!({Registry, options ++ [listeners: [listener]]})
      for n <- 1..2, do: Registry.register(registry, :a, n)
      Registry.unregister_match(registry, :a, 1)
      refute_received {:unregister, _, _, _}
      Registry.unregister_match(registry, :a, 2)
      assert_received {:unregister, ^registry, :a, _}
    end
  end

  describe "a resolver" do
    @tag options: [resolver: :replace]
    test "that replaces gives the name to the second and ends the first", %{registry: registry} do
      first = owner(registry, :a, 1)
      ref = Process.monitor(first)
      assert {:ok, partition} = Registry.register(registry, :a, 2)
      assert_receive {:DOWN, ^ref, :process, ^first, {:shutdown, {:name_taken_over, :a}}}
      assert Registry.lookup(registry, :a) == [{self(), 2}]
      assert partition in (self() |> Process.info(:links) |> elem(1))
      assert Registry.register(registry, :a, 3) == {:error, {:already_registered, self()}}
    end

    @tag :unstarted
    test "that is a function is asked with both", %{registry: registry, options: options} do
      by_value = fn :a, {_old, old}, {_new, new} -> if new > old, do: :replace, else: :keep end
      start_supervised!({Registry, options ++ [resolver: by_value]})
      first = owner(registry, :a, 5)
      assert Registry.register(registry, :a, 4) == {:error, {:already_registered, first}}
      assert {:ok, _} = Registry.register(registry, :a, 6)
      assert Registry.lookup(registry, :a) == [{self(), 6}]
    end

    @tag :unstarted
    test "that says anything else is told so", %{registry: registry, options: options} do
      start_supervised!({Registry, options ++ [resolver: fn _, _, _ -> :maybe end]})
      owner(registry, :a)
      message = "expected the :resolver function to return :keep or :replace, got: :maybe"
      assert_raise ArgumentError, message, fn -> Registry.register(registry, :a, 1) end
    end

    @tag options: [resolver: :replace]
    test "that replaces leaves one holder of many who come at once", %{registry: registry} do
      owners = for _ <- 1..10, do: TestOwner.start()

      tasks =
        for owner <- owners,
            do: Task.async(fn -> TestOwner.run(owner, fn -> Registry.register(registry, :a, 1) end) end)

      for {:ok, _} <- Task.await_many(tasks), do: :ok
      TestOwner.eventually(fn -> Enum.count(owners, &Process.alive?/1) == 1 end)
      assert Registry.whereis_name({registry, :a}) == Enum.find(owners, &Process.alive?/1)
    end
  end

  describe "keys that are equal by ===" do
    test "are one, however they were made", %{registry: registry} do
      ref = make_ref()
      pid = self()
      n = System.unique_integer([:positive]) * 0 + 7

      for make <- [
            fn -> adder(n) end,
            fn -> ref end,
            fn -> %{pid => [ref, {pid, 1.5}], "k" => nil} end,
            fn -> {:a, "binary", [1 | 2]} end,
            fn -> 2 ** 80 end,
            fn -> <<1::3>> end,
            fn -> &Enum.map/2 end,
            fn -> for(n <- 1..100, into: %{}, do: {n, n}) end,
            fn -> :binary.part(String.duplicate("x", 200), 10, 100) end
          ] do
        owner = TestOwner.start(fn -> Registry.register(registry, make.(), 1) end)
        assert make.() === make.()
        assert Registry.whereis_name({registry, make.()}) == owner
        assert Registry.register(registry, make.(), 1) == {:error, {:already_registered, owner}}
        assert [key] = Registry.keys(registry, owner)
        assert key === make.()
      end
    end

    test "are one on either side of a message", %{registry: registry} do
      key = %{fun: adder(1), pid: self(), ref: make_ref(), list: [self() | :tail]}
      copy = key |> :erlang.term_to_binary() |> :erlang.binary_to_term()
      assert key === copy
      owner = owner(registry, key)
      assert Registry.whereis_name({registry, copy}) == owner
    end

    test "are two where === tells them apart", %{registry: registry} do
      keys = [
        1,
        1.0,
        "1",
        ~c"1",
        :"1",
        [1],
        {1},
        %{1 => 1},
        %{1.0 => 1},
        <<1>>,
        <<1::7>>,
        nil,
        [],
        {},
        %{},
        :_,
        :"$1",
        adder(1),
        adder(2)
      ]

      for key <- keys, do: assert({:ok, _} = Registry.register(registry, key, key))
      for key <- keys, do: assert(Registry.values(registry, key, self()) === [key])
      assert Registry.count(registry) == length(keys)
    end

    test "have zeros of either sign as this OTP has them", %{registry: registry} do
      [plus, minus] = for bits <- [<<0::64>>, <<1::1, 0::63>>], do: :binary.copy(bits) |> zero()

      for wrap <- [& &1, &{&1}, &[1, &1], &%{z: &1}] do
        owner = owner(registry, wrap.(plus))
        same? = wrap.(plus) === wrap.(minus)
        assert Registry.whereis_name({registry, wrap.(minus)}) == if(same?, do: owner, else: :undefined)
      end
    end

    defp zero(<<float::float>>), do: float
    defp adder(n), do: fn x -> x + n end
  end

  describe "match specifications" do
    test "with tricky keys match just those", %{registry: registry} do
      for key <- [:_, :"$1", "plain"], do: Registry.register(registry, key, key)
      assert Registry.match(registry, :_, :_) == [{self(), :_}]
      assert Registry.count_match(registry, :"$1", :"$1") == 1
      assert Registry.select(registry, [{{"plain", :_, :"$1"}, [], [:"$1"]}]) == ["plain"]
      assert Registry.unregister_match(registry, :_, :_) == :ok
      assert Registry.keys(registry, self()) |> Enum.sort() == [:"$1", "plain"]
    end

    test "with a key that is bound need no scan, and find the same", %{registry: registry} do
      for n <- 1..10, do: Registry.register(registry, {:k, n, %{m: n}}, n)
      for n <- 1..10, do: Registry.register(registry, {:k, n}, n)
      assert Registry.select(registry, [{{{:k, 3}, :_, :"$1"}, [], [:"$1"]}]) == [3]
      assert Registry.select(registry, [{{{:k, 3.0}, :_, :"$1"}, [], [:"$1"]}]) == []
      assert Registry.select(registry, [{{{:k, 3, %{m: 3}}, :_, :"$1"}, [], [:"$1"]}]) == [3]

      assert Registry.select(registry, [{{{:k, :_, %{}}, :_, :"$1"}, [{:<, :"$1", 3}], [:"$1"]}]) |> Enum.sort() == [
               1,
               2
             ]

      assert Registry.count_select(registry, [{{{:k, :"$1"}, :_, :"$1"}, [], [true]}]) == 10
    end

    test "of more entries than a slice see them all", %{registry: registry} do
      for n <- 1..2_500, do: Registry.register(registry, n, n)
      assert Registry.select(registry, [{{:"$1", :_, :_}, [], [:"$1"]}]) |> Enum.sort() == Enum.to_list(1..2_500)
      assert Registry.count_select(registry, [{{:_, :_, :"$1"}, [{:>, :"$1", 500}], [true]}]) == 2_000
      assert Registry.count(registry) == 2_500
    end

    test "that are bad raise, with entries or without", %{registry: registry} do
      for _ <- 1..2 do
        assert_raise ArgumentError, fn -> Registry.match(registry, :a, :_, [{:no_such_guard, 1}]) end
        assert_raise ArgumentError, fn -> Registry.count_match(registry, :a, :_, [:x, {:==}]) end
        assert_raise ArgumentError, fn -> Registry.unregister_match(registry, :a, :_, [{:no_such_guard, 1}]) end
        assert_raise ArgumentError, fn -> Registry.select(registry, [{{:_, :_, :_}, [{:no_such_guard, 1}], [1]}]) end

        assert_raise ArgumentError, ~r"invalid match specification in Kantoku.Registry.select/2", fn ->
          Registry.select(registry, [{:_, [], []}])
        end

        Registry.register(registry, :a, 1)
      end
    end
  end

  describe "update_value" do
    test "answers :error when the name was lost meanwhile", %{registry: registry} do
      Registry.register(registry, :a, 1)

      update = fn value ->
        Registry.unregister(registry, :a)
        value + 1
      end

      assert Registry.update_value(registry, :a, update) == :error
      assert Registry.lookup(registry, :a) == []
    end

    @tag keys: :duplicate
    test "is refused for duplicate keys", %{registry: registry} do
      message = "Kantoku.Registry.update_value/3 is not supported for duplicate registries"
      assert_raise ArgumentError, message, fn -> Registry.update_value(registry, :a, & &1) end
    end
  end

  describe "dispatch" do
    @describetag keys: :duplicate, options: [partitions: 4]

    test "calls back once for each partition with its entries", %{registry: registry} do
      owners = for n <- 1..30, do: owner(registry, :a, n)
      me = self()

      for parallel <- [false, true] do
        Registry.dispatch(registry, :a, {__MODULE__, :forward, [me]}, parallel: parallel)
        groups = for _ <- 1..4, do: assert_receive({:entries, _entries, _from})
        assert groups |> Enum.flat_map(&elem(&1, 1)) |> Enum.sort() == Enum.sort(Enum.zip(owners, 1..30))
        for {_, _, from} <- groups, do: assert(from == me != parallel)
        refute_received {:entries, _, _}
      end
    end

    test "in parallel fails as a whole, and leaves no exit behind when it does not", %{registry: registry} do
      Process.flag(:trap_exit, true)
      for n <- 1..20, do: owner(registry, :a, n)
      Registry.dispatch(registry, :a, fn _ -> :ok end, parallel: true)
      refute_received {:EXIT, _, _}
      assert catch_exit(Registry.dispatch(registry, :a, fn _ -> exit(:no) end, parallel: true))
    end

    def forward(entries, to), do: send(to, {:entries, entries, self()})
  end

  describe "lock" do
    test "is held by one at a time, whoever dies meanwhile", %{registry: registry} do
      inside = :atomics.new(1, [])

      workers =
        for n <- 1..40 do
          owner = TestOwner.start()
          {n, owner, Task.async(fn -> catch_exit(TestOwner.run(owner, fn -> locked(registry, inside, n) end)) end)}
        end

      for {n, owner, _task} <- workers, rem(n, 4) == 0, do: TestOwner.kill(owner)

      for {n, _owner, task} <- workers do
        assert Task.await(task) == :normal or rem(n, 4) == 0
      end

      assert Registry.lock(registry, :key, fn -> :free end) == :free
    end

    # The one inside must find itself alone.
    defp locked(registry, inside, n) do
      Registry.lock(registry, :key, fn ->
        :atomics.put(inside, 1, n)
        :erlang.yield()
        if :atomics.get(inside, 1) != n, do: exit(:not_alone)
      end)

      exit(:normal)
    end
  end

  describe "metadata" do
    @tag options: [meta: [a: 1]]
    test "does not clash with what the registry keeps", %{registry: registry} do
      assert Registry.meta(registry, :a) == {:ok, 1}
      for key <- [:keys, nil, {:a, 1}], do: assert(Registry.put_meta(registry, key, key) == :ok)
      for key <- [:keys, nil, {:a, 1}], do: assert(Registry.meta(registry, key) == {:ok, key})
      assert Registry.delete_meta(registry, nil) == :ok
      assert Registry.meta(registry, nil) == :error
      assert_raise FunctionClauseError, fn -> Registry.put_meta(registry, 0, :not_a_partition) end
    end
  end

  describe "via" do
    test "starts, finds, calls and stops", %{registry: registry} do
      name = {:via, Registry, {registry, "n", :value}}
      {:ok, agent} = Agent.start_link(fn -> 1 end, name: name)
      assert {:error, {:already_started, ^agent}} = Agent.start_link(fn -> 1 end, name: name)
      assert Registry.lookup(registry, "n") == [{agent, :value}]
      assert Agent.get(name, & &1) == 1
      Agent.stop(name)
      assert Registry.whereis_name({registry, "n"}) == :undefined
      assert catch_exit(Agent.get(name, & &1)) |> elem(0) == :noproc
      assert_raise ArgumentError, fn -> Registry.send({registry, "n"}, :hello) end
    end
  end
end

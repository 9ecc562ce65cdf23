import Kantoku.EachEngine

alias Kantoku.{Entry, Registry, TestOwner}

each_engine Kantoku.Registry.EntriesTest do
  setup %{test: test} = context do
    registry = :"#{test}_#{@engine}"
    keys = Map.get(context, :keys, :unique)
    start_supervised!({Registry, name: registry, keys: keys, engine: @engine})
    %{registry: registry}
  end

  defp agent(registry, key, changes \\ []) do
    owner = TestOwner.start(fn -> Registry.register(registry, key, {:value, key}) end)
    :ok = Registry.describe(registry, key, changes)
    owner
  end

  defp entry!(registry, key) do
    {:ok, entry} = Registry.entry(registry, key)
    entry
  end

  defp keys(registry, criteria), do: registry |> Registry.find([return: :keys] ++ criteria) |> Enum.sort()

  describe "an entry" do
    test "has what registration gave, until it is described", %{registry: registry} do
      Registry.register(registry, "ada", 1)
      assert {:ok, entry} = Registry.entry(registry, "ada")
      me = self()
      here = node()
      assert %Entry{key: "ada", pid: ^me, value: 1, load: 0, started_at: nil, node: ^here, tags: []} = entry
      assert entry.incarnation > 0
      assert Registry.find(registry, []) == []
    end

    test "keeps what a change does not name", %{registry: registry} do
      before = System.system_time(:millisecond)
      agent(registry, "ada", type: Writer, tags: ["gpu", :fast, "gpu"], capabilities: [:write])
      assert Registry.describe(registry, "ada", status: :busy, region: "eu") == :ok
      assert Registry.describe(registry, "ada", %{metadata: %{"t" => 7}, tags: []}) == :ok
      {:ok, entry} = Registry.entry(registry, "ada")

      assert %{type: Writer, tags: [], capabilities: [:write], status: :busy, region: "eu", metadata: %{"t" => 7}} =
               entry

      assert entry.started_at in before..System.system_time(:millisecond)
      assert entry.node == node()
    end

    test "drops repeated tags and keeps their order", %{registry: registry} do
      agent(registry, "ada", tags: ["b", :a, "b"])
      assert {:ok, %{tags: ["b", :a]}} = Registry.entry(registry, "ada")
    end

    test "is gone with its owner, and its successor is another", %{registry: registry} do
      owner = agent(registry, "ada", tags: ["gpu"])
      {:ok, first} = Registry.entry(registry, "ada")
      TestOwner.kill(owner)
      assert Registry.entry(registry, "ada") == :error
      assert Registry.describe(registry, "ada", tags: []) == :error
      Registry.register(registry, "ada", 2)
      {:ok, second} = Registry.entry(registry, "ada")
      assert second.incarnation > first.incarnation
      assert second.tags == []
    end

    test "among many that say the same keeps its own start, and loses nothing when the others change or go", %{
      registry: registry
    } do
      owners = for n <- 1..400, do: {n, agent(registry, n, type: Writer, tags: ["gpu"])}
      started = Map.new(1..400, fn n -> {n, entry!(registry, n).started_at} end)
      for {n, owner} <- owners, rem(n, 3) == 0, do: TestOwner.kill(owner)
      for n <- 1..400, rem(n, 3) == 1, do: :ok = Registry.describe(registry, n, status: :busy)

      for n <- 1..400 do
        expected = started[n]

        case rem(n, 3) do
          0 -> assert Registry.entry(registry, n) == :error
          1 -> assert %{started_at: ^expected, tags: ["gpu"], status: :busy} = entry!(registry, n)
          2 -> assert %{started_at: ^expected, tags: ["gpu"], type: Writer, status: nil} = entry!(registry, n)
        end
      end
    end

    test "is not taken for another whose metadata only compares equal", %{registry: registry} do
      values = [0.0, -0.0, 1, 1.0, "1", ~c"1", [[]], %{a: 0.0}, %{a: -0.0}]
      owners = for {value, n} <- Enum.with_index(values), do: agent(registry, n, metadata: %{v: value})

      for {value, n} <- Enum.with_index(values),
          do: assert(spelled(entry!(registry, n).metadata) == spelled(%{v: value}))

      Enum.each(owners, &TestOwner.kill/1)
    end

    defp spelled(term), do: :erlang.term_to_binary(term, minor_version: 2)

    test "loses no change of many made at once", %{registry: registry} do
      agent(registry, "ada")

      1..20
      |> Enum.map(fn n ->
        Task.async(fn -> Registry.describe(registry, "ada", fn entry -> [tags: ["t#{n}" | entry.tags]] end) end)
      end)
      |> Task.await_many()

      {:ok, entry} = Registry.entry(registry, "ada")
      assert Enum.sort(entry.tags) == Enum.sort(for n <- 1..20, do: "t#{n}")
      for n <- 1..20, do: assert(keys(registry, tag: "t#{n}") == ["ada"])
    end

    test "refuses a bad change, saying field, value and what was expected", %{registry: registry} do
      agent(registry, "ada", tags: ["gpu"])

      for {bad, message} <- [
            {[tags: "gpu"],
             ~s(expected :tags to be a list of which each is an atom or a binary of up to 255 bytes, got: "gpu")},
            {[capabilities: [1]], ~r/expected :capabilities to be a list of which each .*, got: \[1\]/},
            {[tags: ["a" | "b"]], ~r/expected :tags to be a list/},
            {[tags: [String.duplicate("x", 256)]], ~r/expected :tags to be a list/},
            {[metadata: []], "expected :metadata to be a map, not a struct, got: []"},
            {[status: "busy"], ~s(expected :status to be an atom, got: "busy")},
            {[type: "Writer"], ~s(expected :type to be a module, got: "Writer")},
            {[region: 1], "expected :region to be an atom or a binary of up to 255 bytes, got: 1"},
            {[node: nil], "expected :node to be a node's name, got: nil"},
            {[load: 1], ~r/unknown field :load \(with 1\) to describe, expected one of \[:type/},
            {:tags, "expected changes to be a keyword list or a map, got: :tags"}
          ] do
        assert_raise ArgumentError, message, fn -> Registry.describe(registry, "ada", bad) end
      end

      assert keys(registry, tag: "gpu") == ["ada"]
    end

    @tag keys: :duplicate
    test "is not to be had under duplicate keys", %{registry: registry} do
      Registry.register(registry, :a, 1)
      message = ~r/entries are not supported for duplicate registries/
      assert_raise ArgumentError, message, fn -> Registry.entry(registry, :a) end
      assert_raise ArgumentError, message, fn -> Registry.describe(registry, :a, tags: []) end
      assert_raise ArgumentError, message, fn -> Registry.load_handle(registry, :a) end
      assert Registry.find(registry, []) == []
    end
  end

  describe "load" do
    test "is set and changed by key and by handle", %{registry: registry} do
      agent(registry, 7)
      assert Registry.add_load(registry, 7, 3) == {:ok, 3}
      {:ok, load} = Registry.load_handle(registry, 7)
      assert Registry.add_load(registry, load, -1) == {:ok, 2}
      assert Registry.set_load(registry, load, 10) == :ok
      assert Registry.set_load(registry, 7, 11) == :ok
      assert {:ok, %{load: 11}} = Registry.entry(registry, 7)
      assert Registry.set_load(registry, :nobody, 1) == :error
      assert Registry.add_load(registry, :nobody, 1) == :error
      assert Registry.load_handle(registry, :nobody) == :error
    end

    test "of an entry that ended is refused, and never its successor's", %{registry: registry} do
      owner = agent(registry, "ada")
      {:ok, load} = Registry.load_handle(registry, "ada")
      TestOwner.run(owner, fn -> Registry.unregister(registry, "ada") end)
      agent(registry, "ada")
      assert Registry.set_load(registry, load, 9) == :error
      assert Registry.add_load(registry, load, 9) == :error
      assert {:ok, %{load: 0}} = Registry.entry(registry, "ada")
    end

    test "describes an entry that was not yet", %{registry: registry} do
      Registry.register(registry, "ada", nil)
      assert Registry.set_load(registry, "ada", 4) == :ok
      assert [%{key: "ada", load: 4}] = Registry.find(registry, return: :entries)
    end

    test "refuses what is no load", %{registry: registry} do
      for bad <- [-1, 1.0, 2 ** 37, nil] do
        message = "expected load to be an integer from 0 to 137438953471, got: #{inspect(bad)}"
        assert_raise ArgumentError, message, fn -> Registry.set_load(registry, "ada", bad) end
      end

      message = "expected the change of load to be an integer from -137438953471 to 137438953471, got: 1.5"
      assert_raise ArgumentError, message, fn -> Registry.add_load(registry, "ada", 1.5) end
    end

    test "stays within its bounds", %{registry: registry} do
      agent(registry, "ada")
      assert Registry.set_load(registry, "ada", 2 ** 37 - 1) == :ok
      assert Registry.add_load(registry, "ada", 2 ** 37 - 1) == {:ok, 2 ** 37 - 1}
      assert Registry.add_load(registry, "ada", 1 - 2 ** 37) == {:ok, 0}
      assert Registry.add_load(registry, "ada", -1) == {:ok, 0}
    end
  end

  describe "find" do
    setup %{registry: registry} do
      agent(registry, "ada",
        type: Writer,
        tags: ["gpu", "eu"],
        capabilities: [:write],
        status: :idle,
        region: "eu",
        metadata: %{"plan" => "pro", tenant: 1, limits: {10, 20}}
      )

      agent(registry, "bob",
        type: Writer,
        tags: ["gpu"],
        capabilities: [:write, :read],
        status: :busy,
        metadata: %{tenant: 2}
      )

      agent(registry, "cyd", type: Reader, tags: ["eu", :new], status: :idle, region: :us, metadata: %{tenant: 1.0})
      agent(registry, "dee", metadata: %{limits: {10, 20}, tenant: 1})
      :ok
    end

    test "takes each criterion, and their conjunction", %{registry: registry} do
      for {criteria, expected} <- [
            {[], ["ada", "bob", "cyd", "dee"]},
            {[type: Writer], ["ada", "bob"]},
            {[tag: "gpu"], ["ada", "bob"]},
            {[tags: ["gpu", "eu"]], ["ada"]},
            {[tags: []], ["ada", "bob", "cyd", "dee"]},
            {[tag: "gpu", tag: "eu"], ["ada"]},
            {[capability: :read], ["bob"]},
            {[capabilities: [:read, :write]], ["bob"]},
            {[status: :idle], ["ada", "cyd"]},
            {[status: :idle, type: Writer], ["ada"]},
            {[region: "eu"], ["ada"]},
            {[region: :us], ["cyd"]},
            {[region: :eu], []},
            {[node: node()], ["ada", "bob", "cyd", "dee"]},
            {[node: :elsewhere@host], []},
            {[metadata: %{tenant: 1}], ["ada", "dee"]},
            {[metadata: %{"plan" => "pro", tenant: 1}], ["ada"]},
            {[metadata: %{tenant: 1.0}], ["cyd"]},
            {[metadata: %{limits: {10, 20}}], ["ada", "dee"]},
            {[metadata: %{limits: {10, 20}}, tag: "gpu"], ["ada"]},
            {[metadata: %{limits: {10, 20.0}}], []},
            {[metadata: %{other: nil}], []},
            {[any: [tags: ["gpu", :new]]], ["ada", "bob", "cyd"]},
            {[any: [tags: ["gpu", :new], status: [:idle]]], ["ada", "cyd"]},
            {[any: [tags: ["gpu", "eu"]], any: [type: [Reader, Other]]], ["cyd"]},
            {[any: [metadata: %{"plan" => "pro", tenant: 2}]], ["ada", "bob"]},
            {[any: [tags: []]], []},
            {[not: [tag: "gpu"]], ["cyd", "dee"]},
            {[not: [tags: ["gpu", :new]]], ["dee"]},
            {[not: [status: [:idle, :busy]]], ["dee"]},
            {[not: [metadata: %{tenant: 1}]], ["bob", "cyd"]},
            {[not: [metadata: %{limits: {10, 20}}]], ["bob", "cyd"]},
            {[tag: "eu", not: [type: Writer], any: [status: [:idle, :busy]]], ["cyd"]}
          ] do
        assert {criteria, keys(registry, criteria)} == {criteria, expected}
        assert {criteria, Registry.count(registry, criteria)} == {criteria, length(expected)}
      end
    end

    test "answers in the shape asked for", %{registry: registry} do
      pid = Registry.whereis_name({registry, "bob"})

      for extra <- [[], [metadata: %{tenant: 2}], [not: [metadata: %{limits: {10, 20}}], status: :busy]] do
        criteria = [capability: :read] ++ extra
        assert Registry.find(registry, criteria) == [{"bob", pid}]
        assert Registry.find(registry, [return: :pairs] ++ criteria) == [{"bob", pid}]
        assert Registry.find(registry, [return: :pids] ++ criteria) == [pid]
        assert Registry.find(registry, [return: :keys] ++ criteria) == ["bob"]
        assert [%Entry{key: "bob", value: {:value, "bob"}}] = Registry.find(registry, [return: :entries] ++ criteria)
      end
    end

    test "keeps order and limit, also after what the index cannot answer", %{registry: registry} do
      for {key, load} <- [{"ada", 9}, {"bob", 1}, {"cyd", 5}, {"dee", 3}],
          do: :ok = Registry.set_load(registry, key, load)

      assert Registry.find(registry, order_by: :load, return: :keys) == ["bob", "dee", "cyd", "ada"]
      assert Registry.find(registry, order_by: :started_at, limit: 2, return: :keys) == ["ada", "bob"]
      limits = [metadata: %{limits: {10, 20}}, return: :keys]
      assert Registry.find(registry, [order_by: :load, limit: 1] ++ limits) == ["dee"]
      assert Registry.find(registry, [order_by: :load] ++ limits) == ["dee", "ada"]
      assert Registry.count(registry, [limit: 1] ++ limits) == 2
      assert registry |> Registry.find(order_by: :random, limit: 3) |> length() == 3
    end

    test "refuses bad criteria, saying key, value and what was expected", %{registry: registry} do
      for {bad, message} <- [
            {[tgas: ["x"]], ~r/unknown criterion :tgas \(with \["x"\]\), expected one of \[:any, :capabilities/},
            {[tag: 1], "expected :tag to be an atom or a binary of up to 255 bytes, got: 1"},
            {[tags: "x"], ~s(expected :tags to be a list, got: "x")},
            {[tags: ["x" | "y"]], ~r/expected :tags to be a list/},
            {[type: nil], "expected :type to be an atom other than nil, got: nil"},
            {[status: "idle"], ~s(expected :status to be an atom other than nil, got: "idle")},
            {[metadata: [a: 1]], "expected :metadata to be a map, not a struct, got: [a: 1]"},
            {[any: ["x"]], ~s(expected :any to be a keyword list as [tags: [...]], got: ["x"])},
            {[any: [tgas: 1]], ~r/unknown criterion :tgas \(with 1\)/},
            {[any: [metadata: %{a: 1.5}]], ~r/expected metadata :a within :any to be an atom, an integer.*got: 1.5/},
            {[not: [limit: 1]], ~r/unknown criterion :limit \(with 1\)/},
            {[order_by: :age], "expected :order_by to be one of [:load, :started_at, :random], got: :age"},
            {[limit: -1], "expected :limit to be a non-negative integer or :infinity, got: -1"},
            {[return: :all], "expected :return to be one of [:pairs, :pids, :keys, :entries], got: :all"},
            {%{tag: "x"}, ~s(expected criteria to be a keyword list, got: %{tag: "x"})}
          ] do
        assert_raise ArgumentError, message, fn -> Registry.find(registry, bad) end
        assert_raise ArgumentError, message, fn -> Registry.count(registry, bad) end
        assert_raise ArgumentError, message, fn -> Registry.watch(registry, bad) end
      end
    end
  end

  describe "watch" do
    test "answers entries, then tells what changes", %{registry: registry} do
      agent(registry, "ada", tags: ["gpu"])
      {:ok, ref, [%Entry{key: "ada"}]} = Registry.watch(registry, tag: "gpu")
      bob = agent(registry, "bob", tags: ["gpu"])
      assert {:join, ^ref, %Entry{key: "bob", pid: ^bob, tags: ["gpu"]}} = next()
      :ok = Registry.describe(registry, "bob", status: :busy)
      assert {:change, ^ref, %Entry{key: "bob", status: :busy, incarnation: incarnation}} = next()
      TestOwner.kill(bob)
      assert {:leave, ^ref, {"bob", ^bob, ^incarnation}} = next()
      agent(registry, "cyd", tags: ["gpu"])
      assert Registry.unwatch(registry, ref) == :ok
      refute_received {:kantoku_watch, _, _, _}
    end

    test "is over when unwatch has answered: nothing is on its way any more", %{registry: registry} do
      agent(registry, "ada", tags: ["gpu"])

      for n <- 1..200 do
        {:ok, ref, _} = Registry.watch(registry, tag: "gpu")
        :ok = Registry.describe(registry, "ada", metadata: %{n: n})
        assert Registry.unwatch(registry, ref) == :ok
      end

      refute_receive {:kantoku_watch, _, _, _}, 100
      refute_received {:kantoku_watch, _, :end}
    end

    test "refuses what only a query can have", %{registry: registry} do
      assert_raise ArgumentError, "expected :limit to be left out of a watch, got: 1", fn ->
        Registry.watch(registry, limit: 1)
      end

      assert_raise ArgumentError, ~r/expected metadata :a of a watch to be an atom/, fn ->
        Registry.watch(registry, metadata: %{a: {1, 2}})
      end
    end

    defp next do
      receive do
        message -> Entry.from_watch(message)
      after
        5_000 -> flunk("a message of the watch expected")
      end
    end
  end
end

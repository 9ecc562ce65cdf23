import Kantoku.EachEngine

alias Kantoku.{Engine, TestOwner}

each_engine Kantoku.Engine.EntriesTest do
  setup %{test: test} do
    instance = :"#{test}_#{@engine}"
    holder = TestOwner.start()
    :ok = TestOwner.run(holder, fn -> Engine.open(instance, :unique, 1, [], @engine) end)
    seat = TestOwner.start(fn -> Engine.seat(instance, 0, self()) end)
    on_exit(fn -> Engine.close(instance) end)
    %{instance: instance, seat: seat}
  end

  defp query(all, opts \\ []) do
    {all, opts[:any] || [], opts[:none] || [], opts[:order] || :none, opts[:limit] || :infinity}
  end

  defp described(instance, key, facets, owner \\ TestOwner.start()) do
    {:ok, _incarnation} = Engine.claim(instance, key, owner, nil)
    {:ok, 1, handle} = Engine.describe(instance, key, owner, 0, %{facets: facets}, facets)
    {owner, handle}
  end

  defp keys(instance, query), do: instance |> Engine.find_pids(query) |> Enum.map(&elem(&1, 0)) |> Enum.sort()

  describe "describe" do
    test "writes against the version it was given", %{instance: instance} do
      {:ok, incarnation} = Engine.claim(instance, :a, self(), :v)
      assert Engine.entry(instance, :a) == {{:a, self(), :v, %{}, 0, incarnation}, 0, nil}
      assert {:ok, 1, handle} = Engine.describe(instance, :a, self(), 0, %{n: 1}, [{:tag, :x}])
      assert Engine.describe(instance, :a, self(), 0, %{n: 2}, []) == {:stale, 1}
      assert {:ok, 2, ^handle} = Engine.describe(instance, :a, self(), 1, %{n: 2}, [{:tag, :y}])
      assert Engine.entry(instance, :a) == {{:a, self(), :v, %{n: 2}, 0, incarnation}, 2, handle}
      assert keys(instance, query([{:tag, :x}])) == []
      assert keys(instance, query([{:tag, :y}])) == [:a]
    end

    test "is for who holds the key, and lives", %{instance: instance} do
      owner = TestOwner.start()
      {:ok, _} = Engine.claim(instance, :a, owner, nil)
      assert Engine.describe(instance, :a, self(), 0, %{}, []) == :none
      assert Engine.describe(instance, :b, owner, 0, %{}, []) == :none
      TestOwner.kill(owner)
      assert Engine.describe(instance, :a, owner, 0, %{}, []) == :none
    end

    test "ends with the registration: a successor starts undescribed", %{instance: instance} do
      {owner, handle} = described(instance, :a, [{:tag, :x}])
      assert Engine.set_load(instance, handle, 5)
      {:link, _seat} = Engine.take_over(instance, :a, :new, owner)
      assert {{:a, _pid, :new, attributes, 0, _incarnation}, 0, nil} = Engine.entry(instance, :a)
      assert attributes == %{}
      assert Engine.count(instance, query([])) == 0
      refute Engine.set_load(instance, handle, 6)
      assert Engine.add_load(instance, handle, 1) == false
    end
  end

  describe "introduce" do
    test "names and describes in one step, and a watch hears of one join", %{instance: instance} do
      owner = TestOwner.start()
      {:ok, ref, []} = Engine.watch(instance, query([{:tag, :x}]), self())
      assert {:ok, incarnation} = Engine.introduce(instance, :a, owner, :v, %{n: 1}, [{:tag, :x}])
      assert {{:a, ^owner, :v, %{n: 1}, 0, ^incarnation}, 1, handle} = Engine.entry(instance, :a)
      assert Engine.set_load(instance, handle, 3)
      assert keys(instance, query([{:tag, :x}])) == [:a]
      assert_receive {:kantoku_watch, ^ref, :join, {:a, ^owner, :v, %{n: 1}, 0, ^incarnation}}
      TestOwner.kill(owner)
      assert_receive {:kantoku_watch, ^ref, :leave, {:a, ^owner, ^incarnation}}
      refute_received {:kantoku_watch, ^ref, _event, _what}
    end

    test "leaves a live holder as it is, and takes a dead one's place", %{instance: instance} do
      {owner, _handle} = described(instance, :a, [{:tag, :x}])
      other = TestOwner.start()
      assert Engine.introduce(instance, :a, other, nil, %{}, [{:tag, :y}]) == {:error, {:already_registered, owner}}
      assert keys(instance, query([{:tag, :x}])) == [:a]
      TestOwner.kill(owner)
      assert {:ok, _incarnation} = Engine.introduce(instance, :a, other, nil, %{}, [{:tag, :y}])
      assert {keys(instance, query([{:tag, :x}])), keys(instance, query([{:tag, :y}]))} == {[], [:a]}
    end

    test "does not name the dead", %{instance: instance} do
      owner = TestOwner.start()
      TestOwner.kill(owner)
      assert Engine.introduce(instance, :a, owner, nil, %{}, [{:tag, :x}]) == {:error, :noproc}
      assert Engine.entry(instance, :a) == :none
      assert Engine.count(instance, query([])) == 0
    end
  end

  describe "load" do
    test "is counted by all at once, and never falls below 0", %{instance: instance} do
      {_owner, handle} = described(instance, :a, [])

      count = fn -> for _ <- 1..500, do: {:ok, _} = Engine.add_load(instance, handle, 1) end
      for(_ <- 1..8, do: Task.async(count)) |> Task.await_many()

      assert Engine.add_load(instance, handle, -1) == {:ok, 3999}
      assert Engine.set_load(instance, handle, 2)
      assert Engine.add_load(instance, handle, -5) == {:ok, 0}
      assert Engine.add_load(instance, handle, 3) == {:ok, 3}
      assert {{:a, _, _, _, 3, _}, 1, ^handle} = Engine.entry(instance, :a)
    end

    test "survives a new description", %{instance: instance} do
      {owner, handle} = described(instance, :a, [])
      Engine.set_load(instance, handle, 7)
      {:ok, 2, ^handle} = Engine.describe(instance, :a, owner, 1, %{}, [{:tag, :x}])
      assert [{:a, ^owner, nil, _, 7, _}] = Engine.find(instance, query([{:tag, :x}]))
    end
  end

  describe "a query" do
    setup %{instance: instance} do
      described(instance, 1, [{:tag, "a"}, {:status, :idle}, {{:metadata, :n}, 1}])
      described(instance, 2, [{:tag, "a"}, {:tag, "b"}, {:status, :busy}, {{:metadata, :n}, 2}])
      described(instance, 3, [{:tag, "b"}, {:tag, "c"}, {:status, :idle}, {{:metadata, "n"}, 1}])
      described(instance, 4, [])
      {:ok, _} = Engine.claim(instance, :undescribed, self(), nil)
      :ok
    end

    test "names what has all, one of each choice and none of the rest", %{instance: instance} do
      assert keys(instance, query([])) == [1, 2, 3, 4]
      assert keys(instance, query([{:tag, "a"}])) == [1, 2]
      assert keys(instance, query([{:tag, "a"}, {:tag, "b"}])) == [2]
      assert keys(instance, query([{:tag, "z"}])) == []
      assert keys(instance, query([{:tag, "a"}, {:tag, "z"}])) == []
      assert keys(instance, query([], any: [[{:tag, "a"}, {:tag, "c"}]])) == [1, 2, 3]
      assert keys(instance, query([], any: [[{:tag, "a"}, {:tag, "c"}], [{:status, :idle}]])) == [1, 3]
      assert keys(instance, query([], any: [[]])) == []
      assert keys(instance, query([], none: [{:tag, "b"}])) == [1, 4]
      assert keys(instance, query([{:status, :idle}], none: [{:tag, "c"}])) == [1]
      assert keys(instance, query([{{:metadata, :n}, 1}])) == [1]
      assert keys(instance, query([{{:metadata, "n"}, 1}])) == [3]

      for q <- [query([]), query([{:tag, "a"}], limit: 1)],
          do: assert(Engine.count(instance, q) == length(keys(instance, put_elem(q, 4, :infinity))))
    end

    test "takes atoms that mean something in match patterns as they are", %{instance: instance} do
      described(instance, :_, [{:tag, :_}, {:tag, :"$1"}])
      assert keys(instance, query([{:tag, :_}])) == [:_]
      assert keys(instance, query([{:tag, :"$1"}])) == [:_]
      assert keys(instance, query([{:tag, :"$2"}])) == []
    end

    test "keeps the order asked for, up to the limit", %{instance: instance} do
      for {key, load} <- [{1, 30}, {2, 10}, {3, 20}, {4, 0}] do
        {_record, _version, handle} = Engine.entry(instance, key)
        assert Engine.set_load(instance, handle, load)
      end

      in_order = fn opts -> for {key, _pid} <- Engine.find_pids(instance, query([], opts)), do: key end
      assert in_order.(order: :load) == [4, 2, 3, 1]
      assert in_order.(order: :load, limit: 2) == [4, 2]
      assert in_order.(order: :started_at) == [1, 2, 3, 4]
      assert in_order.(order: :started_at, limit: 3) == [1, 2, 3]
      assert length(in_order.(limit: 3)) == 3
      assert in_order.(limit: 0) == []
      assert Enum.sort(in_order.(order: :random)) == [1, 2, 3, 4]
      firsts = for _ <- 1..200, do: in_order.(order: :random, limit: 1)
      assert firsts |> Enum.uniq() |> Enum.sort() == [[1], [2], [3], [4]]
    end

    test "never shows a dead owner", %{instance: instance} do
      for n <- 1..100 do
        {owner, _handle} = described(instance, {:mortal, n}, [{:tag, :mortal}])
        TestOwner.kill(owner)
        assert Engine.find(instance, query([{:tag, :mortal}])) == []
        assert Engine.find_pids(instance, query([{:tag, :mortal}], order: :load, limit: 1)) == []
        assert Engine.count(instance, query([{:tag, :mortal}])) == 0
      end

      assert keys(instance, query([])) == [1, 2, 3, 4]
    end

    test "sees a change from one facet to another as one step", %{instance: instance} do
      {owner, _handle} = described(instance, :turns, [{:tag, :left}])

      turner =
        Task.async(fn ->
          for version <- 1..2_000 do
            side = if rem(version, 2) == 0, do: :left, else: :right
            {:ok, _, _} = Engine.describe(instance, :turns, owner, version, %{}, [{:tag, side}])
          end
        end)

      seen =
        for _ <- 1..500 do
          {Engine.count(instance, query([], any: [[{:tag, :left}, {:tag, :right}]])),
           Engine.count(instance, query([{:tag, :left}, {:tag, :right}]))}
        end

      Task.await(turner)
      assert Enum.uniq(seen) == [{1, 0}]
    end
  end

  describe "a watch" do
    test "tells of joins, changes and leaves", %{instance: instance} do
      {:ok, ref, []} = Engine.watch(instance, query([{:tag, :x}]), self())
      {owner, handle} = described(instance, :a, [{:tag, :x}])
      {:ok, 2, _} = Engine.describe(instance, :a, owner, 1, %{n: 2}, [{:tag, :x}, {:tag, :y}])
      assert Engine.set_load(instance, handle, 5)
      {:ok, 3, _} = Engine.describe(instance, :a, owner, 2, %{n: 3}, [])
      {:ok, 4, _} = Engine.describe(instance, :a, owner, 3, %{n: 4}, [{:tag, :x}])
      Engine.disclaim(instance, :a, owner)

      assert [
               {:join, {:a, ^owner, nil, %{facets: _}, 0, incarnation}},
               {:change, {:a, ^owner, nil, %{n: 2}, _, incarnation}},
               {:leave, {:a, ^owner, incarnation}},
               {:join, {:a, ^owner, nil, %{n: 4}, 5, incarnation}},
               {:leave, {:a, ^owner, incarnation}}
             ] = events(ref, 5)

      if Engine.unwatch(instance, ref) == :pending, do: assert_receive({:kantoku_watch, ^ref, :end})
      assert Engine.unwatch(instance, ref) == :ok
      described(instance, :b, [{:tag, :x}])
      refute_received {:kantoku_watch, ^ref, _, _}
    end

    test "answers what is there, and tells when it dies or is succeeded", %{instance: instance} do
      {first, _} = described(instance, :a, [{:tag, :x}])
      {second, _} = described(instance, :b, [{:tag, :x}])
      {:ok, ref, records} = Engine.watch(instance, query([{:tag, :x}]), self())
      assert Enum.sort(for {key, pid, _, _, _, _} <- records, do: {key, pid}) == [{:a, first}, {:b, second}]
      TestOwner.kill(first)
      assert [{:leave, {:a, ^first, _}}] = events(ref, 1)
      Engine.take_over(instance, :b, nil, second)
      assert [{:leave, {:b, ^second, _}}] = events(ref, 1)
    end

    test "does not tell of one that was dead before it began", %{instance: instance} do
      for n <- 1..100 do
        {owner, _} = described(instance, n, [{:tag, :x}])
        TestOwner.kill(owner)
        {:ok, ref, []} = Engine.watch(instance, query([{:tag, :x}]), self())
        described(instance, {:marker, n}, [{:tag, :x}])
        assert [{:join, {{:marker, ^n}, marker, _, _, _, _}}] = events(ref, 1)
        Engine.unwatch(instance, ref)
        Engine.disclaim(instance, {:marker, n}, marker)
      end
    end

    test "has no gap and nothing twice, whenever it begins", %{instance: instance} do
      owners = for worker <- 1..3, do: {worker, for(n <- 1..150, do: {n, TestOwner.start()})}
      churn = for {worker, owners} <- owners, do: Task.async(fn -> Enum.each(owners, &churn(instance, worker, &1)) end)

      watches =
        for _ <- 1..5 do
          {:ok, ref, records} = Engine.watch(instance, query([{:tag, :x}]), self())
          {ref, for({_, _, _, _, _, incarnation} <- records, into: MapSet.new(), do: incarnation)}
        end

      Task.await_many(churn)
      described(instance, :last, [{:tag, :x}])
      {{:last, _, _, _, _, last}, 1, _handle} = Engine.entry(instance, :last)
      expected = for {_, _, _, _, _, i} <- Engine.find(instance, query([{:tag, :x}])), into: MapSet.new(), do: i
      assert MapSet.size(expected) == 151

      for {ref, start} <- watches do
        assert follow(ref, start, fn members -> last in members and MapSet.equal?(members, expected) end)
        refute_received {:kantoku_watch, ^ref, _, _}
      end
    end

    defp churn(instance, worker, {n, owner}) do
      described(instance, {worker, n}, [{:tag, :x}], owner)

      case rem(n, 3) do
        0 -> TestOwner.kill(owner)
        1 -> Engine.disclaim(instance, {worker, n}, owner)
        2 -> :stays
      end
    end

    test "ends with its watcher", %{instance: instance} do
      watcher = TestOwner.start()
      {:ok, _ref, []} = Engine.watch(instance, query([]), watcher)
      TestOwner.kill(watcher)
      {:ok, ref, []} = Engine.watch(instance, query([]), self())
      described(instance, :a, [])
      assert [{:join, _}] = events(ref, 1)
    end

    defp events(_ref, 0), do: []

    defp events(ref, n) do
      receive do
        {:kantoku_watch, ^ref, event, what} -> [{event, what} | events(ref, n - 1)]
      after
        5_000 -> flunk("#{n} more events of the watch expected")
      end
    end

    # Applies a watch's messages until its members are those expected; a double join or an unknown leave fails.
    defp follow(ref, members, done?) do
      done?.(members) or follow(ref, ref |> events(1) |> apply_event(members), done?)
    end

    defp apply_event([{:join, {_, _, _, _, _, incarnation}}], members) do
      refute incarnation in members
      MapSet.put(members, incarnation)
    end

    defp apply_event([{:leave, {_, _, incarnation}}], members) do
      assert incarnation in members
      MapSet.delete(members, incarnation)
    end
  end
end

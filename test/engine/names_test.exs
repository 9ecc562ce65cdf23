import Kantoku.EachEngine

alias Kantoku.{Engine, TestOwner}

each_engine Kantoku.Engine.NamesTest do
  setup %{test: test} = context do
    instance = :"#{test}_#{@engine}"
    holder = TestOwner.start()
    keys = Map.get(context, :keys, :unique)
    :ok = TestOwner.run(holder, fn -> Engine.open(instance, keys, 1, Map.get(context, :listeners, []), @engine) end)
    seat = TestOwner.start(fn -> Engine.seat(instance, 0, self()) end)
    on_exit(fn -> Engine.close(instance) end)
    %{instance: instance, holder: holder, seat: seat}
  end

  defp owner(instance, key, value \\ nil) do
    owner = TestOwner.start()
    {_done, _seat} = TestOwner.run(owner, fn -> Engine.register(instance, key, value) end)
    owner
  end

  defp slices(instance, cursor \\ 0, limit \\ 1_000)
  defp slices(_instance, :done, _limit), do: []

  defp slices(instance, cursor, limit) do
    {entries, next} = Engine.slice(instance, cursor, limit)
    entries ++ slices(instance, next, limit)
  end

  defp count(instance, cursor \\ 0)
  defp count(_instance, :done), do: 0

  defp count(instance, cursor) do
    {count, next} = Engine.count_slice(instance, cursor, 1_000)
    count + count(instance, next)
  end

  describe "an instance" do
    test "is kept by the engine it was opened in", %{instance: instance} do
      assert Engine.kind(instance) == @engine
    end

    test "is refused to a second holder while the first lives", %{instance: instance, holder: holder} do
      for engine <- engines() do
        assert Engine.open(instance, :unique, 1, [], engine) == {:error, {:already_started, holder}}
      end
    end

    test "is unknown when its holder is dead, and free for another", %{instance: instance, holder: holder} do
      owner(instance, :a)
      TestOwner.kill(holder)
      TestOwner.eventually(fn -> Engine.whereis(instance, :a) == :unknown end)
      assert Engine.open(instance, :unique, 1, [], @engine) == :ok
      assert Engine.whereis(instance, :a) == :undefined
    end

    test "can be taken over at once from a dead holder", %{instance: instance, holder: holder} do
      owner(instance, :a)
      TestOwner.kill(holder)
      assert Engine.open(instance, :duplicate, 1, [], @engine) == :ok
      assert Engine.lookup(instance, :a) == []
    end

    test "answers :unknown to everything once it is closed", %{instance: instance} do
      assert Engine.close(instance) == :ok
      assert Engine.close(instance) == :ok
      query = {[], [], [], :none, :infinity}

      answers = [
        Engine.seat(instance, 0, self()),
        Engine.register(instance, :a, 1),
        Engine.take_over(instance, :a, 1, self()),
        Engine.claim(instance, :a, self(), 1),
        Engine.disclaim(instance, :a, self()),
        Engine.unregister(instance, :a),
        Engine.unregister(instance, :a, [1]),
        Engine.whereis(instance, :a),
        Engine.lookup(instance, :a),
        Engine.keys(instance, self()),
        Engine.own(instance, :a, self()),
        Engine.put_value(instance, :a, 1, 1),
        Engine.slice(instance, 0, 10),
        Engine.count_slice(instance, 0, 10),
        Engine.describe(instance, :a, self(), 0, %{}, []),
        Engine.entry(instance, :a),
        Engine.set_load(instance, 1, 1),
        Engine.add_load(instance, 1, 1),
        Engine.find(instance, query),
        Engine.find_pids(instance, query),
        Engine.count(instance, query),
        Engine.watch(instance, query, self()),
        Engine.unwatch(instance, make_ref()),
        Engine.kind(instance)
      ]

      assert Enum.uniq(answers) == [:unknown]
    end

    test "has nothing to do with another of other name", %{instance: instance} do
      other = :"#{instance}_other"
      :ok = Engine.open(other, :unique, 1, [], @engine)
      owner(instance, :a)
      assert Engine.whereis(other, :a) == :undefined
      Engine.close(other)
      assert is_pid(Engine.whereis(instance, :a))
    end
  end

  describe "a unique name" do
    test "asks for a link with the first entry only, and to unlink with the last", %{instance: instance, seat: seat} do
      assert Engine.register(instance, :a, 1) == {:link, seat}
      assert Engine.register(instance, :b, 1) == {:ok, seat}
      assert Engine.unregister(instance, :a) == :ok
      assert Engine.unregister(instance, :b) == {:unlink, seat}
      assert Engine.register(instance, :a, 1) == {:link, seat}
    end

    test "is refused while its holder lives", %{instance: instance} do
      holder = owner(instance, :a)
      assert Engine.register(instance, :a, 1) == {:error, {:already_registered, holder}}
      assert Engine.claim(instance, :a, self(), 1) == {:error, {:already_registered, holder}}
      assert Engine.whereis(instance, :a) == holder
    end

    test "is free the moment its holder is dead", %{instance: instance} do
      for round <- 1..200 do
        holder = owner(instance, :a, round)
        TestOwner.kill(holder)
        assert Engine.whereis(instance, :a) == :undefined
        assert Engine.lookup(instance, :a) == []
        assert Engine.keys(instance, holder) == []
        assert Engine.own(instance, :a, holder) == []
        assert Engine.entry(instance, :a) == :none
        assert slices(instance) == []
        assert {_done, _seat} = Engine.register(instance, :a, round)
        assert Engine.whereis(instance, :a) == self()
        Engine.unregister(instance, :a)
      end
    end

    test "stays with its successor when the first one's clean-up comes late", %{instance: instance} do
      for _round <- 1..200 do
        first = owner(instance, :a)
        for n <- 1..20, do: TestOwner.run(first, fn -> Engine.register(instance, {:other, n}, nil) end)
        TestOwner.kill(first)
        second = owner(instance, :a)
        TestOwner.eventually(fn -> count(instance) == 1 end)
        assert Engine.whereis(instance, :a) == second
        TestOwner.kill(second)
      end
    end

    test "is given back by unregister only by who holds it", %{instance: instance} do
      holder = owner(instance, :a)
      Engine.unregister(instance, :a)
      assert Engine.whereis(instance, :a) == holder
    end

    test "is held by one of many who ask at once", %{instance: instance} do
      for round <- 1..50 do
        owners = for _ <- 1..8, do: TestOwner.start()

        results =
          owners
          |> Enum.map(
            &Task.async(fn -> TestOwner.run(&1, fn -> Engine.register(instance, {:race, round}, nil) end) end)
          )
          |> Task.await_many()

        assert Enum.count(results, &match?({:error, {:already_registered, _}}, &1)) == 7
        assert Engine.whereis(instance, {:race, round}) in owners
      end
    end
  end

  describe "take over" do
    test "passes a name on in one step and leaves the other entries", %{instance: instance, seat: seat} do
      old = owner(instance, :a, 1)
      TestOwner.run(old, fn -> Engine.register(instance, :b, 1) end)
      assert Engine.take_over(instance, :a, 2, old) == {:link, seat}
      assert Engine.lookup(instance, :a) == [{self(), 2}]
      assert Engine.keys(instance, old) == [:b]
      assert Engine.keys(instance, self()) == [:a]
      TestOwner.kill(old)
      TestOwner.eventually(fn -> count(instance) == 1 end)
      assert Engine.whereis(instance, :a) == self()
    end

    test "is refused if someone else holds the name by then", %{instance: instance} do
      old = owner(instance, :a)
      assert Engine.take_over(instance, :a, 2, self()) == {:error, {:already_registered, old}}
      assert Engine.whereis(instance, :a) == old
    end

    test "registers a name that is free by then", %{instance: instance, seat: seat} do
      old = owner(instance, :a)
      TestOwner.kill(old)
      assert Engine.take_over(instance, :a, 2, old) == {:link, seat}
      assert Engine.whereis(instance, :a) == self()
    end

    test "from oneself is a registration anew, of one who is linked already", %{instance: instance, seat: seat} do
      {:link, ^seat} = Engine.register(instance, :a, 1)
      assert Engine.take_over(instance, :a, 2, self()) == {:ok, seat}
      assert Engine.lookup(instance, :a) == [{self(), 2}]
    end

    # The native engine registers in the caller itself, so nobody waits there.
    if @engine == :elixir do
      test "by who died while its request waited takes nothing from the living", %{instance: instance} do
        old = owner(instance, :a)
        {:ok, %{keeper: keeper}} = Engine.Elixir.Instances.fetch(instance)
        :sys.suspend(keeper)
        thief = TestOwner.start()
        spawn(fn -> TestOwner.run(thief, fn -> Engine.take_over(instance, :a, 2, old) end) end)
        TestOwner.eventually(fn -> Process.info(keeper, :message_queue_len) == {:message_queue_len, 1} end)
        TestOwner.kill(thief)
        :sys.resume(keeper)
        assert :sys.get_state(keeper)
        assert Engine.whereis(instance, :a) == old
      end
    end

    test "is never seen as a moment without a holder", %{instance: instance} do
      first = owner(instance, :a)
      stop = :atomics.new(1, [])

      reader =
        Task.async(fn ->
          Stream.repeatedly(fn -> {Engine.whereis(instance, :a), Engine.lookup(instance, :a)} end)
          |> Stream.map(fn {pid, found} -> is_pid(pid) and match?([{_, _}], found) end)
          |> Enum.reduce_while(true, fn seen, all ->
            if :atomics.get(stop, 1) == 1, do: {:halt, all}, else: {:cont, all and seen}
          end)
        end)

      second = TestOwner.start()

      for _ <- 1..200 do
        {_done, _seat} = TestOwner.run(second, fn -> Engine.take_over(instance, :a, 2, first) end)
        {_done, _seat} = TestOwner.run(first, fn -> Engine.take_over(instance, :a, 1, second) end)
      end

      :atomics.put(stop, 1, 1)
      assert Task.await(reader)
    end
  end

  describe "claim" do
    test "registers another process, without a link", %{instance: instance} do
      owner = TestOwner.start()
      assert {:ok, first} = Engine.claim(instance, :a, owner, 1)
      assert Engine.lookup(instance, :a) == [{owner, 1}]
      assert Process.info(owner, :links) == {:links, []}
      assert Engine.disclaim(instance, :a, self()) == :ok
      assert Engine.whereis(instance, :a) == owner
      assert Engine.disclaim(instance, :a, owner) == :ok
      assert Engine.whereis(instance, :a) == :undefined
      assert {:ok, second} = Engine.claim(instance, :a, owner, 1)
      assert second > first
    end

    test "is refused for the dead", %{instance: instance} do
      owner = TestOwner.start()
      TestOwner.kill(owner)
      assert Engine.claim(instance, :a, owner, 1) == {:error, :noproc}
    end

    test "of a dead holder's name succeeds", %{instance: instance} do
      holder = owner(instance, :a)
      TestOwner.kill(holder)
      assert {:ok, _incarnation} = Engine.claim(instance, :a, self(), 1)
      assert Engine.whereis(instance, :a) == self()
    end
  end

  describe "duplicate names" do
    @describetag keys: :duplicate

    test "are kept in the order of registration", %{instance: instance} do
      owners = for n <- 1..5, do: owner(instance, :a, n)
      Engine.register(instance, :a, 6)
      assert Engine.lookup(instance, :a) == Enum.zip(owners ++ [self()], 1..6)
      assert Engine.whereis(instance, :a) == :duplicate
    end

    test "are removed by incarnation", %{instance: instance, seat: seat} do
      for n <- 1..3, do: Engine.register(instance, :a, n)
      assert [{first, 1}, {second, 2}, {third, 3}] = Engine.own(instance, :a, self())
      assert first < second and second < third
      assert Engine.unregister(instance, :a, [second]) == :ok
      assert Engine.keys(instance, self()) == [:a, :a]
      assert Engine.own(instance, :a, self()) == [{first, 1}, {third, 3}]
      assert Engine.unregister(instance, :a, [first, second, third]) == {:unlink, seat}
    end

    test "show no dead owner", %{instance: instance} do
      dead = owner(instance, :a, :dead)
      Engine.register(instance, :a, :live)
      TestOwner.kill(dead)
      assert Engine.lookup(instance, :a) == [{self(), :live}]
      assert slices(instance) == [{:a, self(), :live}]
    end
  end

  describe "values" do
    test "are replaced for the own entry of that incarnation only", %{instance: instance} do
      Engine.register(instance, :a, 1)
      [{incarnation, 1}] = Engine.own(instance, :a, self())
      assert Engine.put_value(instance, :a, incarnation, 2)
      assert Engine.lookup(instance, :a) == [{self(), 2}]
      refute Engine.put_value(instance, :a, incarnation + 1, 3)
      refute TestOwner.run(TestOwner.start(), fn -> Engine.put_value(instance, :a, incarnation, 3) end)
      Engine.unregister(instance, :a)
      refute Engine.put_value(instance, :a, incarnation, 3)
    end
  end

  describe "slices" do
    test "hold each entry once, whatever their size", %{instance: instance} do
      for n <- 1..100, do: Engine.register(instance, n, -n)

      for limit <- [1, 7, 100, 1000] do
        entries = slices(instance, 0, limit)
        assert Enum.sort(entries) == for(n <- 1..100, do: {n, self(), -n})
      end
    end

    test "hold what stays exactly once while others come and go", %{instance: instance} do
      for n <- 1..300, do: Engine.register(instance, n, nil)
      stop = :atomics.new(1, [])

      churn =
        Task.async(fn ->
          Stream.iterate(1_000, &(&1 + 1))
          |> Enum.reduce_while(nil, fn n, _ ->
            Engine.register(instance, n, nil)
            Engine.unregister(instance, n)
            if :atomics.get(stop, 1) == 1, do: {:halt, :ok}, else: {:cont, nil}
          end)
        end)

      for _ <- 1..20 do
        stayed = for {n, _pid, nil} <- slices(instance, 0, 10), n <= 300, do: n
        assert Enum.sort(stayed) == Enum.to_list(1..300)
      end

      :atomics.put(stop, 1, 1)
      assert Task.await(churn) == :ok
    end
  end

  describe "the death of one that owns many names" do
    test "leaves none, and its names are free at once", %{instance: instance} do
      owner = TestOwner.start()
      TestOwner.run(owner, fn -> Enum.each(1..5_000, &Engine.register(instance, &1, nil)) end)
      TestOwner.kill(owner)
      assert {_done, _seat} = Engine.register(instance, 5_000, :new)
      assert slices(instance) == [{5_000, self(), :new}]
      assert count(instance) == 1
      assert Engine.whereis(instance, 1) == :undefined
    end
  end

  describe "owners that register, take over, give up and die all at once" do
    for keys <- [:unique, :duplicate] do
      @tag keys: keys
      test "leave #{keys} names, keys and slices in agreement", %{instance: instance} do
        owners = for _ <- 1..12, do: TestOwner.start()

        tasks =
          for {owner, index} <- Enum.with_index(owners), do: Task.async(fn -> live(instance, index, owner, owners) end)

        Task.await_many(tasks, 30_000)
        living = Enum.filter(owners, &Process.alive?/1)
        assert length(living) == 8
        all = slices(instance)
        assert count(instance) == length(all)
        assert Enum.sort(for owner <- owners, key <- Engine.keys(instance, owner), do: {key, owner}) == pairs(all)
        assert Enum.sort(for key <- 0..5, {pid, _value} <- Engine.lookup(instance, key), do: {key, pid}) == pairs(all)
        assert Enum.all?(all, fn {_key, pid, _value} -> pid in living end)
        if unquote(keys) == :unique, do: assert(length(Enum.uniq_by(all, &elem(&1, 0))) == length(all))
      end
    end

    defp pairs(entries), do: Enum.sort(for {key, pid, _value} <- entries, do: {key, pid})

    # Every third is killed in the middle of it.
    defp live(instance, index, owner, owners) do
      acts = fn -> for _ <- 1..300, do: act(instance, owners) end
      {_pid, ref} = spawn_monitor(fn -> TestOwner.run(owner, acts) end)
      Process.sleep(:rand.uniform(20))
      if rem(index, 3) == 0, do: TestOwner.kill(owner)
      assert_receive {:DOWN, ^ref, :process, _pid, _reason}, 20_000
    end

    defp act(instance, owners) do
      key = :rand.uniform(6) - 1

      case :rand.uniform(4) do
        1 -> Engine.register(instance, key, nil)
        2 -> Engine.take_over(instance, key, nil, Enum.random(owners))
        3 -> Engine.unregister(instance, key)
        4 -> Engine.claim(instance, key, Enum.random(owners), nil)
      end
    end
  end

  describe "listeners" do
    @describetag listeners: [:some_listener]

    test "are named in the answers to both", %{instance: instance, seat: seat} do
      assert Engine.register(instance, :a, 1) == {:notify, seat, [:some_listener]}
      assert Engine.register(instance, :b, 1) == {:notify, seat, [:some_listener]}
      assert Engine.unregister(instance, :a) == {:notify, nil, [:some_listener]}
      assert Engine.unregister(instance, :b) == {:notify, seat, [:some_listener]}
    end
  end

  test "a pid of another node owns nothing", %{instance: instance} do
    # NEW_PID_EXT: node, id, serial, creation.
    far = :erlang.binary_to_term(<<131, 88, 119, 5, "a@far", 1::32, 0::32, 1::32>>)
    assert Engine.keys(instance, far) == []
    assert Engine.own(instance, :a, far) == []
  end
end

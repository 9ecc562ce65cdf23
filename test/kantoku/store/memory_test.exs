defmodule Kantoku.Store.MemoryTest do
  use ExUnit.Case, async: true

  doctest Kantoku.Store

  alias Kantoku.Store

  setup do
    {:ok, store} = Store.open(__MODULE__, Store.Memory)
    {:ok, store: store}
  end

  defp versions, do: for(incarnation <- 1..4, revision <- 0..4, do: {incarnation, revision})

  test "of any two versions the newer stays, in whichever order they come; the same may come again", %{store: store} do
    for first <- versions(), second <- versions() do
      id = {first, second}
      assert Store.put(store, id, first, "first", nil) == :ok
      assert Store.put(store, id, second, "second", nil) == if(second >= first, do: :ok, else: {:error, :stale})
      expected = if second >= first, do: {:ok, second, "second"}, else: {:ok, first, "first"}
      assert Store.get(store, id) == expected
    end
  end

  test "of many writers at once the newest wins", %{store: store} do
    for seed <- 1..20 do
      :rand.seed(:exsss, seed)
      versions = Enum.shuffle(versions())
      versions |> Enum.map(&Task.async(fn -> Store.put(store, seed, &1, inspect(&1), nil) end)) |> Task.await_many()
      assert Store.get(store, seed) == {:ok, {4, 4}, "{4, 4}"}
    end
  end

  test "a delete spares what is newer", %{store: {module, ref} = store} do
    key = Store.key("a")
    Store.put(store, "a", {2, 2}, "bytes", nil)
    assert module.delete(ref, key, {2, 1}) == :ok
    assert module.delete(ref, key, {1, 9}) == :ok
    assert {:ok, {2, 2}, "bytes"} = Store.get(store, "a")
    assert module.delete(ref, key, {2, 2}) == :ok
    assert Store.get(store, "a") == :none
  end

  test "ids that look like match patterns are ids like any other", %{store: store} do
    for {id, n} <- Enum.with_index([:_, :"$1", {:"$1", :_}, %{}, [], "", nil, 1, 1.0]) do
      assert Store.put(store, id, {1, n}, "#{n}", nil) == :ok
      assert Store.put(store, id, {1, n + 1}, "#{n} again", nil) == :ok
    end

    assert Store.get(store, :_) == {:ok, {1, 1}, "0 again"}
    assert Store.get(store, 1) != Store.get(store, 1.0)
    assert Enum.count(Store.ids(store)) == 9
  end

  test "what is set aside is not read any more, and not listed", %{store: {_module, table} = store} do
    Store.put(store, "a", {3, 3}, "bytes", nil)
    assert Store.set_aside(store, "a") == :ok
    assert Store.set_aside(store, "a") == :ok
    assert Store.get(store, "a") == :none
    assert Enum.to_list(Store.ids(store)) == []
    assert [{{:aside, _}, 3, 3, "bytes"}] = :ets.tab2list(table)
    assert Store.put(store, "a", {1, 1}, "new", nil) == :ok
  end

  test "all ids are listed, slice by slice", %{store: store} do
    for n <- 1..1_234, do: Store.put(store, {:agent, n}, {1, 1}, "", nil)
    assert store |> Store.ids() |> Enum.sort() == for(n <- 1..1_234, do: {:agent, n})
    assert store |> Store.ids() |> Enum.take(3) |> length() == 3
  end

  test "it outlives its writers and ends with its owner" do
    {owner, {_module, table} = store} = owned_by_a_process()
    Task.await(Task.async(fn -> Store.put(store, "a", {1, 1}, "bytes", nil) end))
    assert {:ok, {1, 1}, "bytes"} = Store.get(store, "a")

    monitor = Process.monitor(owner)
    Process.exit(owner, :kill)
    assert_receive {:DOWN, ^monitor, _, _, _}
    assert :ets.info(table) == :undefined
  end

  defp owned_by_a_process do
    test = self()

    owner =
      spawn(fn ->
        send(test, {:store, Store.open(__MODULE__, Store.Memory)})
        Process.sleep(:infinity)
      end)

    receive do
      {:store, {:ok, store}} -> {owner, store}
    end
  end

  test "a store that is none, and options it does not have, are refused" do
    assert_raise ArgumentError, ~r/:store expects a module/, fn -> Store.open(:i, "disk") end
    assert_raise ArgumentError, ~r/implements Kantoku.Store, got: Enum/, fn -> Store.open(:i, Enum) end
    assert_raise ArgumentError, ~r/no options, got: \[path:/, fn -> Store.open(:i, {Store.Memory, path: "x"}) end
  end
end

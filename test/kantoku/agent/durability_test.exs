defmodule Kantoku.Agent.DurabilityTest do
  # A store that writes in the background, slowed down to the pace of the test.
  use Kantoku.Test.AgentCase, async: true

  alias Kantoku.Telemetry

  setup context do
    {:ok, store} = Store.open(context.instance, {SlowStore, tell: self()})
    {:ok, store: store}
  end

  defp put do
    receive do
      {:put, put} -> put
    after
      5_000 -> raise "nothing was put"
    end
  end

  defp version({_table, _writer, _key, version, _bytes, _ref}), do: version
  defp asked?({_table, _writer, _key, _version, _bytes, ref}), do: ref != nil

  # A call whose answer comes as a message.
  defp ask(pid, action), do: :gen_server.send_request(pid, action)

  defp answer(request, timeout \\ 5_000), do: :gen_server.wait_response(request, timeout)

  test "with :sync a reply leaves after the commit, and not before", context do
    pid = start(context, durability: :sync)
    request = ask(pid, {:add, 2})
    put = put()
    assert answer(request, 20) == :timeout
    SlowStore.finish(put)
    assert answer(request) == {:reply, 2}
  end

  test "with :sync the server goes on serving during a commit, and what changes meanwhile goes out in one", context do
    pid = start(context, durability: :sync)
    first = ask(pid, {:add, 1})
    put = put()
    others = for _ <- 1..20, do: ask(pid, {:add, 1})
    assert %{revision: 21} = Server.info(pid)
    refute_received {:put, _}

    SlowStore.finish(put)
    assert answer(first) == {:reply, 1}
    second = put()
    assert version(second) == {1, 21}
    SlowStore.finish(second)
    assert Enum.map(others, &answer/1) == Enum.map(2..21, &{:reply, &1})
    refute_received {:put, _}
  end

  test "with :sync an answer that only reads waits for what it has seen", context do
    pid = start(context, durability: :sync)
    write = ask(pid, {:add, 1})
    put = put()
    read = ask(pid, :count)
    assert answer(read, 20) == :timeout
    SlowStore.finish(put)
    assert [{:reply, 1}, {:reply, 1}] = [answer(write), answer(read)]
    assert GenServer.call(pid, :count) == 1
  end

  test "with :sync a write that fails is answered so, told by an event, and made again", context do
    {:ok, ref} = Telemetry.subscribe(context.instance, events: [[:agent, :snapshot]])
    pid = start(context, durability: :sync)
    request = ask(pid, {:add, 1})
    SlowStore.finish(put(), {:error, {:disk_full, "no space left"}})
    assert answer(request) == {:reply, {:error, {:not_durable, {:disk_full, "no space left"}}}}
    assert_receive {:kantoku_event, ^ref, [_, _, _, :failed], %{retry_in: 1_000}, %{reason: {:disk_full, _}}}

    send(pid, {:"$kantoku", :write})
    assert {1, 1} = SlowStore.finish(put())
    assert_receive {:kantoku_event, ^ref, [_, _, _, :written], %{revision: 1}, _}
    assert %{kept: 1} = Server.info(pid)
  end

  test "with :sync a write that the store does not even take is answered so, and a read after it as well, until one is taken",
       context do
    {:ok, store} = Store.open(context.instance, Store.Memory)
    pid = start(%{context | store: store}, durability: :sync, max_snapshot_bytes: 1_000)
    assert {:error, {:not_durable, {:too_large, _, 1_000}}} = GenServer.call(pid, {:fill, 2_000})
    assert {:error, {:not_durable, {:too_large, _, 1_000}}} = GenServer.call(pid, :count)
    assert GenServer.call(pid, {:fill, 10}) == :ok
    assert GenServer.call(pid, :count) == 0
  end

  test "with :sync a killed agent has answered nothing that its successor does not know", context do
    pid = start(context, durability: :sync)
    requests = for _ <- 1..5, do: ask(pid, {:add, 1})
    SlowStore.finish(put())
    assert answer(hd(requests)) == {:reply, 1}
    put()
    stop(pid, :kill)
    assert Enum.all?(tl(requests), &match?({:error, _}, answer(&1)))
    assert Server.state(start(context, [], %{incarnation: 2})).count == 1
  end

  test "an orderly end waits for its last write", context do
    pid = start(context, durability: :sync)
    ask(pid, {:add, 1})
    first = put()
    ask(pid, {:add, 1})
    Server.info(pid)
    Process.exit(pid, :shutdown)
    refute_receive {:EXIT, ^pid, _}, 20
    SlowStore.finish(first)
    assert {1, 2} = SlowStore.finish(put())
    assert gone(pid) == :shutdown
  end

  test "an orderly end tries again while the store is busy", context do
    pid = start(context, durability: :sync)
    ask(pid, {:add, 1})
    put = put()
    Process.exit(pid, :shutdown)
    SlowStore.finish(put, {:error, :busy})
    assert {1, 1} = SlowStore.finish(put())
    assert gone(pid) == :shutdown
  end

  defmodule Unasked do
    # Takes bytes at once and commits them by itself, as the disk store does for those who do not ask.
    @behaviour Store
    defdelegate open(instance, opts), to: SlowStore
    defdelegate get(ref, key), to: SlowStore
    defdelegate delete(ref, key, version), to: SlowStore
    defdelegate set_aside(ref, key), to: SlowStore
    defdelegate keys(ref, cursor, limit), to: SlowStore
    defdelegate flush(ref), to: SlowStore
    defdelegate close(ref), to: SlowStore
    def durable?, do: true

    def put({table, pid} = ref, key, version, bytes, nil) do
      send(pid, {:put, {table, self(), key, version, bytes, nil}})
      Store.Memory.put(elem(ref, 0), key, version, bytes, nil)
    end

    def put(ref, key, version, bytes, reply_ref), do: SlowStore.put(ref, key, version, bytes, reply_ref)
  end

  describe "with :async and a store on disk" do
    setup context do
      {:ok, store} = Store.open(context.instance, {Unasked, tell: self()})
      {:ok, store: store}
    end

    test "a change is handed over before its answer, unasked", context do
      pid = start(context)
      assert GenServer.call(pid, {:add, 1}) == 1
      assert_received {:put, put}
      refute asked?(put)
      stop(pid, :kill)
      assert Server.state(start(context, [], %{incarnation: 2})).count == 1
    end

    test "a directive is delivered when its revision is safe, and changes meanwhile are handed over all the same",
         context do
      pid = start(context)
      GenServer.call(pid, {:pay, {self(), :bill}})
      put = put()
      assert asked?(put)
      GenServer.call(pid, {:add, 1})
      assert_received {:put, unasked}
      refute asked?(unasked)
      refute_received {:delivery, _, _, _, _}
      SlowStore.finish(put)
      assert is_binary(deliver())
    end

    test "snapshot/2 and settle/2 answer when the store says that it is safe", context do
      pid = start(context)
      GenServer.call(pid, {:add, 1})
      refute asked?(put())
      request = ask(pid, {:"$kantoku", :snapshot})
      put = put()
      assert asked?(put) and version(put) == {1, 1}
      assert answer(request, 20) == :timeout
      SlowStore.finish(put)
      assert answer(request) == {:reply, {:ok, 1}}

      request = ask(pid, {:"$kantoku", :settle})
      SlowStore.finish(put())
      assert answer(request) == {:reply, :ok}
    end
  end
end

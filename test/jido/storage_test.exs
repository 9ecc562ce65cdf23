if Kantoku.Jido.compiled?() do
  defmodule Kantoku.Jido.StorageTest do
    # The same is asked of Jido's own adapters as of ours.
    use Kantoku.JidoCase, async: true

    alias Jido.Thread
    alias Jido.Thread.Entry

    @moduletag :tmp_dir

    defp storage(:ets, _context), do: {Jido.Storage.ETS, table: :"storage_#{System.unique_integer([:positive])}"}
    defp storage(:file, %{tmp_dir: folder}), do: {Jido.Storage.File, path: folder}
    defp storage(:memory, _context), do: {Kantoku.Jido.Storage, instance: kantoku!()}

    defp storage(:disk, %{tmp_dir: folder}) do
      instance = kantoku!(store: {Kantoku.Store.Disk, path: Path.join(folder, "store.redb")})
      {Kantoku.Jido.Storage, instance: instance}
    end

    defp entries(texts), do: for(text <- texts, do: Entry.new(%{kind: :message, payload: %{text: text}}))
    defp texts(%Thread{entries: entries}), do: Enum.map(entries, & &1.payload.text)

    for kind <- [:ets, :file, :memory, :disk] do
      describe "#{kind}:" do
        setup context do
          {adapter, opts} = storage(unquote(kind), context)
          %{adapter: adapter, opts: opts}
        end

        test "checkpoints are kept, replaced and removed", %{adapter: adapter, opts: opts} do
          key = {Counter, {:partition, 1, "a"}}
          assert adapter.get_checkpoint(key, opts) == :not_found
          assert adapter.put_checkpoint(key, %{state: 1}, opts) == :ok
          assert adapter.put_checkpoint(key, %{state: 2}, opts) == :ok
          assert adapter.get_checkpoint(key, opts) == {:ok, %{state: 2}}
          assert adapter.get_checkpoint({Counter, "b"}, opts) == :not_found
          assert adapter.delete_checkpoint(key, opts) == :ok
          assert adapter.get_checkpoint(key, opts) == :not_found
          assert adapter.delete_checkpoint(key, opts) == :ok
          assert adapter.put_checkpoint(key, %{state: 3}, opts) == :ok
          assert adapter.get_checkpoint(key, opts) == {:ok, %{state: 3}}
        end

        test "entries of a thread are appended in order and counted", %{adapter: adapter, opts: opts} do
          assert adapter.load_thread("t", opts) == :not_found

          assert {:ok, %Thread{id: "t", rev: 2}} =
                   adapter.append_thread("t", entries(["a", "b"]), [metadata: %{of: :me}] ++ opts)

          assert {:ok, %Thread{rev: 3} = thread} = adapter.append_thread("t", entries(["c"]), opts)
          assert texts(thread) == ["a", "b", "c"]
          assert Enum.map(thread.entries, & &1.seq) == [0, 1, 2]

          assert {:ok, %Thread{rev: 3, stats: %{entry_count: 3}} = ^thread} = adapter.load_thread("t", opts)
          # Jido's own files do not keep what was said of the thread.
          if unquote(kind) != :file, do: assert(thread.metadata == %{of: :me})

          assert Enum.all?(thread.entries, &(is_binary(&1.id) and is_integer(&1.at)))
        end

        test "what expects another revision is a conflict", %{adapter: adapter, opts: opts} do
          assert {:error, :conflict} = adapter.append_thread("t", entries(["a"]), [expected_rev: 1] ++ opts)
          assert {:ok, %{rev: 1}} = adapter.append_thread("t", entries(["a"]), [expected_rev: 0] ++ opts)
          assert {:error, :conflict} = adapter.append_thread("t", entries(["b"]), [expected_rev: 0] ++ opts)
          assert {:ok, %{rev: 2}} = adapter.append_thread("t", entries(["b"]), [expected_rev: 1] ++ opts)
        end

        test "of many who append at once and expect the same, one does", %{adapter: adapter, opts: opts} do
          {:ok, _} = adapter.append_thread("t", entries(["a"]), opts)

          answers =
            1..20
            |> Task.async_stream(fn n -> adapter.append_thread("t", entries(["#{n}"]), [expected_rev: 1] ++ opts) end,
              max_concurrency: 20,
              timeout: :infinity
            )
            |> Enum.frequencies_by(fn {:ok, {kind, _}} -> kind end)

          assert answers == %{ok: 1, error: 19}
        end

        test "many who append lose nothing", %{adapter: adapter, opts: opts} do
          1..150
          |> Task.async_stream(fn n -> {:ok, _} = adapter.append_thread("t", entries(["#{n}"]), opts) end,
            max_concurrency: 4,
            timeout: :infinity
          )
          |> Stream.run()

          {:ok, thread} = adapter.load_thread("t", opts)
          assert thread |> texts() |> Enum.map(&String.to_integer/1) |> Enum.sort() == Enum.to_list(1..150)
        end

        test "a long append is kept whole", %{adapter: adapter, opts: opts} do
          texts = for n <- 1..300, do: "#{n}"
          {:ok, _} = adapter.append_thread("t", entries(Enum.take(texts, 70)), opts)
          {:ok, %{rev: 300}} = adapter.append_thread("t", entries(Enum.drop(texts, 70)), opts)
          {:ok, thread} = adapter.load_thread("t", opts)
          assert texts(thread) == texts
        end

        test "a thread that is removed is gone, and begins again", %{adapter: adapter, opts: opts} do
          assert adapter.delete_thread("t", opts) == :ok
          {:ok, _} = adapter.append_thread("t", entries(for n <- 1..100, do: "#{n}"), opts)
          assert adapter.delete_thread("t", opts) == :ok
          assert adapter.load_thread("t", opts) == :not_found
          assert {:ok, %{rev: 1}} = adapter.append_thread("t", entries(["a"]), [expected_rev: 0] ++ opts)
        end

        test "an agent is hibernated and thawed with its thread", %{adapter: adapter, opts: opts} do
          thread = Thread.new(id: "t") |> Thread.append(%{kind: :message, payload: %{text: "hello"}})
          agent = Counter.new(id: "a", state: %{total: 7})
          agent = %{agent | state: Map.put(agent.state, :__thread__, thread)}
          assert Jido.Persist.hibernate({adapter, opts}, agent) == :ok
          assert {:ok, thawed} = Jido.Persist.thaw({adapter, opts}, Counter, "a")
          assert %{total: 7, __thread__: %Thread{rev: 1}} = thawed.state
          assert texts(thawed.state.__thread__) == ["hello"]
        end
      end
    end

    test "what was answered is on the disk", %{tmp_dir: folder} do
      store = {Kantoku.Store.Disk, path: Path.join(folder, "store.redb")}
      first = kantoku!(store: store)
      :ok = Kantoku.Jido.Storage.put_checkpoint("a", 1, instance: first)
      {:ok, _} = Kantoku.Jido.Storage.append_thread("t", entries(["a"]), instance: first)
      first |> Kantoku.Instance.address() |> GenServer.whereis() |> kill()
      eventually(fn -> Kantoku.Jido.Storage.get_checkpoint("a", instance: first) == {:ok, 1} end)
      assert {:ok, %{rev: 1}} = Kantoku.Jido.Storage.load_thread("t", instance: first)
    end

    test "an instance that does not run, or has no store, is an error" do
      assert {:error, %Error{reason: :not_running}} = Kantoku.Jido.Storage.get_checkpoint("a", instance: Nobody)
      assert_raise ArgumentError, ~r/:instance or :store/, fn -> Kantoku.Jido.Storage.get_checkpoint("a", []) end
    end
  end
end

defmodule Kantoku.Store.DiskTest do
  use ExUnit.Case, async: true

  alias Kantoku.Store
  alias Kantoku.Store.Disk

  test "options that make no sense are refused with the option, the value and what was expected" do
    for {options, pattern} <- [
          {[], ~r/:path of Kantoku.Store.Disk expects a path, got: nil/},
          {[path: "x", on_corrupt: :delete],
           ~r/:on_corrupt of Kantoku.Store.Disk expects :refuse or :set_aside, got: :delete/},
          {[path: "x", cache_bytes: 0], ~r/:cache_bytes .* expects a positive number of bytes, got: 0/},
          {[path: "x", async_window: -1], ~r/:async_window .* expects ms/},
          {[path: "x", verify_on_open: 1], ~r/:verify_on_open .* expects a boolean/},
          {[path: "x", colour: :red], ~r/unknown keys \[:colour\]/}
        ] do
      assert_raise ArgumentError, pattern, fn -> Store.open(:i, {Disk, options}) end
    end
  end

  if Kantoku.Native.loaded?() do
    describe "on a file" do
      @describetag :tmp_dir

      setup %{tmp_dir: dir} do
        path = Path.join(dir, "agents.redb")
        {:ok, store} = Store.open(__MODULE__, {Disk, path: path, async_window: 1})
        on_exit(fn -> Store.close(store) end)
        {:ok, store: store, path: path}
      end

      test "what is put is read, and stays when the store is closed and opened again", %{store: store, path: path} do
        ref = make_ref()
        assert Store.put(store, "a", {1, 1}, "bytes", ref) == :pending
        assert_receive {:kantoku_store, ^ref, :ok}
        assert Store.put(store, "b", {1, 1}, "more", nil) == :ok
        assert Store.get(store, "b") == {:ok, {1, 1}, "more"}
        assert Store.close(store) == :ok

        {:ok, again} = Store.open(__MODULE__, {Disk, path: path})
        assert Store.get(again, "a") == {:ok, {1, 1}, "bytes"}
        assert Enum.sort(Store.ids(again)) == ["a", "b"]
        assert {:ok, %{mode: mode}} = File.stat(path)
        assert Bitwise.band(mode, 0o777) == 0o600
        assert Store.close(again) == :ok
      end

      test "an older version never replaces a newer one", %{store: store} do
        assert Store.put(store, "a", {2, 5}, "new", nil) == :ok
        Store.put(store, "a", {2, 4}, "old", nil)
        Store.put(store, "a", {1, 9}, "older", nil)
        assert Store.flush(store) == :ok
        assert Store.get(store, "a") == {:ok, {2, 5}, "new"}
      end

      test "what is set aside or deleted is not read or listed any more", %{store: store} do
        for id <- ["a", "b"], do: Store.put(store, id, {1, 1}, id, nil)
        assert Store.set_aside(store, "a") == :ok
        assert Store.delete(store, "b") == :ok
        assert Enum.to_list(Store.ids(store)) == []
        assert {Store.get(store, "a"), Store.get(store, "b")} == {:none, :none}
      end

      test "a file whose instance was killed is opened again by its successor", %{tmp_dir: dir} do
        path = Path.join(dir, "killed.redb")
        assert {:ok, old} = Task.await(Task.async(fn -> Store.open(:killed, {Disk, path: path}) end))
        assert {:ok, successor} = Store.open(:successor, {Disk, path: path})
        assert {:error, {:closed, _message}} = Store.get(old, "a")
        assert :none = Store.get(successor, "a")
      end

      test "a store that is closed says so", %{store: store} do
        assert Store.close(store) == :ok
        assert Store.close(store) == :ok
        assert {:error, {:closed, message}} = Store.get(store, "a")
        assert message =~ "open it again"
        assert {:error, {:closed, _message}} = Store.put(store, "a", {1, 1}, "", nil)
      end

      test "large snapshots are kept, up to the limit", %{store: store} do
        bytes = :binary.copy("x", 16 * 1024 * 1024)
        assert Store.put(store, "a", {1, 1}, bytes, nil) == :ok
        assert Store.get(store, "a") == {:ok, {1, 1}, bytes}
        assert {:error, {:too_large, _message}} = Store.put(store, "a", {1, 2}, bytes <> "x", nil)
      end

      test "a file that is in use is not opened twice, and the message says what to do", %{path: path} do
        assert {:error, {:locked, message}} = Store.open(:other, {Disk, path: path})
        assert message =~ path
      end
    end
  else
    test "without the native library it says what is missing" do
      assert {:error, {:no_library, message}} = Store.open(:i, {Disk, path: "x"})
      assert message =~ "native library"
    end
  end
end

defmodule Kantoku.StoreOverwriteTest do
  use ExUnit.Case, async: true

  alias Kantoku.Store

  defmodule Damaged do
    @moduledoc false
    # Holds something of a high version that cannot be read, until it is set aside.
    def get(table, key) do
      if :ets.member(table, key), do: {:damaged, "checksum"}, else: :none
    end

    def set_aside(table, key), do: :ets.delete(table, key) && :ok
    def put(table, key, _version, _bytes, _ref), do: if(:ets.member(table, key), do: {:error, :stale}, else: :ok)
  end

  defmodule Late do
    @moduledoc false
    # Answers only when it is told to.
    def get(_test, _key), do: :none
    def put(test, _key, _version, _bytes, reply), do: send(test, {:asked, self(), reply}) && :pending
  end

  defmodule Locked do
    @moduledoc false
    # Holds what is damaged and cannot be moved away.
    def get(_ref, _key), do: {:damaged, "checksum"}
    def set_aside(_ref, _key), do: {:error, :full}
  end

  test "what is damaged is set aside, and does not stand in the way for ever" do
    table = :ets.new(:damaged, [:public])
    :ets.insert(table, {Store.key("a")})
    assert Store.overwrite({Damaged, table}, "a", "bytes", 60_000) == :ok
  end

  test "what is damaged and stays is the error" do
    assert Store.overwrite({Locked, nil}, "a", "bytes", 60_000) == {:error, :full}
  end

  test "a store that does not answer is waited for as long as was said, and its late answer finds nobody" do
    assert Store.overwrite({Late, self()}, "a", "bytes", 1) == {:error, :timeout}
    assert_received {:asked, writer, reply}
    send(writer, {:kantoku_store, reply, :ok})
    refute_received _
  end

  test "an answer that comes in time is the answer" do
    test = self()
    asked = Task.async(fn -> Store.overwrite({Late, test}, "a", "bytes", 60_000) end)
    assert_receive {:asked, writer, reply}
    send(writer, {:kantoku_store, reply, {:error, :full}})
    assert Task.await(asked) == {:error, :full}
  end

  test "a store that crashes is an error, and takes nobody with it" do
    assert {:error, {:undef, _stack}} = Store.overwrite({Nowhere, nil}, "a", "bytes", 60_000)
  end
end

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

  defmodule Silent do
    @moduledoc false
    def get(_ref, _key), do: :none
    def put(_ref, _key, _version, _bytes, _reply), do: :pending
  end

  test "what is damaged is set aside, and does not stand in the way for ever" do
    table = :ets.new(:damaged, [])
    :ets.insert(table, {Store.key("a")})
    assert Store.overwrite({Damaged, table}, "a", "bytes", 100) == :ok
  end

  test "a store that does not answer is waited for as long as was said" do
    assert Store.overwrite({Silent, nil}, "a", "bytes", 1) == {:error, :timeout}
  end
end

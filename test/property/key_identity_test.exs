Code.require_file("terms.exs", __DIR__)

defmodule Kantoku.KeyIdentityTest do
  use ExUnit.Case, async: true
  import Kantoku.Terms

  alias Kantoku.{EachEngine, Registry}

  @moduletag :property
  @moduletag timeout: 120_000

  for engine <- EachEngine.engines() do
    test "keys are one on the #{engine} engine exactly when an ETS set says so" do
      registry = :"#{__MODULE__}_#{unquote(engine)}"
      start_supervised!({Registry, keys: :unique, name: registry, engine: unquote(engine)})
      check(keys(), fn keys -> same_as_set?(registry, keys) end, 500)
    end

    test "duplicate keys are one on the #{engine} engine exactly when an ETS bag says so" do
      registry = :"#{__MODULE__}_#{unquote(engine)}_duplicate"
      start_supervised!({Registry, keys: :duplicate, name: registry, engine: unquote(engine)})
      check(keys(), fn keys -> same_as_bag?(registry, keys) end, 500)
    end
  end

  # Every second key is given up again under a copy of itself, made by other means.
  defp same_as_set?(registry, keys) do
    set = :ets.new(:set, [:set])
    for key <- keys, do: assert(:ets.insert_new(set, {key, 1}) == match?({:ok, _}, Registry.register(registry, key, 1)))
    for key <- Enum.take_every(keys, 2), do: give_up(registry, set, remade(key))

    same =
      for key <- keys,
          do: :ets.lookup(set, key) == for(value <- Registry.values(registry, key, self()), do: {key, value})

    sizes = Registry.count(registry) == :ets.info(set, :size)
    kept = registry |> Registry.keys(self()) |> Enum.all?(&:ets.member(set, &1))
    for key <- keys, do: Registry.unregister(registry, key)
    Enum.all?(same) and sizes and kept and Registry.count(registry) == 0
  end

  defp same_as_bag?(registry, keys) do
    bag = :ets.new(:bag, [:duplicate_bag])

    for {key, n} <- Enum.with_index(keys) do
      :ets.insert(bag, {key, n})
      {:ok, _} = Registry.register(registry, key, n)
    end

    for key <- Enum.take_every(keys, 2), do: give_up(registry, bag, remade(key))
    same = for key <- keys, do: for({_key, n} <- :ets.lookup(bag, key), do: n) == Registry.values(registry, key, self())
    sizes = Registry.count(registry) == :ets.info(bag, :size)
    for key <- keys, do: Registry.unregister(registry, key)
    Enum.all?(same) and sizes and Registry.count(registry) == 0
  end

  defp give_up(registry, table, key) do
    :ets.delete(table, key)
    Registry.unregister(registry, key)
  end
end

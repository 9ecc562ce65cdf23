defmodule Bench.Ours do
  @moduledoc false
  # Everything that is made ready on our side and not timed. In a control run there is no such side, and nil stands
  # for it.

  alias Bench.Options

  @doc "Starts a registry on the engine that was asked for."
  @spec open_registry(atom, pos_integer, Options.t()) :: {atom, pid} | {nil, nil}
  def open_registry(_name, _partitions, %Options{control: true}), do: {nil, nil}

  def open_registry(name, partitions, %Options{engine: engine}) do
    {:ok, supervisor} = Kantoku.Registry.start_link(keys: :unique, name: name, partitions: partitions, engine: engine)

    {name, supervisor}
  end

  @spec register(atom, term) :: {:ok, pid} | {:error, term}
  def register(registry, key), do: Kantoku.Registry.register(registry, key, nil)

  @spec whereis(atom, term) :: pid | :undefined
  def whereis(registry, key), do: Kantoku.Registry.whereis_name({registry, key})

  @doc "Registers the caller, tells what it is found by, and answers the handle of its load."
  @spec describe(atom, term, [atom]) :: term
  def describe(registry, key, tags) do
    {:ok, _} = register(registry, key)
    :ok = Kantoku.Registry.describe(registry, key, tags: tags)
    {:ok, handle} = Kantoku.Registry.load_handle(registry, key)
    handle
  end

  @doc "Bytes that the native core holds for an instance; 0 where another engine keeps it, whose bytes are the VM's."
  @spec native_bytes(atom) :: non_neg_integer
  def native_bytes(instance), do: stat(instance, :bytes)

  @doc "Bytes that the native core holds for all instances; 0 where there is none."
  @spec native_bytes() :: non_neg_integer
  def native_bytes do
    case Kantoku.Native.stats() do
      %{bytes: bytes} when is_integer(bytes) -> bytes
      _none -> 0
    end
  end

  @doc "Entries that the native core still holds, those of dead owners included; 0 where another engine keeps them."
  @spec entries(atom) :: non_neg_integer
  def entries(instance), do: stat(instance, :entries)

  defp stat(instance, name) do
    case Kantoku.Native.stats(instance) do
      :unknown -> 0
      stats -> Map.fetch!(stats, name)
    end
  end
end
